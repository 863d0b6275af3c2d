"""``s3://``: Amazon's and compatible stores. Amazon's own client, with its chain of credentials.

An object of up to `_PART` bytes is put in one request with its SHA-256, which the store checks. Larger objects go in
parts, each with its own; a broken upload is resumed if every part in the store is ours.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import boto3
from botocore import exceptions
from botocore.config import Config

from gofallback.model.publish import PublishStore
from gofallback.publish.address import s3_address
from gofallback.publish.errors import PublishError, TransientError
from gofallback.publish.files import Item
from gofallback.publish.s3_errors import AbsentError, error_of, innermost
from gofallback.publish.store import STORES_SUM, StoredFile, compare_content
from gofallback.redact import hide

T = TypeVar("T")

_MIB = 1 << 20
_PART = 16 * _MIB
#: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html: at most 10,000 parts.
_MOST_PARTS = 10_000
_CHUNK = 1 << 18
#: Codes of stores that cannot list uploads.
_LISTS_NOTHING = frozenset({"NotImplemented", "AccessDenied", "403", "405", "MethodNotAllowed", "501"})


@dataclass(frozen=True)
class _Upload:
    """A multipart upload."""

    id: str
    tags: dict[int, str]
    """Number of each part in the store to its ETag."""


class S3Store:
    """Objects of one version in a bucket.

    Args:
        store: its data.
        service, version: beginning of each name.
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
            retries={"total_max_attempts": 1, "mode": "standard"},  # retry.py retries
            # Sums are given explicitly; stores without them refuse the default of newer clients.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path" if endpoint else "auto"},
            signature_version="s3v4",  # newer regions refuse the old way of signing addresses
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

    def address(self, item: Item) -> str:
        """Address of the object."""
        return f"s3://{self._address.bucket}/{self._key(item)}"

    def find(self, item: Item) -> StoredFile | None:
        """See `_find`."""
        with self._require_valid_answers(item):
            return self._find(item)

    def send(self, item: Item, progress: Callable[[int], None], *, replace: bool) -> None:
        """See `_send`."""
        with self._require_valid_answers(item):
            self._send(item, progress)

    @contextlib.contextmanager
    def _require_valid_answers(self, item: Item) -> Iterator[None]:
        """Refuse answers with missing or wrong fields: botocore does not check them."""
        try:
            yield
        except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise PublishError(
                f"{self.address(item)}: an answer that makes no sense ({type(error).__name__}); does "
                f"{urlsplit(self.endpoint).netloc} speak S3?"
            ) from None

    def _find(self, item: Item) -> StoredFile | None:
        """The object by the sum that the store checked on upload, else by its content."""
        try:
            head = self._call("HeadObject", self._s3.head_object, Key=self._key(item), ChecksumMode="ENABLED")
        except AbsentError:
            return None
        if head["ContentLength"] != item.size:
            return StoredFile(False, f"{head['ContentLength']} bytes", "size")
        known = "" if self._reads_back else head.get("ChecksumSHA256", "")
        if known == _base64(bytes.fromhex(item.sha256)):
            return StoredFile(True, f"sha256 {item.sha256}", STORES_SUM)
        if known and known.partition("-")[0] == self._composite(item):
            return StoredFile(True, f"sha256 {item.sha256}", f"{STORES_SUM} of each part")
        # No sum, or a sum over parts of another size (some stores leave out the "-3" that marks those).
        return self._read_back(item)

    def _send(self, item: Item, progress: Callable[[int], None]) -> None:
        """In one request, or in parts."""
        if item.size > self._part:
            self._send_parts(item, progress)
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
        progress(item.size)

    @property
    def endpoint(self) -> str:
        """Address of requests, from group data, AWS_ENDPOINT_URL_S3 or ~/.aws."""
        return str(self._s3.meta.endpoint_url)

    def signed_url(self, item: Item, seconds: int) -> str:
        """Address for reading the object without credentials, for so many seconds; at most a week, less for a role."""
        name = {"Bucket": self._address.bucket, "Key": self._key(item)}
        try:
            return str(self._s3.generate_presigned_url("get_object", Params=name, ExpiresIn=min(seconds, 604_800)))
        except exceptions.BotoCoreError as error:
            raise PublishError(f"s3://{self._address.bucket}: {error}") from None

    def _key(self, item: Item) -> str:
        return self._address.key(self._service, self._version, item.name)

    def _read_back(self, item: Item) -> StoredFile:
        answer = self._call("GetObject", self._s3.get_object, Key=self._key(item))
        try:
            return compare_content(item, answer["Body"].iter_chunks(_CHUNK))
        except (exceptions.BotoCoreError, OSError) as error:
            raise TransientError(f"{self.address(item)}: {error} while it was read back") from None

    def _send_parts(self, item: Item, progress: Callable[[int], None]) -> None:
        key, sums = self._key(item), list(self._sums(item))
        upload = self._broken_upload(key, item, sums) or self._new_upload(key, item)
        size, done = self._part_size(item), 0
        with item.path.open("rb") as file:
            for number, (sha256, _) in enumerate(sums, 1):
                content = file.read(size)
                if number not in upload.tags:
                    answer = self._call(
                        "UploadPart",
                        self._s3.upload_part,
                        Key=key,
                        UploadId=upload.id,
                        PartNumber=number,
                        Body=content,
                        ChecksumAlgorithm="SHA256",
                        ChecksumSHA256=_base64(sha256),
                    )
                    upload.tags[number] = answer["ETag"]
                done += len(content)
                progress(done)
        parts = [
            {"PartNumber": number, "ETag": upload.tags[number], "ChecksumSHA256": _base64(sha256)}
            for number, (sha256, _) in enumerate(sums, 1)
        ]
        complete = self._s3.complete_multipart_upload
        self._call("CompleteMultipartUpload", complete, Key=key, UploadId=upload.id, MultipartUpload={"Parts": parts})

    def _new_upload(self, key: str, item: Item) -> _Upload:
        answer = self._call(
            "CreateMultipartUpload",
            self._s3.create_multipart_upload,
            Key=key,
            ChecksumAlgorithm="SHA256",
            Metadata={"sha256": item.sha256},
        )
        return _Upload(answer["UploadId"], {})

    def _broken_upload(self, key: str, item: Item, sums: list[tuple[bytes, str]]) -> _Upload | None:
        """An unfinished upload of the same bytes, or None."""
        try:
            found = self._call("ListMultipartUploads", self._s3.list_multipart_uploads, Prefix=key)
            uploads = [upload for upload in found.get("Uploads", []) if upload.get("Key") == key]
            for upload in sorted(uploads, key=lambda upload: str(upload.get("Initiated")), reverse=True):
                parts = self._parts(key, upload["UploadId"])
                if parts and all(self._is_ours(part, item, sums) for part in parts):
                    return _Upload(upload["UploadId"], {part["PartNumber"]: part["ETag"] for part in parts})
        except AbsentError:
            pass
        except PublishError as error:
            if getattr(error, "code", "") not in _LISTS_NOTHING:
                raise
        return None

    def _parts(self, key: str, upload: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        marker = 0
        while True:
            page = self._call("ListParts", self._s3.list_parts, Key=key, UploadId=upload, PartNumberMarker=marker)
            found += page.get("Parts", [])
            before, marker = marker, page.get("NextPartNumberMarker", 0)
            if not page.get("IsTruncated") or marker <= before:  # a store that repeats its pages
                return found

    def _is_ours(self, part: dict[str, Any], item: Item, sums: list[tuple[bytes, str]]) -> bool:
        number, size = part.get("PartNumber", 0), self._part_size(item)
        if not 1 <= number <= len(sums) or part.get("Size") != min(size, item.size - (number - 1) * size):
            return False
        sha256, md5 = sums[number - 1]
        known = part.get("ChecksumSHA256")
        return bool(known == _base64(sha256) if known else part.get("ETag", "").strip('"') == md5)

    def _part_size(self, item: Item) -> int:
        return max(self._part, (item.size // _MOST_PARTS // _MIB + 1) * _MIB)

    def _sums(self, item: Item) -> Iterator[tuple[bytes, str]]:
        """SHA-256 and MD5 of each part; in many stores the ETag is the MD5."""
        with item.path.open("rb") as file:
            while content := file.read(self._part_size(item)):
                yield hashlib.sha256(content).digest(), hashlib.md5(content, usedforsecurity=False).hexdigest()

    def _composite(self, item: Item) -> str:
        """S3's composite checksum: the sum of the parts' sums."""
        return _base64(hashlib.sha256(b"".join(sha256 for sha256, _ in self._sums(item))).digest())

    def _call(self, name: str, operation: Callable[..., T], **arguments: Any) -> T:
        where = f"s3://{self._address.bucket}"
        try:
            return operation(Bucket=self._address.bucket, **arguments)
        except exceptions.ClientError as error:
            raise error_of(where, name, error.response) from None
        except exceptions.SSLError as error:
            raise PublishError(
                f"{where}: TLS: {innermost(error)}; is it the right host? `ca` names the authority of a private one"
            ) from None
        except (exceptions.HTTPClientError, exceptions.ConnectionError, exceptions.IncompleteReadError) as error:
            raise TransientError(f"{self._address.endpoint or where}: {innermost(error)}") from None
        except exceptions.BotoCoreError as error:
            raise PublishError(f"{where}: {error}") from None


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
