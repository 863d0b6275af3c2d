"""The build info that Go's linker puts into every binary, read without Go.

Format of Go 1.18 and later: 16-byte aligned magic, pointer size, flags (bit 1: strings inline), padding to 32 bytes,
then two strings with a varint length each: the Go version and the module info (see Go's ``debug/buildinfo`` and
``runtime/debug.ParseBuildInfo``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from pydantic import Field

from gofallback.model.base import Strict

# Joined, so that this file does not hold the magic itself.
MAGIC = b"\xff Go " + b"buildinf:"
_HEADER = 32
_ALIGN = 16
_INLINE = 2
#: `cmd/go/internal/modload.ModInfoData` wraps the module info in 16 bytes on each side.
_SENTINEL = 16
_LARGEST_STRING = 16 << 20


class Module(Strict):
    """A module whose packages are linked in: a `dep` line, with the `=>` line after it."""

    path: str
    """Import path; of the replacement where go.mod replaces the module by another."""
    version: str
    """Empty for a folder that replaces a module."""
    sum: str = ""
    """Such as ``h1:47DEQ...=``, as in go.sum; empty for vendored and local modules."""
    replaces: str = ""
    """``path@version`` of the replaced module; mostly empty."""


class BuildInfo(Strict):
    """The output of `go version -m`."""

    go_version: str
    """Such as ``go1.26.6``, with experiments: ``go1.26.6 X:synctest``."""
    path: str = ""
    """Import path of the main package."""
    module: str = ""
    """Path of the main module."""
    module_version: str = ""
    """Such as ``(devel)`` or ``v1.1.0``."""
    dependencies: list[tuple[str, str]] = Field(default_factory=list)
    """(module, version), as `dep` lines."""
    modules: list[Module] = Field(default_factory=list)
    """The modules that are linked in: dependencies, or their replacements."""
    settings: dict[str, str] = Field(default_factory=dict)
    """Such as GOOS, CGO_ENABLED, -trimpath, -tags, vcs.revision, vcs.modified."""

    @property
    def release(self) -> str:
        """``1.26.6``."""
        return self.go_version.split(" ")[0].removeprefix("go")

    @property
    def revision(self) -> str:
        """Commit the binary was built from, or empty."""
        return self.settings.get("vcs.revision", "")


def find(data: bytes, ranges: Iterable[tuple[int, int]] = ()) -> BuildInfo | None:
    """The build info in a file's bytes.

    Args:
        data: the whole file.
        ranges: (offset, size) of the sections where the linker puts it, searched before the rest. A program may hold
            the magic as a string of its own, so a match counts only if it parses.

    Returns:
        None without build info in the inline format: not a Go program, or built by Go 1.17 or older.
    """
    for offset, size in (*ranges, (0, len(data))):
        end = min(len(data), offset + size)
        at = data.find(MAGIC, max(0, offset), end)
        while at >= 0:
            if (at - offset) % _ALIGN == 0 or at % _ALIGN == 0:
                info = _parse_at(data, at)
                if info:
                    return info
            at = data.find(MAGIC, at + 1, end)
    return None


def _parse_at(data: bytes, at: int) -> BuildInfo | None:
    if at + _HEADER > len(data) or not data[at + 15] & _INLINE:
        return None
    version = _string(data, at + _HEADER)
    if version is None:
        return None
    text, after = version
    if not text.startswith((b"go", b"devel")) or len(text) > 256:
        return None
    module = _string(data, after)
    raw = module[0] if module else b""
    # As the standard library tests it: the text between the sentinels ends in a line feed.
    wrapped = len(raw) > 2 * _SENTINEL and raw[-_SENTINEL - 1] == 0x0A
    inner = raw[_SENTINEL:-_SENTINEL] if wrapped else b""
    return _module_info(text.decode("utf-8", "replace"), inner.decode("utf-8", "replace"))


def _string(data: bytes, at: int) -> tuple[bytes, int] | None:
    """A string with a varint length: its bytes, and the offset after it."""
    length = shift = 0
    for index in range(at, min(at + 10, len(data))):
        byte = data[index]
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            start = index + 1
            if length > _LARGEST_STRING or start + length > len(data):
                return None
            return data[start : start + length], start + length
    return None


def _module_info(version: str, text: str) -> BuildInfo:
    path = module = module_version = ""
    modules: list[Module] = []
    dependencies: list[tuple[str, str]] = []
    settings: dict[str, str] = {}
    for line in text.split("\n"):
        word, *fields = line.split("\t")
        if word == "path" and fields:
            path = fields[0]
        elif word == "mod" and fields:
            module, module_version = fields[0], fields[1] if len(fields) > 1 else ""
        elif word == "dep" and len(fields) > 1:
            dependencies.append((fields[0], fields[1]))
            modules.append(Module(path=fields[0], version=fields[1], sum=fields[2] if len(fields) > 2 else ""))
        elif word == "=>" and fields and modules:
            modules[-1] = _replaced(modules[-1], *fields[:3])
        elif word == "build" and fields:
            key, value = _setting("\t".join(fields))
            settings[key] = value
    return BuildInfo(
        go_version=version,
        path=path,
        module=module,
        module_version=module_version,
        dependencies=dependencies,
        modules=modules,
        settings=settings,
    )


def _replaced(module: Module, path: str, version: str = "", sum: str = "") -> Module:
    original = f"{module.path}@{module.version}"
    # A folder (https://go.dev/ref/mod#go-mod-file-replace): its name means nothing on another machine.
    if path.startswith((".", "/", "\\")) or path[1:2] == ":":
        return Module(path=module.path, version="", replaces=original)
    return Module(path=path, version=version, sum=sum, replaces=original)


def _setting(text: str) -> tuple[str, str]:
    """``key=value``; either half may be a quoted Go string where it holds spaces, quotes or '='."""
    if text.startswith('"'):
        end = _closing(text)
        key, rest = _unquote(text[: end + 1]), text[end + 1 :].removeprefix("=")
    else:
        key, _, rest = text.partition("=")
    return key, _unquote(rest)


def _closing(text: str) -> int:
    at = 1
    while at < len(text) and text[at] != '"':
        at += 2 if text[at] == "\\" else 1
    return at


def _unquote(text: str) -> str:
    """``strconv.Unquote`` of a quoted string; any other text as it is."""
    if text.startswith("`") and text.endswith("`") and len(text) >= 2:
        return text[1:-1]
    if not text.startswith('"'):
        return text
    try:
        unquoted = json.loads(text)
    except ValueError:
        return text
    return unquoted if isinstance(unquoted, str) else text
