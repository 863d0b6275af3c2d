"""``gofallback verify``: what is this binary, and is it what its manifest and its signed provenance say?"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from gofallback.artifact.binary import BinaryInfo
from gofallback.controller.paths import Home
from gofallback.controller.store import MANIFEST
from gofallback.provenance import CHECKSUMS, checksums
from gofallback.provenance.keys import trusted_keys
from gofallback.provenance.verify_folder import Verdict, artifact_folders, verify_folder
from gofallback.report.screen import console
from gofallback.report.style import size_text

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

STATUSES = "exit status: 0 all is well, 1 a problem was found (one line says which), 2 the command line is wrong"


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
    paths, demanded = artifact_folders(arguments.path), bool(arguments.key)
    if not paths:
        verdict = verify_folder(arguments.path, trusted, demanded=demanded)
        if arguments.json:
            print(json.dumps(_as_json(verdict), indent=2))
        else:
            _show(verdict)
        return 1 if verdict.problems else 0
    verdicts = [verify_folder(path, trusted, demanded=demanded) for path in paths]
    sums = list(checksums.problems(arguments.path, ())) if (arguments.path / CHECKSUMS).exists() else []
    if arguments.json:
        whole = {"path": str(arguments.path), "artifacts": [_as_json(one) for one in verdicts], "problems": sums}
        print(json.dumps(whole, indent=2))
    else:
        _show_all(verdicts, sums)
    return 1 if sums or any(verdict.problems for verdict in verdicts) else 0


def _as_json(verdict: Verdict) -> dict[str, Any]:
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


def _show_all(verdicts: Sequence[Verdict], sums: Sequence[str]) -> None:
    for verdict in verdicts:
        _show(verdict)
        print()
    for line in sums:
        console().print(Text(f"problem: {line}", style="red"), soft_wrap=True)
    bad = sum(bool(verdict.problems) for verdict in verdicts)
    several = f"{len(verdicts)} artifact{'s' if len(verdicts) > 1 else ''}"
    print(f"{several}, {bad} with problems" if bad else f"{several}, all as they say")


def _show(verdict: Verdict) -> None:
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
