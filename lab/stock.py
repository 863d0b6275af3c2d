"""Fill an artifact store without a builder: example service and agent, built here with the lab's Go for Linux.

For tests and measurements that start with a release, so that they need no Windows host.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from gofallback.artifact.binary import inspect
from gofallback.artifact.manifest import Manifest
from gofallback.artifact.spec import BuildSpec
from gofallback.controller.store import ArtifactStore, Stored, manifest_text
from gofallback.gobuild.agent_source import agent_digest, agent_files
from gofallback.gobuild.plan import AGENT, agent_spec
from gofallback.provenance.attest import attestations
from gofallback.provenance.keys import controller_key
from gofallback.provenance.statement import Materials
from lab.cache import Report, cache_dir, print_progress, step
from lab.example import HELLO
from lab.linux.clock import DIGEST, patched
from lab.model import LabError
from lab.windows import pins, trees

PLATFORM = "linux/amd64"


def stock(home: Path, versions: Iterable[str], *, clock: bool = False, report: Report = print_progress) -> list[Stored]:
    """Add these versions of the example, and the current agent, to a controller's store.

    Each is signed with the controller's key, like an artifact of a builder.

    Arguments:
        home: $GOFALLBACK_HOME of that controller.
        versions: such as v1.0.0; all have the same sources and differ in the version that they report.
        clock: build the agent with a Go that follows `Host.set_clock`.
        report: called with each progress line.

    Raises LabError with go's message if a build fails.
    """
    specs = [_hello(version) for version in versions]
    specs.append(agent_spec(pins.GO_DEFAULT, PLATFORM, agent_digest()))
    kept, theirs = (
        ArtifactStore(cache_dir() / (f"stock-{DIGEST}" if clock else "stock")),
        ArtifactStore(home / "artifacts"),
    )
    signer = controller_key(home / "keys")
    found = []
    for spec in specs:
        stored = kept.find(spec.service, spec.key) or _build(kept, spec, clock, report)
        manifest = stored.manifest
        signed = attestations(manifest, manifest_text(manifest), inspect(stored.path), Materials(), signer)
        found.append(theirs.add(manifest, stored.path, signed))
    return found


def _hello(version: str) -> BuildSpec:
    """The spec of the example. Its commit is a hash of the sources, so changed sources never match a cached binary."""
    digest = hashlib.sha256()
    for file in sorted(HELLO.rglob("*")):
        if file.is_file():
            digest.update(file.relative_to(HELLO).as_posix().encode() + b"\0" + file.read_bytes())
    return BuildSpec(
        service="hello",
        platform=PLATFORM,
        go_version=pins.GO_DEFAULT,
        commit=digest.hexdigest()[:40],
        version=version,
        package="./cmd/hello",
        directory=".",
        binary="hello",
        stamp=(("main.version", version),),
    )


def _overlay(root: Path, scratch: Path) -> list[str]:
    """Arguments of go build that make `time.Now` follow the lab's clock."""
    source, ours, table = root / "src/time/time.go", scratch / "time.go", scratch / "overlay.json"
    ours.write_text(patched(source.read_text()))
    table.write_text(json.dumps({"Replace": {str(source): str(ours)}}))
    return [f"-overlay={table}"]


def _build(store: ArtifactStore, spec: BuildSpec, clock: bool, report: Report) -> Stored:
    root = trees.go_for_linux(cache_dir(), spec.go_version, report)
    environment = {
        "PATH": f"{root}/bin:/usr/bin:/bin",
        "HOME": str(cache_dir()),
        "GOROOT": str(root),
        "GOCACHE": str(cache_dir() / "trees/gocache-linux"),
        "GOTOOLCHAIN": "local",
        "GOTELEMETRY": "off",
        "GOPROXY": "off",
        "CGO_ENABLED": "0",
    }
    with tempfile.TemporaryDirectory() as scratch, step(f"{spec.service} {spec.version} for {spec.platform}", report):
        began, source, output = time.monotonic(), HELLO, Path(scratch, spec.file_name)
        if spec.service == AGENT:  # the files of the digest, even if an editor writes meanwhile
            source = Path(scratch, "source")
            source.mkdir()
            for name, content in agent_files().items():
                (source / name).write_bytes(content)
        overlay = _overlay(root, Path(scratch)) if clock and spec.service == AGENT else []
        command = [f"{root}/bin/go", "build", "-buildvcs=false", *overlay, *spec.flags(), "-o", str(output)]
        command.append(spec.package)
        done = subprocess.run(command, cwd=source, env=environment, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise LabError(f"{' '.join(command)}: exit status {done.returncode}: {done.stderr.strip()[-800:]}")
        content = output.read_bytes()
        manifest = Manifest(
            spec=spec,
            key=spec.key,
            sha256=hashlib.sha256(content).hexdigest(),
            size=len(content),
            builder="lab",
            built_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            seconds=time.monotonic() - began,
        )
        return store.add(manifest, output)
