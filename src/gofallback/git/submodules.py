"""The submodules of a commit, on all levels, each from a mirror of its own."""

from __future__ import annotations

import re

from gofallback.git.fetch import SourceRequest, unreachable_commit, update
from gofallback.git.git_command import GitError
from gofallback.git.mirror import Mirror
from gofallback.source import tree
from gofallback.source.model import Submodule
from gofallback.source.urls import local_path, mirror_name, resolve_relative

_DEPTH = 8
"""Levels of submodules; more are taken for a loop."""


def submodules(
    request: SourceRequest, above: Mirror, commit: str, entries: list[tree.Entry], *, prefix: str, depth: int
) -> tuple[Submodule, ...]:
    """Every submodule of a commit, with their own submodules; their mirrors are up to date then.

    Args:
        request: of the service.
        above: mirror of the repository with the commit.
        commit: full SHA.
        entries: of the commit's tree.
        prefix: folder of that repository in the whole tree, with `/` at its end; empty at the top.
        depth: how many repositories are above this one.

    Raises:
        SourceError: a submodule cannot be fetched.
    """
    links = [entry for entry in entries if entry.is_submodule]
    if not links:
        return ()
    if depth >= _DEPTH:
        raise request.error(f"source.submodules: {prefix} is nested more than {_DEPTH} deep; is it a loop?")
    try:
        urls = above.submodule_urls(commit)
    except GitError:
        urls = {}
    return tuple(_submodule(request, above, entry, urls, prefix, depth) for entry in links)


def _submodule(
    request: SourceRequest, above: Mirror, entry: tree.Entry, urls: dict[str, str], prefix: str, depth: int
) -> Submodule:
    path = f"{prefix}{entry.path}"
    key = f"submodule {path}:"
    url = _submodule_url(request, above.url, urls.get(entry.path), key)
    mirror = Mirror(request.mirrors / mirror_name(url), url)
    with mirror.locked(request.report):
        update(request, mirror, ref=entry.sha, key=key)
        if not mirror.commit(entry.sha) and not request.offline:
            unreachable_commit(mirror, entry.sha)
        if not mirror.commit(entry.sha):
            raise request.error(f"{key} commit {entry.sha} is not in {url}; push it there, or correct .gitmodules")
        entries = mirror.tree(entry.sha)
    below = submodules(request, mirror, entry.sha, entries, prefix=f"{path}/", depth=depth + 1)
    return Submodule(repository=url, commit=entry.sha, mirror=mirror.path, path=path, submodules=below)


def _submodule_url(request: SourceRequest, base: str, url: str | None, key: str) -> str:
    """The full address; refused where a remote superproject points git at this machine's files."""
    if url is None:
        raise request.error(f"{key} .gitmodules does not say where it comes from; add its url there")
    try:
        full = resolve_relative(base, url)
    except ValueError as error:
        raise request.error(f"{key} {error}") from None
    remote = re.match(r"(https?|ssh|git)://[^-]|[\w.-]+@[\w.-]+:[^-:]", full)
    if not remote and not (local_path(full) and local_path(base)):
        raise request.error(f"{key} address {url!r} is refused; should be https://, ssh://, user@host:path or relative")
    return full
