"""``gofallback verify``: what is this binary, and is it what its manifest and its signed provenance say?"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from rich.table import Table
from rich.text import Text

from gofallback.artifact.binary import ArtifactError, BinaryInfo, inspect
from gofallback.artifact.manifest import Manifest
from gofallback.artifact.verify import problems
from gofallback.controller.paths import Home
from gofallback.controller.store import MANIFEST, file_sha256
from gofallback.errors import GofallbackError
from gofallback.model.base import Sha256
from gofallback.provenance import CHECKSUMS, checksums
from gofallback.provenance.check import Case, Result, check
from gofallback.provenance.keys import TrustedKey, trusted_keys
from gofallback.report.screen import console
from gofallback.report.style import size_text

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

STATUSES = "exit status: 0 all is well, 1 a problem was found (one line says which), 2 the command line is wrong"
AGENT = Path("lib") / "gofallback-agent"
#: How deep below a folder artifacts are looked for: <version>/<platform>/<key>/manifest.json of the store.
_DEPTH = 3


class VerifyCommandError(GofallbackError):
    """There is nothing to verify."""


class ReleaseManifest(Manifest):
    """manifest.json of an artifact, and of a release on a target, which says two things more."""

    release: str | None = None
    agent_sha256: Sha256 | None = None
    contents: dict[str, Sha256] | None = None
    """Further binaries and further files of a release, by path inside it."""


@dataclass
class _Verdict:
    binary: Path
    info: BinaryInfo | None
    manifest: ReleaseManifest | None
    problems: list[str]
    """Of binary and manifest, then those of the attestation."""
    attestation: Result


def register(commands: Commands) -> None:
    """Add the command to those of ``gofallback``."""
    verify = commands.add_parser(
        "verify",
        help="check a binary against its manifest, its SBOM and its signed provenance; needs no network",
        description="Says what a binary is, and checks it against what lies beside it. See docs/provenance.md.",
        epilog=STATUSES,
    )
    verify.add_argument(
        "path",
        type=Path,
        metavar="FILE|DIR",
        help="a binary, the folder of an artifact or a release, a folder of such folders, or of published files",
    )
    verify.add_argument(
        "--key",
        action="append",
        type=Path,
        default=[],
        metavar="PUB",
        help="trust only this public key (PEM); may be repeated; default: this controller's and trusted_keys/*.pub",
    )
    verify.add_argument("--json", action="store_true", help="print JSON")
    verify.set_defaults(run=_verify)


def _verify(arguments: argparse.Namespace) -> int:
    trusted = trusted_keys(Home.default().keys, Path.cwd(), arguments.key)
    paths, demanded = _several(arguments.path), bool(arguments.key)
    if not paths:
        verdict = _judge(arguments.path, trusted, demanded=demanded)
        if arguments.json:
            print(json.dumps(_as_json(verdict), indent=2))
        else:
            _show(verdict)
        return 1 if verdict.problems else 0
    verdicts = [_judge(path, trusted, demanded=demanded) for path in paths]
    sums = list(checksums.problems(arguments.path, ())) if (arguments.path / CHECKSUMS).exists() else []
    if arguments.json:
        whole = {"path": str(arguments.path), "artifacts": [_as_json(one) for one in verdicts], "problems": sums}
        print(json.dumps(whole, indent=2))
    else:
        _show_all(verdicts, sums)
    return 1 if sums or any(verdict.problems for verdict in verdicts) else 0


def _several(path: Path) -> list[Path]:
    """What there is to verify in a folder that is no artifact's own: folders of artifacts, or published binaries."""
    if not path.is_dir():
        return []
    if (path / MANIFEST).exists():
        manifest = _manifest(path / MANIFEST)
        further = [one for one in (manifest and manifest.contents) or () if one.startswith("bin/")]
        return [path, *(path / one for one in further)] if further else []
    published = [_published(found) for found in sorted(path.glob(f"*.{MANIFEST}"))]
    return published or sorted(
        found.parent for depth in range(1, _DEPTH + 1) for found in path.glob("*/" * depth + MANIFEST)
    )


