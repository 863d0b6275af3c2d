r"""The encoding of a Windows host's output, and its paths. Pure.

Programs made for several systems (Go, Git) write UTF-8; cmd.exe and Windows' own tools write in the code page of the
console, which is the OEM page unless `chcp` changed it, or in the ANSI page where there is no console (`chcp` says 0).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable

CODE_PAGE_QUERY = (
    r"chcp & %SystemRoot%\System32\reg.exe query HKLM\SYSTEM\CurrentControlSet\Control\Nls\CodePage /v ACP"
    r" & %SystemRoot%\System32\reg.exe query HKLM\SYSTEM\CurrentControlSet\Control\Nls\CodePage /v OEMCP"
)
"""The command whose output `code_page` reads."""

_FALLBACK = "cp437"


def code_page(lines: Iterable[str]) -> str:
    """The Python codec of a host's code page, from the output of `CODE_PAGE_QUERY`; cp437 if it is not there."""
    console, found = "", {}
    for line in lines:
        if registry := re.match(r"\s*(ACP|OEMCP)\s+REG_SZ\s+(\d+)\s*$", line):
            found[registry.group(1)] = registry.group(2)
        elif not console and (match := re.search(r"(\d+)\D*$", line)):
            console = match.group(1)
    number = console if console not in ("", "0") else found.get("ACP" if console == "0" else "OEMCP", "")
    return codec(number)


def codec(number: str) -> str:
    """The Python codec of a Windows code page number."""
    name = {"65001": "utf-8", "20127": "ascii", "54936": "gb18030", "28591": "latin-1"}.get(number, f"cp{number}")
    try:
        codecs.lookup(name)
    except LookupError:
        return _FALLBACK
    return name


def sftp_path(path: str) -> str:
    r"""A Windows path as SFTP takes it: ``C:\x`` is ``/C:/x``; a path below the user's folder stays relative."""
    slashes = path.replace("\\", "/")
    return "/" + slashes if re.match(r"[A-Za-z]:", slashes) else slashes


def windows_path(path: str) -> str:
    r"""An SFTP path as Windows takes it: ``/C:/x`` is ``C:\x``."""
    return (path[1:] if re.match(r"/[A-Za-z]:", path) else path).replace("/", "\\")
