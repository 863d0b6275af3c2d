"""An artifact with its attestations, made of a tiny binary, and the ways somebody may tamper with it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from gofallback.artifact.binary import inspect_bytes
from gofallback.artifact.manifest import Manifest
from gofallback.artifact.spec import BuildSpec
from gofallback.controller.store import manifest_text
from gofallback.provenance import CHECKSUMS
from gofallback.provenance.attest import attestations
from gofallback.provenance.keys import controller_key
from gofallback.provenance.names import Checkout
from gofallback.provenance.statement import Materials, Tool
from tests.unit.binaries import ElfMaker, build_info, module_text
from tests.unit.specs import SPEC as PLAIN
from tests.unit.specs import manifest_of

#: h1 of an empty module: the example of in-toto's DigestSet.
EMPTY = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
EMPTY_HEX = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
EXTRA = (
    f"dep\tgithub.com/Foo/bar/v2\tv2.1.0+incompatible\th1:{EMPTY}\n"
    "dep\texample.com/asked\tv1.0.0\n"
    f"=>\texample.com/given\tv1.0.1\th1:{EMPTY}\n"
    "dep\texample.com/local\tv0.0.0\n"
    "=>\t./local\t(devel)\t\n"
)
PROGRAM = ElfMaker(info=build_info(module_text(extra=EXTRA))).bytes()
SPEC = PLAIN.model_copy(update={"stamp": (("main.version", "v1.1.0"),)})
MATERIALS = Materials(
    run_id="20261122T031244Z-9f3a",
    ref="v1.1.0",
    source=Checkout("https://deploy:hunter2@git.example.com/team/hello.git?private_token=geheim", "c" * 40),
    submodules=(Checkout("git@git.example.com:team/assets.git", "d" * 40, "assets"),),
    tools=(
        Tool("go", "1.27.0", "https://dl.example.com/go1.27.0.windows-amd64.zip", "a" * 64),
        Tool("git", "2.55.0"),
    ),
)
FILES = ("hello", "manifest.json", "provenance.json", "sbom.json", CHECKSUMS)


def manifest(content: bytes = PROGRAM, spec: BuildSpec = SPEC) -> Manifest:
    """The manifest of a program."""
    return manifest_of(spec, content)


def artifact(folder: Path, keys: Path, *, materials: Materials = MATERIALS, content: bytes = PROGRAM) -> Path:
    """The folder of an artifact, attested with the key in ``keys``."""
    folder.mkdir(parents=True, exist_ok=True)
    made = manifest(content)
    (folder / "hello").write_bytes(content)
    (folder / "manifest.json").write_bytes(manifest_text(made))
    beside = attestations(made, manifest_text(made), inspect_bytes(content), materials, controller_key(keys))
    for name, data in beside.items():
        (folder / name).write_bytes(data)
    return folder


def release(folder: Path, of: Path) -> Path:
    """The same as a release folder of a target has it."""
    (folder / "bin").mkdir(parents=True)
    (folder / "lib").mkdir()
    (folder / "bin" / "hello").write_bytes((of / "hello").read_bytes())
    (folder / "lib" / "gofallback-agent").write_bytes(b"agent")
    content = json.loads((of / "manifest.json").read_text())
    content |= {"release": "v1.1.0-0123abcd", "agent_sha256": hashlib.sha256(b"agent").hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(content, indent=2, sort_keys=True))
    for name in ("provenance.json", "sbom.json"):
        (folder / name).write_bytes((of / name).read_bytes())
    return folder


def sum_again(folder: Path) -> None:
    """What somebody does who tampers and knows of checksums.txt."""
    names = [name for name in FILES if name != CHECKSUMS and (folder / name).exists()]
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / CHECKSUMS).write_text("".join(lines))