def _published(manifest: Path) -> Path:
    """The binary that a published manifest is about: its platform decides, not what happens to be there."""
    known = _manifest(manifest)
    windows = known is not None and known.spec.goos == "windows"
    return manifest.with_name(manifest.name.removesuffix(f".{MANIFEST}") + (".exe" if windows else ""))


def _judge(path: Path, trusted: Sequence[TrustedKey], *, demanded: bool) -> _Verdict:
    binary, manifest, folder, prefix = _located(path)
    info, found = _inspected(binary, needed=manifest is None)
    if manifest is not None:
        if info is not None:
            found += problems(info, manifest.spec, sha256=manifest.sha256, size=manifest.size)
        if manifest.key != manifest.spec.key:
            found.append(
                f"{MANIFEST}: key should be {manifest.spec.key}, the key of its build, got {manifest.key}; build again"
            )
        found += [*_agent(folder, manifest), *_contents(folder, manifest)]
    result = check(
        Case(folder, binary, info, manifest, release=binary.parent != folder and not prefix, prefix=prefix),
        trusted,
        # Whoever trusts nobody can be told nothing; and a binary alone is only described, unless a key was named.
        required=demanded or (manifest is not None and bool(trusted)),
    )
    return _Verdict(binary, info, manifest, found + result.problems, result)


def _inspected(binary: Path, *, needed: bool) -> tuple[BinaryInfo | None, list[str]]:
    try:
        return inspect(binary), []
    except ArtifactError as error:
        if needed:
            raise
        return None, [str(error)]


def _agent(folder: Path, manifest: ReleaseManifest) -> list[str]:
    """The other program of a release."""
    if manifest.agent_sha256 is None:
        return []
    try:
        have = file_sha256(folder / AGENT)
    except OSError as error:
        return [f"{AGENT}: cannot be read ({error.strerror}); copy the folder again"]
    if have == manifest.agent_sha256:
        return []
    return [f"{AGENT}: has sha256 {have}, {MANIFEST} says {manifest.agent_sha256}; it was changed or damaged"]


def _contents(folder: Path, manifest: ReleaseManifest) -> Iterator[str]:
    """Further binaries and further files of a release."""
    for name, sha256 in (manifest.contents or {}).items():
        if name.startswith("/") or ".." in Path(name).parts:
            yield f"{MANIFEST}: names {name!r:.80}, which is outside of the folder"
            continue
        try:
            have = file_sha256(folder / name)
        except OSError as error:
            yield f"{name}: cannot be read ({error.strerror}); copy the folder again"
            continue
        if have != sha256:
            yield f"{name}: has sha256 {have}, {MANIFEST} says {sha256}; it was changed or damaged"


def _located(path: Path) -> tuple[Path, ReleaseManifest | None, Path, str]:
    """The binary, its manifest, the folder of its attestation, and what the names there begin with.

    The manifest lies beside the binary, in a release one folder up (of a further binary under its name), and of
    published files under the binary's name.
    """
    if path.is_dir():
        manifest = _manifest(path / MANIFEST)
        if manifest is None:
            raise VerifyCommandError(
                f"{path}: holds no {MANIFEST}; name the folder of an artifact or a release, or a binary"
            )
        names = (path / manifest.spec.file_name, path / "bin" / manifest.spec.binary)
        there = [name for name in names if name.is_file()]
        if not there:
            raise VerifyCommandError(
                f"{path}: holds no {manifest.spec.file_name}, which its {MANIFEST} names; build or copy it again"
            )
        if len(there) > 1:  # somebody may hope that the wrong one is looked at
            raise VerifyCommandError(f"{path}: holds {names[0].name} and bin/{names[1].name}; one of them is not ours")
        return there[0], manifest, path, ""
    prefix = path.name.removesuffix(".exe")
    own = path.parent / f"{prefix}.{MANIFEST}"
    if own.exists() and _published(own) == path:
        return path, _manifest(own), path.parent, prefix
    above = path.parent.parent if path.parent.name == "bin" else path.parent
    further = above / f"{prefix}.{MANIFEST}"
    if above != path.parent and further.exists():
        return path, _manifest(further), above, prefix
    for folder in (path.parent, above):
        manifest = _manifest(folder / MANIFEST)
        if manifest is not None:
            return path, manifest, folder, ""
    return path, None, path.parent, ""


