"""What an S3 store says when it refuses, and what a person does about it."""

from __future__ import annotations

import re
from typing import Any

from botocore import exceptions

from gofallback.publish.errors import Again, PublishError, excerpt
from gofallback.publish.retry import PASSING, UNHEARD

_FULL = frozenset(
    {"QuotaExceeded", "InsufficientCapacity", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "StorageFull"}
)
_WRONG_KEYS = frozenset(
    {
        *("AccessDenied", "403", "401", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"),
        *("InvalidToken", "AuthFailure", "UnauthorizedAccess", "AllAccessDisabled", "AccountProblem"),
    }
)
_OTHER_SUM = frozenset({"BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "InvalidDigest"})
_OTHER_REGION = frozenset({"PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "301", "307"})
_PASSING = frozenset({"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling"})


class AbsentError(Exception):
    """No such object."""


class S3RefusedError(PublishError):
    """The store says no; ``code`` is its own word for why."""

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.code = code


def refused(where: str, operation: str, response: dict[str, Any]) -> Exception:
    """What an error of S3 means (docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html)."""
    error, meta = response.get("Error", {}), response.get("ResponseMetadata", {})
    code, status = str(error.get("Code", "")), int(meta.get("HTTPStatusCode", 0))
    said, more = f"{where}: {operation}: {code or status}", excerpt(str(error.get("Message", "")))
    if operation in ("HeadObject", "GetObject") and (code == "NoSuchKey" or (status == 404 and code != "NoSuchBucket")):
        return AbsentError()
    if code == "NoSuchUpload":
        return AbsentError()
    if status in PASSING or code in _PASSING:
        after = str(meta.get("HTTPHeaders", {}).get("retry-after", ""))
        return Again(said + more, float(after) if after.isdecimal() else None, unheard=status in UNHEARD)
    if code == "NoSuchBucket" or (status == 404 and code in ("404", "NotFound")):
        why = ": no such bucket; make it, or correct the url"
    elif code == "RequestTimeTooSkewed":
        why = ": the clock of this machine is wrong; set it"
    elif code in _FULL or status == 507:
        why = ": the store is full; make room, then run the same command again"
    elif code == "EntityTooLarge":
        why = ": larger than the store takes, or than its quota leaves; make room, or publish elsewhere"
    elif code in _OTHER_SUM:
        why = ": hash mismatch: what arrived is not what was sent; nothing was kept"
    elif code in _OTHER_REGION:
        why = ": the bucket is in another region; put &region=NAME into the url"
    elif code in _WRONG_KEYS or status in (401, 403):
        why = ": the store refuses the credentials; are they right, and do they allow what docs/publishing.md lists?"
    else:
        why = ""
    return S3RefusedError(said + why + more, code)


def innermost(error: exceptions.BotoCoreError) -> str:
    """The innermost reason: botocore puts the URL into its own message, and urllib3 the object into its."""
    inner = error.kwargs.get("error")
    text = str(inner if inner is not None else error)
    return re.sub(r"^(<[^>]*>|\w+\([^)]*\)): ", "", text)
