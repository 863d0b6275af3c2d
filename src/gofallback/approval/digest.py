"""The release that an approval is for, and its digest over all binaries. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gofallback.artifact.manifest import Manifest
from gofallback.errors import GofallbackError


class ApprovalError(GofallbackError):
    """Approvals are missing or cannot be read; one line."""


@dataclass(frozen=True)
class Release:
    """A version of a service with its artifacts."""

    service: str
    version: str
    commit: str
    artifacts: tuple[tuple[str, str, str], ...]
    """(platform, key, sha256 of the binary), sorted."""

    @property
    def platforms(self) -> tuple[str, ...]:
        """GOOS/GOARCH of each artifact."""
        return tuple(platform for platform, _, _ in self.artifacts)

    @property
    def digest(self) -> str:
        """64 hex digits: SHA-256 over the canonical JSON of all fields (sorted keys, no blanks, ASCII).

        Builds are reproducible, so every controller that has the same artifacts computes the same digest. The builder
        and the time of a build are no part of it.
        """
        artifacts = [{"platform": one, "key": key, "sha256": sha256} for one, key, sha256 in self.artifacts]
        whole = {"service": self.service, "version": self.version, "commit": self.commit, "artifacts": artifacts}
        text = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


def release_of(
    service: str, version: str, stored: Iterable[Manifest], chosen: Mapping[tuple[str, str], str] | None = None
) -> Release:
    """The release that the artifacts of a version make.

    Args:
        service: its name.
        version: its version.
        stored: manifests of every artifact of this version in the store.
        chosen: platform and binary to key of the artifacts that a run rolls out; default: the newest of each, as a
            rollout takes it.

    Raises:
        ApprovalError: there is none, or the chosen ones are of several commits.
    """
    every = sorted(stored, key=lambda one: (one.built_at, one.key), reverse=True)
    if not every:
        raise ApprovalError(
            f"{service} {version}: not in the artifact store; build it with deploys/drill.py --data ref={version}"
        )
    by_key = {one.key: one for one in every if (chosen or {}).get(_slot(one), one.key) == one.key}
    found = [by_key[key] for key in (chosen or {}).values() if key in by_key]
    if len(found) < len(chosen or {}):
        raise ApprovalError(f"{service} {version}: not all of its artifacts are in the store; run deploys/drill.py")
    commits = {one.spec.commit for one in found} or {every[0].spec.commit}
    if len(commits) > 1:
        both = " and ".join(sorted(commit[:12] for commit in commits))
        raise ApprovalError(
            f"{service} {version}: its artifacts are of several commits ({both}), a tag was moved; build it again"
        )
    newest: dict[tuple[str, str], Manifest] = {}
    for one in by_key.values():
        if one.spec.commit in commits:
            newest.setdefault(_slot(one), one)
    artifacts = tuple(sorted((one.platform, one.key, one.sha256) for one in newest.values()))
    return Release(service, version, commits.pop(), artifacts)


def _slot(manifest: Manifest) -> tuple[str, str]:
    """Platform and binary: a release has one artifact of each pair."""
    return manifest.platform, manifest.spec.binary
