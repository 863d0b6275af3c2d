"""``gofallback verify``: what is this binary, and does it match its manifest and its signed provenance?"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from gofallback.artifact.binary import BinaryInfo
from gofallback.cli.command import add_command, facts, print_json
from gofallback.controller.paths import Home
from gofallback.controller.store import MANIFEST
from gofallback.provenance import CHECKSUMS, checksums
from gofallback.provenance.keys import trusted_keys
from gofallback.provenance.verify_folder import Verdict, artifact_folders, verify_folder
from gofallback.report.screen import console
from gofallback.report.style import size_text

if TYPE_CHECKING:
    from gofallback.cli.command import Commands


def register(commands: Commands) -> None:
    """Add the command."""
    verify = add_command(
        commands,
        "verify",
        _verify,
        "check a binary against its manifest, its SBOM and its signed provenance; needs no network",
        "Describes a binary, and checks it against the files beside it. See docs/provenance.md.",
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


def _verify(arguments: argparse.Namespace) -> int:
    trusted = trusted_keys(Home.default().keys, Path.cwd(), arguments.key)
    folders, demanded = artifact_folders(arguments.path), bool(arguments.key)
    verdicts = [verify_folder(path, trusted, signature_required=demanded) for path in folders or [arguments.path]]
    problems = list(checksums.problems(arguments.path, ())) if folders and (arguments.path / CHECKSUMS).exists() else []
    if arguments.json:
        records = [_as_json(verdict) for verdict in verdicts]
        whole = {"path": str(arguments.path), "artifacts": records, "problems": problems}
        print_json(whole if folders else records[0])
    elif folders:
        _show_all(verdicts, problems)
    else:
        _show(verdicts[0])
    return 1 if problems or any(verdict.problems for verdict in verdicts) else 0


def _as_json(verdict: Verdict) -> dict[str, Any]:
    made, manifest = verdict.attestation.statement, verdict.manifest
    unset = {"release", "agent_sha256", "contents"} if manifest and manifest.release is None else None
    return {
        "path": str(verdict.binary),
        "binary": verdict.info.model_dump(mode="json") if verdict.info else None,
        "manifest": manifest.model_dump(mode="json", exclude=unset) if manifest else None,
        "attested": verdict.attestation.attested,
        "signed_by": [{"file": one.name, "key": one.fingerprint} for one in verdict.attestation.signed_by],
        "reproduced_by": verdict.attestation.reproduced_by or None,
        "provenance": made.model_dump(mode="json", by_alias=True, exclude_none=True) if made else None,
        "problems": verdict.problems,
    }


def _show_all(verdicts: Sequence[Verdict], problems: Sequence[str]) -> None:
    for verdict in verdicts:
        _show(verdict)
        print()
    for line in problems:
        console().print(Text(f"problem: {line}", style="red"), soft_wrap=True)
    bad = sum(bool(verdict.problems) for verdict in verdicts)
    several = f"{len(verdicts)} artifact{'s' if len(verdicts) > 1 else ''}"
    print(f"{several}, {bad} with problems" if bad else f"{several}, all verified")


def _show(verdict: Verdict) -> None:
    screen = console()
    if verdict.info:
        screen.print(facts(_binary_rows(verdict.binary, verdict.info)))
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
        keys = ", ".join(f"{one.name} ({one.fingerprint})" for one in result.signed_by)
        screen.print(Text(f"provenance signed with {keys}", style="green"), soft_wrap=True)
        if result.reproduced_by:
            screen.print(Text(f"reproduced: {result.reproduced_by} built the same bytes", style="green"))


def _binary_rows(path: Path, info: BinaryInfo) -> list[tuple[str, str]]:
    build = info.build
    processor = f"{info.machine} ({info.goarch or 'not a GOARCH'})"
    rows = [
        ("file", f"{path} ({size_text(info.size)})"),
        ("sha256", info.sha256),
        ("format", f"{info.format} {info.bits} bit, {processor}, {info.abi}, {info.kind}"),
        ("linked", _linked(info)),
        ("symbols", "stripped" if info.stripped else "present"),
        ("Go", build.go_version if build else "no build info: not built by Go 1.18 or later"),
    ]
    if build:
        rows += [("program", build.path), ("module", f"{build.module} {build.module_version}".strip())]
        rows += build.settings.items()
    return rows


def _linked(info: BinaryInfo) -> str:
    if info.format == "PE":
        return "against Windows"
    if info.static:
        return "static"
    loader = f" by {info.interpreter}" if info.interpreter else ""
    lowest = f"; needs glibc {info.glibc} or later" if info.glibc else ""
    return f"dynamic{loader}: {', '.join(info.needed) or 'no library'}{lowest}"
