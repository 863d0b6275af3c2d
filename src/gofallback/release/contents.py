"""What a release has besides its main binary and its units: what is wanted, what is there, and the difference. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping

from gofallback.model import Service
from gofallback.release.extra_file import as_text
from gofallback.release.render import ReleaseFiles, Rendered
from gofallback.release.state import FileFound, ServiceState


def contents(files: ReleaseFiles, further: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 of the further binaries and further files of a release, by path inside it: `contents` of its manifest."""
    return {f"bin/{name}": sha256 for name, sha256 in sorted(further.items())} | {
        path: extra.sha256 for path, extra in sorted(files.extras.items())
    }


def by_content(state: ServiceState, service: Service, but: str) -> dict[str, tuple[str, ...]]:
    """Where on the target files with a SHA-256 should be, by its releases' manifests; none of one of them."""
    found: dict[str, tuple[str, ...]] = {}
    for one in state.releases.values():
        if one.id == but:
            continue
        known = dict(one.contents)
        if one.sha256:
            known.setdefault(f"bin/{service.binary}", one.sha256)
        for path, sha256 in known.items():
            found[sha256] = (*found.get(sha256, ()), f"{service.home}/releases/{one.id}/{path}")
    return found


def damaged(state: ServiceState, desired: ReleaseFiles, service: Service, wanted: Mapping[str, str]) -> Iterator[str]:
    """Further binaries and further files; of a binary without an artifact the release's own manifest speaks."""
    named = state.releases[desired.id].contents if desired.id in state.releases else {}
    for path in [*(f"bin/{name}" for name in service.build.binaries), *desired.extras]:
        have, should = state.hashes.get(path), wanted.get(path) or named.get(path)
        if have is None:
            yield f"{path} is missing"
        elif have != should:
            yield f"{path} has sha256 {have[:12]}, not {(should or 'none')[:12]}"
        elif path in desired.extras:
            mode, should = state.modes.get(f"{state.home}/current/{path}"), f"{desired.extras[path].mode:o} root:root"
            if mode is not None and mode != should:
                yield f"{path} is {mode}, not {should}"


def unified(before: Mapping[str, bytes], after: Mapping[str, bytes], folder: str = "") -> str:
    """Unified diff of text files by name; empty when they are equal."""
    lines: list[str] = []
    for name in sorted(before.keys() | after.keys()):
        old, new = (each.get(name, b"").decode(errors="replace").splitlines() for each in (before, after))
        label = f"{folder}{name}"
        start = label if name in before else "/dev/null"
        end = label if name in after else "/dev/null"
        lines += difflib.unified_diff(old, new, start, end, lineterm="")
    return "\n".join(lines)


def texts(files: Mapping[str, FileFound] | Mapping[str, Rendered], names: Iterable[str]) -> dict[str, bytes]:
    """Content by name."""
    return {name: files[name].content for name in names}


def files_diff(state: ServiceState, desired: ReleaseFiles) -> str:
    """Unified diff of the texts in conf/ and lib/, and a line for each other file: sizes and hashes."""
    before = texts(state.files, [path for path in state.files if path.startswith("conf/")])
    after = texts(desired.files, desired.files)
    found = state.releases.get(state.current or "")
    live = found.contents if found else {}
    notes = []
    for path in sorted({*desired.extras, *(one for one in live if not one.startswith("bin/"))}):
        extra, there = desired.extras.get(path), state.files.get(path)
        before.pop(path, None)
        old = as_text(there.content) if there else None
        if (extra is None or extra.shown is not None) and (path not in live or old is not None):
            before |= {path: old} if old is not None else {}
            after |= {path: extra.shown} if extra and extra.shown is not None else {}
        elif extra is None or live.get(path) != extra.sha256:
            was = f"sha256 {live[path][:12]}" if path in live else "nothing"
            notes.append(f"{state.home}/current/{path}: {was} -> {extra or 'nothing'}")
    return "\n".join(part for part in (unified(before, after, f"{state.home}/current/"), *notes) if part)
