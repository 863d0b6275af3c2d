"""Reads the URLs of stores. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

from gofallback.publish.errors import PublishError

#: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html; older buckets have capitals and '_'.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,254}")


@dataclass(frozen=True)
class S3Address:
    """``s3://bucket/prefix?endpoint=https://host:port&region=eu-central-1``."""

    bucket: str
    prefix: str = ""
    """Without leading and trailing slashes."""
    endpoint: str | None = None
    """Address of a store that is not Amazon's."""
    region: str | None = None

    def key(self, service: str, version: str, file: str) -> str:
        """Key of one object."""
        return "/".join(part for part in (self.prefix, service, version, file) if part)


def file_root(url: str) -> Path:
    """The folder of a ``file://`` URL.

    Raises:
        PublishError: the URL names a host, or no absolute path.
    """
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost") or path in ("", "/") or ".." in path.split("/") or parts.query:
        raise PublishError(f"{url}: should be file:// and an absolute path, such as file:///srv/releases")
    return Path(path)


def s3_address(url: str) -> S3Address:
    """The parts of an ``s3://`` URL.

    Raises:
        PublishError: no bucket, an unknown parameter, or an endpoint that is no address.
    """
    parts = urlsplit(url)
    if not _BUCKET.fullmatch(parts.netloc):
        raise PublishError(f"{url}: should be s3://BUCKET/PREFIX, the bucket of letters, digits, '.' and '-'")
    given = parse_qs(parts.query, keep_blank_values=True)
    for name, values in given.items():
        if name not in ("endpoint", "region") or len(values) != 1 or not values[0]:
            raise PublishError(f"{url}: {name}: should be endpoint=https://HOST or region=NAME, once each")
    endpoint = given.get("endpoint", [None])[0]
    if endpoint and (not re.fullmatch(r"https?://[^\s/?#]+/?", endpoint) or "@" in endpoint):
        raise PublishError(f"{url}: endpoint: should be https://HOST or https://HOST:PORT, without a path")
    prefix = unquote(parts.path).strip("/")
    return S3Address(parts.netloc, prefix, endpoint, given.get("region", [None])[0])


def filled(template: str, service: str, version: str, file: str) -> str:
    """An address with its placeholders replaced (percent-encoded); without any, the values are appended to the path."""
    if "{" not in template:
        path, question, query = template.partition("?")
        template = path.rstrip("/") + "/{service}/{version}/{file}" + question + query
    return replaced(template, {"service": quote(service), "version": quote(version), "file": quote(file)})


def replaced(template: str, values: dict[str, str]) -> str:
    """Text with every ``{name}`` replaced; values are not searched for further names."""
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), template)
