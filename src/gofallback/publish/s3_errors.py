"""Errors of an S3 store, with remedies."""

from __future__ import annotations

import re
from typing import Any

from botocore import exceptions

from gofallback.publish.errors import PublishError, TransientError, excerpt
from gofallback.publish.retry import NOT_EXECUTED, TRANSIENT


class AbsentError(Exception):
    """No such object."""


class S3RefusedError(PublishError):
    """The store refuses a request, with a code of its own."""

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.code = code


#: Codes that compatible stores give with other statuses than Amazon's 500 and 503.
_TRANSIENT_CODES = frozenset({"RequestTimeout", "SlowDown", "InternalError", "ServiceUnavailable", "Throttling"})
_HASH_MISMATCH = frozenset({"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"})


def error_of(where: str, operation: str, response: dict[str, Any]) -> Exception:
    """The exception for an error response (docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html)."""
    error, meta = response.get("Error", {}), response.get("ResponseMetadata", {})
    code, status = str(error.get("Code", "")), int(meta.get("HTTPStatusCode", 0))
    text, more = f"{where}: {operation}: {code or status}", excerpt(str(error.get("Message", "")))
    if operation in ("HeadObject", "GetObject") and (code == "NoSuchKey" or (status == 404 and code != "NoSuchBucket")):
        return AbsentError()
    if code == "NoSuchUpload":
        return AbsentError()
    if status in TRANSIENT or code in _TRANSIENT_CODES:
        after = str(meta.get("HTTPHeaders", {}).get("retry-after", ""))
        seconds = float(after) if after.isdecimal() else None
        return TransientError(text + more, seconds, not_executed=status in NOT_EXECUTED)
    if code == "NoSuchBucket" or (status == 404 and code in ("404", "NotFound")):
        why = ": no such bucket; make it, or correct the url"
    elif code == "RequestTimeTooSkewed":
        why = ": the clock of this machine is wrong; set it"
    elif status == 507 or code in ("QuotaExceeded", "XMinioAdminBucketQuotaExceeded"):
        why = ": the store is full; make room, then run the same command again"
    elif code == "EntityTooLarge":
        why = ": larger than the store takes, or than its quota leaves; make room, or publish elsewhere"
    elif code in _HASH_MISMATCH:
        why = ": hash mismatch: what arrived is not what was sent; nothing was kept"
    elif status in (301, 307) or code == "AuthorizationHeaderMalformed":
        why = ": the bucket is in another region; put &region=NAME into the url"
    elif status in (401, 403) or code in ("ExpiredToken", "InvalidToken"):
        why = ": the store refuses the credentials; are they right, and do they allow what docs/publishing.md lists?"
    else:
        why = ""
    return S3RefusedError(text + why + more, code)


def innermost(error: exceptions.BotoCoreError) -> str:
    """The innermost reason: botocore's message has the URL, urllib3's the object."""
    inner = error.kwargs.get("error")
    text = str(inner if inner is not None else error)
    return re.sub(r"^(<[^>]*>|\w+\([^)]*\)): ", "", text)
