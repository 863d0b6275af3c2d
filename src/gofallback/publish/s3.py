"""``s3://``: Amazon's and every store that speaks like it. Amazon's own client, with its chain of credentials.

Up to `_PART` bytes an object is put in one request with its SHA-256, which the store checks. Larger ones go in parts,
each with its own; an upload that broke is taken up where it ended, if every part the store has is ours.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import urlsplit

import boto3
from botocore import exceptions
from botocore.config import Config

from gofallback.model.publish import PublishStore
from gofallback.publish.address import s3_address
from gofallback.publish.errors import Again, PublishError
from gofallback.publish.files import Item
from gofallback.publish.s3_errors import AbsentError, innermost, refused
from gofallback.publish.store import STORES_SUM, Seen, compared
from gofallback.redact import hide

T = TypeVar("T")

_MIB = 1 << 20
_PART = 16 * _MIB
#: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html: at most 10,000 parts.
_MOST_PARTS = 10_000
_CHUNK = 1 << 18
_TAKES_NO_LISTS = frozenset({"NotImplemented", "AccessDenied", "403", "405", "MethodNotAllowed", "501"})


class S3Store:
    """Objects of one version in a bucket.

    Args:
        store: its data.
        service, version: in front of each name.
        part: bytes of a part; at least 5 MiB, S3's own limit.
    """

    def __init__(self, store: PublishStore, service: str, version: str, part: int = _PART) -> None:
        self._address = s3_address(store.url)
        self._service, self._version, self._part = service, version, part
        self._reads_back = store.read_back
        endpoint = self._address.endpoint
        config = Config(
            connect_timeout=min(10, store.timeout),
            read_timeout=store.timeout,
            retries={"total_max_attempts": 1, "mode": "standard"},  # one place that tries again: retry.py
            # Sums are given where they are wanted; stores that do not know them refuse the default of newer clients.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path" if endpoint else "auto"},
            signature_version="s3v4",  # addresses would be signed the old way, which newer regions refuse
            user_agent_extra="gofallback",
        )
        try:
            session = boto3.session.Session(region_name=self._address.region)
            self._s3: Any = session.client(
                "s3",
                endpoint_url=endpoint,
                # Stores that are not Amazon's have no regions, but their signatures name one.
                region_name=session.region_name or ("us-east-1" if endpoint else None),
                config=config,
                verify=store.ca,
            )
            self._hide(session)
        except (exceptions.BotoCoreError, ValueError) as error:
            raise PublishError(f"{store.url}: {error}") from None

    def _hide(self, session: Any) -> None:
        """Take the credentials out of every line from now on."""
        credentials = session.get_credentials()
        if credentials is None:
            raise PublishError(
                f"s3://{self._address.bucket}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                "AWS_PROFILE or a role"
            )
        frozen = credentials.get_frozen_credentials()
        hide(value for value in (frozen.secret_key, frozen.token) if value)

    def where(self, item: Item) -> str:
        """Address of the object."""
        return f"s3://{self._address.bucket}/{self._key(item)}"

    def look(self, item: Item) -> Seen | None:
        """See `_look`."""
        with self._sense(item):
            return self._look(item)

    def send(self, item: Item, moved: Callable[[int], None], *, replace: bool) -> None:
        """See `_send`."""
        with self._sense(item):
            self._send(item, moved)

    @contextlib.contextmanager
    def _sense(self, item: Item) -> Iterator[None]:
        """An answer without what it has to hold, or with something else there, is no S3: botocore does not look."""
        try:
            yield
        except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise PublishError(
                f"{self.where(item)}: an answer that makes no sense ({type(error).__name__}); does "
                f"{urlsplit(self.endpoint).netloc} speak S3?"
            ) from None

    def _look(self, item: Item) -> Seen | None:
        """The sum that the store checked when the object came, else its content."""
        try:
            head = self._call("HeadObject", self._s3.head_object, Key=self._key(item), ChecksumMode="ENABLED")
        except AbsentError:
            return None
        if head["ContentLength"] != item.size:
            return Seen(False, f"{head['ContentLength']} bytes", "size")
        known = "" if self._reads_back else head.get("ChecksumSHA256", "")
        if known == _base64(bytes.fromhex(item.sha256)):
            return Seen(True, f"sha256 {item.sha256}", STORES_SUM)
        if known and known.partition("-")[0] == self._composite(item):
            return Seen(True, f"sha256 {item.sha256}", f"{STORES_SUM} of each part")
        # No sum, or one over parts of another size (some stores leave out the "-3" that tells them apart).
        return self._read_back(item)

    def _send(self, item: Item, moved: Callable[[int], None]) -> None:
        """In one request, or in parts."""
        if item.size > self._part:
            self._in_parts(item, moved)
            return
        with item.path.open("rb") as file:
            self._call(
                "PutObject",
                self._s3.put_object,
                Key=self._key(item),
                Body=file,
                ContentLength=item.size,
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=_base64(bytes.fromhex(item.sha256)),
                Metadata={"sha256": item.sha256},
            )
        moved(item.size)

    @property
    def endpoint(self) -> str:
        """Address that requests go to, wherever it was set (group data, AWS_ENDPOINT_URL_S3, ~/.aws)."""
        return str(self._s3.meta.endpoint_url)

    def signed_url(self, item: Item, seconds: int) -> str:
        """Address that reads the object without credentials, for so many seconds; at most a week, less for a role."""
        name = {"Bucket": self._address.bucket, "Key": self._key(item)}
        try:
            return str(self._s3.generate_presigned_url("get_object", Params=name, ExpiresIn=min(seconds, 604_800)))
        except exceptions.BotoCoreError as error:
            raise PublishError(f"s3://{self._address.bucket}: {error}") from None

    def _key(self, item: Item) -> str:
        return self._address.key(self._service, self._version, item.name)

    def _read_back(self, item: Item) -> Seen:
        answer = self._call("GetObject", self._s3.get_object, Key=self._key(item))
        try:
            return compared(item, answer["Body"].iter_chunks(_CHUNK))
        except (exceptions.BotoCoreError, OSError) as error:
            raise Again(f"{self.where(item)}: {error} while it was read back") from None

    def _in_parts(self, item: Item, moved: Callable[[int], None]) -> None:
        key = self._key(item)
        sums = list(self._sums(item))
        upload, have = self._begun(key, item, sums)
        if upload is None:
            upload = self._call(
                "CreateMultipartUpload",
                self._s3.create_multipart_upload,
                Key=key,
                ChecksumAlgorithm="SHA256",
                Metadata={"sha256": item.sha256},
            )["UploadId"]
        tags = dict(have)
        size, done = self._part_size(item), 0
        with item.path.open("rb") as file:
            for number, (sha256, _) in enumerate(sums, 1):
                content = file.read(size)
                if number not in tags:
                    answer = self._call(
                        "UploadPart",
                        self._s3.upload_part,
                        Key=key,
                        UploadId=upload,
                        PartNumber=number,
                        Body=content,
                        ChecksumAlgorithm="SHA256",
                        ChecksumSHA256=_base64(sha256),
                    )
                    tags[number] = answer["ETag"]
                done += len(content)
                moved(done)
        parts = [
            {"PartNumber": number, "ETag": tags[number], "ChecksumSHA256": _base64(sha256)}
            for number, (sha256, _) in enumerate(sums, 1)
        ]
        complete = self._s3.complete_multipart_upload
        self._call("CompleteMultipartUpload", complete, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})

    def _begun(self, key: str, item: Item, sums: list[tuple[bytes, str]]) -> tuple[str | None, dict[int, str]]:
        """An upload of the same bytes that broke off: its id, and the ETag of each part the store has."""
        try:
            found = self._call("ListMultipartUploads", self._s3.list_multipart_uploads, Prefix=key)
            uploads = [one for one in found.get("Uploads", []) if one.get("Key") == key]
            for one in sorted(uploads, key=lambda one: str(one.get("Initiated")), reverse=True):
                parts = self._parts(key, one["UploadId"])
                if parts and all(self._ours(part, item, sums) for part in parts):
                    return one["UploadId"], {part["PartNumber"]: part["ETag"] for part in parts}
        except AbsentError:
            pass
        except PublishError as error:
            if getattr(error, "code", "") not in _TAKES_NO_LISTS:
                raise
        return None, {}

    def _parts(self, key: str, upload: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        marker = 0
        while True:
            page = self._call("ListParts", self._s3.list_parts, Key=key, UploadId=upload, PartNumberMarker=marker)
            found += page.get("Parts", [])
            before, marker = marker, page.get("NextPartNumberMarker", 0)
            if not page.get("IsTruncated") or marker <= before:  # it would begin again, for ever
                return found

    def _ours(self, part: dict[str, Any], item: Item, sums: list[tuple[bytes, str]]) -> bool:
        number, size = part.get("PartNumber", 0), self._part_size(item)
        if not 1 <= number <= len(sums) or part.get("Size") != min(size, item.size - (number - 1) * size):
            return False
        sha256, md5 = sums[number - 1]
        known = part.get("ChecksumSHA256")
        return bool(known == _base64(sha256) if known else part.get("ETag", "").strip('"') == md5)

    def _part_size(self, item: Item) -> int:
        return max(self._part, (item.size // _MOST_PARTS // _MIB + 1) * _MIB)

    def _sums(self, item: Item) -> Iterator[tuple[bytes, str]]:
        """SHA-256 and MD5 (which an ETag is in many stores) of each part."""
        with item.path.open("rb") as file:
            while content := file.read(self._part_size(item)):
                yield hashlib.sha256(content).digest(), hashlib.md5(content, usedforsecurity=False).hexdigest()

    def _composite(self, item: Item) -> str:
        """What S3 calls a composite checksum: the sum of the parts' sums."""
        return _base64(hashlib.sha256(b"".join(sha256 for sha256, _ in self._sums(item))).digest())

    def _call(self, name: str, operation: Callable[..., T], **arguments: Any) -> T:
        where = f"s3://{self._address.bucket}"
        try:
            return operation(Bucket=self._address.bucket, **arguments)
        except exceptions.ClientError as error:
            raise refused(where, name, error.response) from None
        except exceptions.SSLError as error:
            raise PublishError(
                f"{where}: TLS: {innermost(error)}; is it the right host? `ca` names the authority of a private one"
            ) from None
        except (exceptions.HTTPClientError, exceptions.ConnectionError, exceptions.IncompleteReadError) as error:
            raise Again(f"{self._address.endpoint or where}: {innermost(error)}") from None
        except exceptions.BotoCoreError as error:
            raise PublishError(f"{where}: {error}") from None


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
