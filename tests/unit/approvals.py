"""A project with people, their SSH keys, a release and approvals of it, all real: for the tests of approvals."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gofallback.approval.digest import Release, release_of
from gofallback.approval.requester import Requester
from gofallback.approval.statement import NAMESPACE, Statement, time_text
from gofallback.approval.tally import ApprovalPolicy, Tally
from gofallback.artifact.manifest import Manifest
from gofallback.artifact.spec import BuildSpec
from gofallback.model.approval import Approval
from tests.unit.specs import SPEC, manifest_of

NOW = datetime.now(UTC).replace(microsecond=0)


def manifest(platform: str = "linux/amd64", content: bytes = b"binary", **changes: Any) -> Manifest:
    """The manifest of a binary with this content."""
    spec = {key: changes.pop(key) for key in BuildSpec.model_fields if key in changes}
    made = manifest_of(SPEC.model_copy(update={"platform": platform, **spec}), content)
    return made.model_copy(update=changes)


RELEASE = release_of("hello", "v1.1.0", [manifest(), manifest("linux/arm64")])


@dataclass
class Project:
    """A folder with allowed_signers and approvals, and the keys of alice, bob, carol and dave beside it."""

    root: Path
    keys: Path
    lines: dict[str, str] = field(default_factory=dict)

    def person(self, name: str, options: str = f'namespaces="{NAMESPACE}"', *, allowed: bool = True) -> Path:
        """Make somebody's key, and allow it."""
        key = self.keys / name
        if not key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key)], check=True)
        if allowed:
            self.allow(f"{name}@example.com", name, options)
        return key

    def allow(self, principals: str, key: str, options: str = f'namespaces="{NAMESPACE}"') -> None:
        """Add a line to allowed_signers, or replace that of the same principals."""
        public = " ".join((self.keys / f"{key}.pub").read_text().split()[:2])
        self.lines[principals] = f"{principals} {options} {public}".replace("  ", " ")
        (self.root / "allowed_signers").write_text("# who may approve\n\n" + "\n".join(self.lines.values()) + "\n")

    def fingerprint(self, key: str) -> str:
        """Of somebody's key, as ssh-keygen tells it."""
        argv = ["ssh-keygen", "-lf", str(self.keys / f"{key}.pub")]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()[1]

    def statement(self, name: str, **changes: Any) -> Statement:
        """What somebody would sign of `RELEASE` for production."""
        data: dict[str, Any] = {
            "environment": "production",
            "service": RELEASE.service,
            "version": RELEASE.version,
            "commit": RELEASE.commit,
            "platforms": list(RELEASE.platforms),
            "digest": RELEASE.digest,
            "principal": f"{name}@example.com",
            "at": time_text(NOW - timedelta(hours=1)),
            "expires": time_text(NOW + timedelta(hours=23)),
        }
        return Statement(**{**data, **changes})

    def approve(
        self, name: str, *, key: str | None = None, namespace: str = NAMESPACE, file: str | None = None, **changes: Any
    ) -> Path:
        """Put a signed statement where approvals of `RELEASE` lie; the statement's file."""
        statement = self.statement(name, **changes)
        path = self.folder / f"{file or statement.principal}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(statement.text())
        argv = ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(self.keys / (key or name))]
        signed = subprocess.run(argv, input=statement.text(), check=True, capture_output=True)
        path.with_name(path.name + ".sig").write_bytes(signed.stdout)
        return path

    @property
    def folder(self) -> Path:
        """Where approvals of `RELEASE` for production lie."""
        return self.root / "approvals" / "production" / "hello" / "v1.1.0"

    def count(
        self, *, requester: Requester | None = None, release: Release = RELEASE, now: datetime = NOW, **rules: Any
    ) -> Tally:
        """Count as a rollout does."""
        return ApprovalPolicy(self.root, "production", Approval(**rules)).count(release, requester or Requester(), now)


def project(folder: Path) -> Project:
    """A project in which alice, bob, carol and dave may approve."""
    made = Project(folder / "project", folder / "keys")
    made.root.mkdir()
    made.keys.mkdir()
    for name in ("alice", "bob", "carol", "dave"):
        made.person(name)
    return made