def _manifest(path: Path) -> ReleaseManifest | None:
    try:
        return ReleaseManifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise VerifyCommandError(f"{path}: cannot be read ({error.strerror})") from None
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        first = f"{'.'.join(str(part) for part in detail['loc']) or 'content'}: {detail['msg'].lower()}"
        raise VerifyCommandError(f"{path}: is not a manifest of gofallback ({first}); build again") from None


def _as_json(verdict: _Verdict) -> dict[str, Any]:
    made, manifest = verdict.attestation.statement, verdict.manifest
    unsaid = {"release", "agent_sha256", "contents"} if manifest and manifest.release is None else None
    return {
        "path": str(verdict.binary),
        "binary": verdict.info.model_dump(mode="json") if verdict.info else None,
        "manifest": manifest.model_dump(mode="json", exclude=unsaid) if manifest else None,
        "attested": verdict.attestation.attested,
        "signed_by": [{"file": one.name, "key": one.fingerprint} for one in verdict.attestation.signed_by],
        "reproduced_by": verdict.attestation.reproduced_by or None,
        "provenance": made.model_dump(mode="json", by_alias=True, exclude_none=True) if made else None,
        "problems": verdict.problems,
    }


def _show_all(verdicts: Sequence[_Verdict], sums: Sequence[str]) -> None:
    for verdict in verdicts:
        _show(verdict)
        print()
    for line in sums:
        console().print(Text(f"problem: {line}", style="red"), soft_wrap=True)
    bad = sum(bool(verdict.problems) for verdict in verdicts)
    several = f"{len(verdicts)} artifact{'s' if len(verdicts) > 1 else ''}"
    print(f"{several}, {bad} with problems" if bad else f"{several}, all as they say")


def _show(verdict: _Verdict) -> None:
    screen = console()
    if verdict.info:
        screen.print(_facts(verdict.binary, verdict.info))
    else:
        screen.print(Text(f"file  {verdict.binary}"))
    if verdict.manifest is None:
        screen.print(Text(f"no {MANIFEST} beside it: nothing to compare with"))
    for line in verdict.problems:
        screen.print(Text(f"problem: {line}", style="red"), soft_wrap=True)
    manifest, result = verdict.manifest, verdict.attestation
    if manifest and not verdict.problems:
        screen.print(Text(f"agrees with {MANIFEST}: built on {manifest.builder} at {manifest.built_at}", style="green"))
    if not result.attested:
        screen.print(Text("not attested: nothing proves who built it", style="yellow"))
    elif not verdict.problems:
        whose = ", ".join(f"{one.name} ({one.fingerprint})" for one in result.signed_by)
        screen.print(Text(f"provenance signed with {whose}", style="green"), soft_wrap=True)
        if result.reproduced_by:
            screen.print(Text(f"reproduced: {result.reproduced_by} built the same bytes", style="green"))


def _facts(path: Path, info: BinaryInfo) -> Table:
    made = Table.grid(padding=(0, 2))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    build = info.build
    rows = [
        ("file", f"{path} ({size_text(info.size)})"),
        ("sha256", info.sha256),
        (
            "format",
            f"{info.format} {info.bits} bit, {info.machine} ({info.goarch or 'not a GOARCH'}), {info.abi}, {info.kind}",
        ),
        ("linked", _linked(info)),
        ("symbols", "stripped" if info.stripped else "present"),
        ("Go", build.go_version if build else "no build info: not built by Go 1.18 or later"),
    ]
    if build:
        rows += [("program", build.path), ("module", f"{build.module} {build.module_version}".strip())]
        rows += [(key, value) for key, value in build.settings.items()]
    for key, value in rows:
        made.add_row(Text(key), Text(value))
    return made


def _linked(info: BinaryInfo) -> str:
    if info.format == "PE":
        return "against Windows"
    if info.static:
        return "static"
    loader = f" by {info.interpreter}" if info.interpreter else ""
    lowest = f"; needs glibc {info.glibc} or later" if info.glibc else ""
    return f"dynamic{loader}: {', '.join(info.needed) or 'no library'}{lowest}"
