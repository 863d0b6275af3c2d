"""The strict base of every model, the error of group data, and field types that several models share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from gofallback.errors import GofallbackError
from gofallback.redact import GIVEN, redacted

ReprArgs = Iterable[tuple[str | None, Any]]


class DataError(GofallbackError):
    """Invalid group data.

    ``str(error)`` is one line for a person: key path, value, expectation, remedy.
    """


class Strict(BaseModel):
    """Frozen; an unknown key is an error, so that a misspelt key is never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, str_strip_whitespace=False)

    def __repr_args__(self) -> ReprArgs:
        # pyinfra prints arguments with -v, and Python prints those of a frame in a traceback.
        for name, value in super().__repr_args__():
            if name == "extra_files":  # whole files may hold secrets in any form
                yield name, dict.fromkeys(value, "...")
            elif name == "text":  # a whole file too
                yield name, value and "..."
            else:
                yield name, redacted(value, likely=name in GIVEN) if isinstance(value, (str, Mapping)) else value


def one_line(value: str) -> str:
    """Reject control characters: a newline in a unit directive would start another directive."""
    if any(ord(ch) < 0x20 or ord(ch) == 0x7F for ch in value):
        raise ValueError("should be one line without control characters")
    return value


def relative_inside(value: str) -> str:
    """A relative POSIX path that stays below its root."""
    one_line(value)
    parts = value.replace("\\", "/").split("/")
    if value.startswith(("/", "\\")) or re.match(r"^[A-Za-z]:", value) or ".." in parts:
        raise ValueError("should be a relative path that stays inside its root")
    return value


def absolute_posix(value: str) -> str:
    """An absolute POSIX path without ``..``."""
    one_line(value)
    if not value.startswith("/") or ".." in value.split("/"):
        raise ValueError("should be an absolute path without '..'")
    return value


def absolute_windows(value: str) -> str:
    """A short absolute Windows path on a drive letter, without characters that are special in cmd.exe."""
    one_line(value)
    if not re.fullmatch(r"[A-Za-z]:\\[^\"&|<>^%!*?/:]+", value) or ".." in value.split("\\"):
        raise ValueError(r"should be an absolute Windows path such as C:\gofallback, without any of \"&|<>^%!*?/")
    return value.rstrip("\\")


def builder_root(value: str) -> str:
    """The folder of a builder for all of gofallback's files: an absolute path of Windows or of Linux."""
    one_line(value)
    if not re.match(r"/|[A-Za-z]:", value):
        raise ValueError(
            r"should be an absolute path: on Windows such as C:\gofallback, on Linux /home/builder/gofallback"
        )
    if not value.startswith("/"):
        folder = absolute_windows(value)
        return _own_folder(folder, "C:\\gofallback", shared=_shared_on_windows(folder))
    # Blanks and `:` would split PATH and the flags of a C compiler.
    if not re.fullmatch(r"(/[A-Za-z0-9._@+-]+)+/?", value) or {"..", "."} & set(value.split("/")):
        raise ValueError("should be an absolute path such as /home/builder/gofallback, without blanks, ':' and '..'")
    folder = value.rstrip("/")
    return _own_folder(folder, "/home/builder/gofallback", shared=bool(_LINUX_SHARED.fullmatch(folder)))


#: Folders with files of others: a wipe would remove their `tmp`, `work` or `downloads`.
_LINUX_SHARED = re.compile(
    r"/(bin|boot|dev|etc|home|lib|lib64|media|mnt|opt|proc|root|run|sbin|srv|sys|tmp|usr|var)"
    r"|/home/[^/]+|/usr/local|/var/(lib|tmp)"
)


def _shared_on_windows(value: str) -> bool:
    parts = value.lower().split("\\")[1:]
    first, single = parts[0] if parts else "", len(parts) == 1
    return (
        any(not part.strip(" .") for part in parts or [""])  # Windows reads `C:\.` as `C:\`
        or first == "windows"
        or (first in ("programdata", "program files", "program files (x86)") and single)
        or (first in ("users", "documents and settings") and len(parts) < 3)
    )


def _own_folder(value: str, example: str, *, shared: bool) -> str:
    if shared:
        raise ValueError(f"should be a folder of its own, such as {example}: a wipe removes work, tmp and more in it")
    return value


#: Name of a service, user or unit: valid for systemd, useradd and as a folder (useradd(8): at most 32 characters).
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
Line = Annotated[str, AfterValidator(one_line)]
RelativePath = Annotated[str, AfterValidator(relative_inside)]
AbsolutePath = Annotated[str, AfterValidator(absolute_posix)]
BuilderRoot = Annotated[str, AfterValidator(builder_root)]
#: Name of an environment variable (POSIX.1-2017, 8.1).
EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
