"""What an approval approves: one number for all binaries of a version. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gofallback.artifact.manifest import Manifest
from gofallback.errors import GofallbackError


class ApprovalError(GofallbackError):
    """Approvals that are missing or cannot be looked at; one line."""


@dataclass(frozen=True)
class Release:
    """A version of a service, as its artifacts are."""

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

        Builds are reproducible, so every controller that has the same artifacts computes the same digest; who built
        them, and when, is no part of it.
        """
        artifacts = [{"platform": one, "key": key, "sha256": sha256} for one, key, sha256 in self.artifacts]
        whole = {"service": self.service, "version": self.version, "commit": self.commit, "artifacts": artifacts}
        text = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()


def release_of(
    service: str, version: str, stored: Iterable[Manifest], chosen: Mapping[tuple[str, str], str] | None = None
) -> Release:
    """The release that a version's artifacts are.

    Args:
        service: its name.
        version: its version.
        stored: manifests of every artifact of this version that the store has.
        chosen: platform and binary to key of the artifacts that a run rolls out; default: of each the one that was
            built last, which is the one a rollout takes.

    Raises:
        ApprovalError: none is there, or those chosen are of several commits.
    """
    every = sorted(stored, key=lambda one: (one.built_at, one.key), reverse=True)
    if not every:
        raise ApprovalError(
            f"{service} {version}: not in the artifact store; build it with deploys/drill.py --data ref={version}"
        )
    first = {one.key: one for one in every if (chosen or {}).get(_what(one), one.key) == one.key}
    wanted = [first[key] for key in (chosen or {}).values() if key in first]
    if len(wanted) < len(chosen or {}):
        raise ApprovalError(f"{service} {version}: not all of its artifacts are in the store; run deploys/drill.py")
    commits = {one.spec.commit for one in wanted} or {every[0].spec.commit}
    if len(commits) > 1:
        both = " and ".join(sorted(commit[:12] for commit in commits))
        raise ApprovalError(
            f"{service} {version}: its artifacts are of several commits ({both}), a tag was moved; build it anew"
        )
    of_commit = [one for one in first.values() if one.spec.commit in commits]
    newest: dict[tuple[str, str], Manifest] = {}
    for one in of_commit:
        newest.setdefault(_what(one), one)
    artifacts = tuple(sorted((one.platform, one.key, one.sha256) for one in newest.values()))
    return Release(service, version, commits.pop(), artifacts)


def _what(manifest: Manifest) -> tuple[str, str]:
    """Of which a release has one: platform and binary."""
    return manifest.platform, manifest.spec.binary
