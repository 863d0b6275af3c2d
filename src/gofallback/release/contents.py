"""The extra binaries and extra files of a release: expected, present on the target, and the difference. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping

from gofallback.model import Service
from gofallback.release.extra_file import diffable
from gofallback.release.render import ReleaseFiles, Rendered
from gofallback.release.state import ServiceState, TargetFile


def contents(files: ReleaseFiles, extra_binaries: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 of a release's extra binaries and extra files, by path inside it: `contents` of its manifest."""
    return {f"bin/{name}": sha256 for name, sha256 in sorted(extra_binaries.items())} | {
        path: extra.sha256 for path, extra in sorted(files.extra_files.items())
    }


def paths_by_content(state: ServiceState, service: Service, skip: str) -> dict[str, tuple[str, ...]]:
    """SHA-256 to the paths on the target that have this content according to the manifests of its releases.

    Args:
        state: the service on the target.
        service: its group data.
        skip: release whose files do not count.
    """
    paths: dict[str, tuple[str, ...]] = {}
    for release in state.releases.values():
        if release.id == skip:
            continue
        known = dict(release.contents)
        if release.sha256:
            known.setdefault(f"bin/{service.binary}", release.sha256)
        for path, sha256 in known.items():
            paths[sha256] = (*paths.get(sha256, ()), f"{service.home}/releases/{release.id}/{path}")
    return paths


def content_problems(
    state: ServiceState, desired: ReleaseFiles, service: Service, expected: Mapping[str, str]
) -> Iterator[str]:
    """Missing or changed extra binaries and extra files of the live release.

    A binary that has no artifact yet is compared with the release's own manifest.
    """
    recorded = state.releases[desired.id].contents if desired.id in state.releases else {}
    for path in [*(f"bin/{name}" for name in service.build.binaries), *desired.extra_files]:
        have, should = state.hashes.get(path), expected.get(path) or recorded.get(path)
        if have is None:
            yield f"{path} is missing"
        elif have != should:
            yield f"{path} has sha256 {have[:12]}, not {(should or 'none')[:12]}"
        elif path in desired.extra_files:
            mode = state.modes.get(f"{state.home}/current/{path}")
            should = f"{desired.extra_files[path].mode:o} root:root"
            if mode is not None and mode != should:
                yield f"{path} is {mode}, not {should}"


def unified_diff(before: Mapping[str, bytes], after: Mapping[str, bytes], folder: str = "") -> str:
    """Unified diff of text files by name; empty if they are equal."""
    lines: list[str] = []
    for name in sorted(before.keys() | after.keys()):
        old, new = (each.get(name, b"").decode(errors="replace").splitlines() for each in (before, after))
        label = f"{folder}{name}"
        start = label if name in before else "/dev/null"
        end = label if name in after else "/dev/null"
        lines += difflib.unified_diff(old, new, start, end, lineterm="")
    return "\n".join(lines)


def content_by_name(files: Mapping[str, TargetFile] | Mapping[str, Rendered], names: Iterable[str]) -> dict[str, bytes]:
    """Content of the named files."""
    return {name: files[name].content for name in names}


def files_diff(state: ServiceState, desired: ReleaseFiles) -> str:
    """Unified diff of the texts in conf/ and lib/, and one line with sizes and hashes for every other file."""
    before = content_by_name(state.files, [path for path in state.files if path.startswith("conf/")])
    after = content_by_name(desired.files, desired.files)
    release = state.releases.get(state.current or "")
    live = release.contents if release else {}
    notes = []
    for path in sorted({*desired.extra_files, *(path for path in live if not path.startswith("bin/"))}):
        extra, present = desired.extra_files.get(path), state.files.get(path)
        before.pop(path, None)
        old = diffable(present.content) if present else None
        if (extra is None or extra.text is not None) and (path not in live or old is not None):
            before |= {path: old} if old is not None else {}
            after |= {path: extra.text} if extra and extra.text is not None else {}
        elif extra is None or live.get(path) != extra.sha256:
            was = f"sha256 {live[path][:12]}" if path in live else "nothing"
            notes.append(f"{state.home}/current/{path}: {was} -> {extra or 'nothing'}")
    return "\n".join(part for part in (unified_diff(before, after, f"{state.home}/current/"), *notes) if part)
