"""Parts of messages about a builder in which Windows and Linux differ. Pure."""

from __future__ import annotations

from gofallback.builder.paths import os_of


def not_renamed(root: str) -> str:
    """Why a folder cannot be renamed, and what to do."""
    if os_of(root) == "linux":
        return f"it must be on one file system with {root}, and the login must own all below it; then run again"
    return (
        "a program has a file in it open: exclude the root folder from the antivirus (docs/windows-host.md), "
        "then run again"
    )


MAKE_ROOM = (
    "make room there: deploys/wipe.py removes what gofallback keeps there, all but what builder.wipe.keep names "
    "(docs/wipe.md)"
)
"""The remedy for a builder's full disk: Go itself trims only its build cache, of entries unused for five days."""


def hasher(root: str) -> str:
    """The program that computes a SHA-256 there."""
    return "sha256sum" if os_of(root) == "linux" else "certutil.exe"


def downloader(root: str) -> str:
    """The program that downloads there."""
    return "curl or wget" if os_of(root) == "linux" else "curl.exe"
