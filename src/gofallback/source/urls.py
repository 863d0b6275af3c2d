"""Repository addresses: names of mirrors, relative submodule addresses, local or not. Pure."""

from __future__ import annotations

import hashlib
import re


def mirror_name(url: str) -> str:
    """Folder name of a repository's mirror: readable, and different for every address."""
    digest = hashlib.sha256(url.encode()).hexdigest()[:10]
    last = re.split(r"[/:]", url.rstrip("/"))[-1].removesuffix(".git")
    return f"{re.sub(r'[^A-Za-z0-9._-]', '-', last)[:40] or 'repository'}-{digest}.git"


def local_path(url: str) -> str | None:
    """The path of a folder of this machine; None for any other address."""
    if url.startswith("file://"):
        return "/" + url.removeprefix("file://").split("/", 1)[-1]
    return url if url.startswith("/") else None


def resolve_relative(base: str, url: str) -> str:
    """A submodule's full address: ``./`` and ``../`` start from the superproject (git-submodule(1)).

    Args:
        base: address of the superproject.
        url: address in ``.gitmodules``.

    Raises:
        ValueError: ``url`` climbs above the root of ``base``.
    """
    if not url.startswith(("./", "../")):
        return url
    head, rest = base.rstrip("/"), url
    while rest.startswith(("./", "../")):
        if rest.startswith("../"):
            cut = max(head.rfind("/"), head.rfind(":"))
            if cut <= 0 or head[: cut + 1].endswith("//"):
                raise ValueError(f"{url!r} climbs above the root of {base}")
            head = head[:cut] if head[cut] == "/" else head[: cut + 1]
            rest = rest[3:]
        else:
            rest = rest[2:]
    return f"{head}{rest}" if head.endswith(":") else f"{head}/{rest}"
