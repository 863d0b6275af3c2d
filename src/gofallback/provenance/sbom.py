"""The SBOM of a binary: CycloneDX 1.6 from the build info of Go's linker. Same binary, same bytes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gofallback.artifact.buildinfo import BuildInfo, Module
from gofallback.artifact.manifest import Manifest
from gofallback.provenance import SBOM, ProvenanceError
from gofallback.provenance.names import h1, package, purl

if TYPE_CHECKING:
    from cyclonedx.model.component import Component

#: https://github.com/CycloneDX/cyclonedx-property-taxonomy/blob/main/cdx/gomod.md
_ENVIRONMENT = "cdx:gomod:build:env:"
_TAG = "cdx:gomod:build:tag"
#: Settings of the build info that select code.
_SETTINGS = ("CGO_ENABLED", "GOOS", "GOARCH")


def make(manifest: Manifest, build: BuildInfo) -> bytes:
    """The SBOM of one artifact, as JSON.

    Args:
        manifest: of the artifact.
        build: of its binary.
    """
    from cyclonedx.model.bom import Bom
    from cyclonedx.output.json import JsonV1Dot6

    parts = [_part(module) for module in linked(build)]
    program = _program(manifest, build)
    made = Bom(
        components=parts,
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, f"urn:gofallback:sbom:{manifest.sha256}"),
    )
    made.metadata.component = program
    made.register_dependency(program, parts)
    at = _commit_time(build)
    if at is not None:
        made.metadata.timestamp = at
    content = json.loads(JsonV1Dot6(made).output_as_string())
    if at is None:
        del content["metadata"]["timestamp"]  # set to now by the library
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()


def linked(build: BuildInfo) -> list[Module]:
    """Every module of a binary, Go's standard library first."""
    return [Module(path="std", version=build.release), *build.modules]


def problems(content: bytes, sha256: str, build: BuildInfo, name: str = SBOM) -> Iterator[str]:
    """What is wrong with the SBOM of a binary; a line each.

    Args:
        content: the SBOM, by any version of this program.
        sha256: of the binary.
        build: of the binary.
        name: of the file.
    """
    try:
        program, parts = _read(content)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        yield f"{name}: is no CycloneDX SBOM of gofallback ({type(error).__name__}); attest the artifact again"
        return
    if program != sha256:
        yield f"{name}: is about a binary with sha256 {program or 'none'}, this one has {sha256}"
    try:
        expected = {purl(module): h1(module) for module in linked(build)}
    except ProvenanceError as error:
        yield f"the binary {error}; it is damaged or was changed"
        return
    for part in sorted(expected.keys() - parts.keys()):
        yield f"{name}: does not name {part}, which is in the binary"
    for part in sorted(parts.keys() - expected.keys()):
        yield f"{name}: names {part!r:.200}, which is not in the binary"
    for part in sorted(parts.keys() & expected.keys()):
        if parts[part] != expected[part]:
            yield f"{name}: {part} has the hash {parts[part] or 'none'}, the binary says {expected[part] or 'none'}"


def _read(content: bytes) -> tuple[str, dict[str, str]]:
    """SHA-256 of the program; purl of each component to its hash."""
    data = json.loads(content)
    if data["bomFormat"] != "CycloneDX":
        raise ValueError(data["bomFormat"])
    return _hash(data["metadata"]["component"]), {str(part["purl"]): _hash(part) for part in data.get("components", [])}


def _hash(component: dict[str, Any]) -> str:
    return next((str(digest["content"]) for digest in component.get("hashes", []) if digest["alg"] == "SHA-256"), "")


def _part(module: Module) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component

    reference, digest = package(module.path, module.version), h1(module)
    notes = {"gofallback:gosum": module.sum, "gofallback:replaces": module.replaces}
    return Component(
        name=module.path,
        version=module.version or None,
        bom_ref=reference.to_string(),
        purl=reference,
        # As in cyclonedx-gomod: go.sum's h1 is a SHA-256, of the list of files.
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)] if digest else [],
        properties=[Property(name=name, value=value) for name, value in notes.items() if value],
    )


def _program(manifest: Manifest, build: BuildInfo) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component, ComponentType

    spec, settings = manifest.spec, build.settings
    path = build.module or build.path or spec.service
    reference = package(path, spec.version, build.path.removeprefix(build.module).strip("/"))
    notes = [(_ENVIRONMENT + key, settings[key]) for key in _SETTINGS if key in settings]
    notes += [(_ENVIRONMENT + "GOVERSION", build.go_version), *((_TAG, tag) for tag in spec.tags)]
    if spec.cgo is not None:
        notes.append(("gofallback:cgo", " ".join(filter(None, [spec.cgo.name, spec.cgo.version, spec.cgo.target]))))
    return Component(
        type=ComponentType.APPLICATION,
        name=path,
        version=spec.version,
        bom_ref="program",
        purl=reference,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=manifest.sha256)],
        properties=[Property(name=key, value=value) for key, value in notes],
    )


def _commit_time(build: BuildInfo) -> datetime | None:
    try:
        return datetime.fromisoformat(build.settings.get("vcs.time", "")).astimezone(UTC)
    except ValueError:
        return None
