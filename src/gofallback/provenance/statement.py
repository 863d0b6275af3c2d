"""SLSA v1 provenance (https://slsa.dev/spec/v1.0/provenance) as an in-toto v1 statement. Pure.

The build type is our own; docs/provenance.md explains its parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from gofallback.artifact.buildinfo import BuildInfo
from gofallback.artifact.manifest import Manifest
from gofallback.artifact.spec import BuildSpec
from gofallback.provenance import ProvenanceError
from gofallback.provenance.names import Checkout, git_uri, h1, public_url, purl

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:gofallback:build:go:v1"
BUILDER = "urn:gofallback:builder:"
_COMMIT = 40  # hex digits; the agent's "commit" is the SHA-256 of its sources
_TIME = "%Y-%m-%dT%H:%M:%SZ"


class _Slsa(BaseModel):
    """Consumers have to ignore fields that they do not know (SLSA v1, parsing rules)."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


class Descriptor(_Slsa):
    """An in-toto resource descriptor: something with a digest."""

    name: str | None = None
    uri: str | None = None
    digest: dict[str, str] | None = None
    annotations: dict[str, Any] | None = None


class BuildDefinition(_Slsa):
    """Parameters and materials of a build."""

    build_type: str
    external_parameters: dict[str, Any]
    internal_parameters: dict[str, Any] = Field(default_factory=dict)
    resolved_dependencies: list[Descriptor] = Field(default_factory=list)


class BuilderId(_Slsa):
    """The builder to be trusted."""

    id: str


class Metadata(_Slsa):
    """Time and run of a build."""

    invocation_id: str | None = None
    started_on: str | None = None
    finished_on: str | None = None
    attested_afterwards: bool | None = Field(default=None, alias="gofallback_attestedAfterwards")
    """True: signed later, from the store, by ``gofallback attest``, so run and repository are unknown."""


class RunDetails(_Slsa):
    """One build."""

    builder: BuilderId
    metadata: Metadata = Metadata()
    byproducts: list[Descriptor] = Field(default_factory=list)


class Predicate(_Slsa):
    """The provenance."""

    build_definition: BuildDefinition
    run_details: RunDetails


class Statement(_Slsa):
    """The signed content."""

    type: str = Field(alias="_type")
    subject: list[Descriptor]
    predicate_type: str
    predicate: Predicate

    def digests(self) -> frozenset[str]:
        """SHA-256 of the subjects."""
        digests = (subject.digest for subject in self.subject if subject.digest)
        return frozenset(digest["sha256"] for digest in digests if "sha256" in digest)

    def byproduct(self, name: str) -> str | None:
        """SHA-256 of a file that belongs to the subject."""
        files = self.predicate.run_details.byproducts
        return next((file.digest.get("sha256") for file in files if file.name == name and file.digest), None)

    def dependency(self, name: str) -> Descriptor | None:
        """A material, by name."""
        materials = self.predicate.build_definition.resolved_dependencies
        return next((material for material in materials if material.name == name), None)


@dataclass(frozen=True)
class Tool:
    """A toolchain of the builder."""

    name: str
    version: str
    url: str = ""
    sha256: str = ""
    """SHA-256 of its archive; empty for a machine-wide installation, whose bytes are not pinned."""


@dataclass(frozen=True)
class Materials:
    """Facts of a build that only its run knows. Empty: attested afterwards."""

    run_id: str = ""
    ref: str = ""
    source: Checkout | None = None
    submodules: tuple[Checkout, ...] = ()
    tools: tuple[Tool, ...] = ()


def make(manifest: Manifest, build: BuildInfo, materials: Materials, byproducts: dict[str, str]) -> Statement:
    """The provenance of one artifact.

    Args:
        manifest: of the artifact, checked against the binary.
        build: of the binary.
        materials: facts of the run.
        byproducts: name to SHA-256 of the files beside the binary.
    """
    spec = manifest.spec
    return Statement(
        type=STATEMENT,
        subject=[Descriptor(name=spec.file_name, digest={"sha256": manifest.sha256})],
        predicate_type=PREDICATE,
        predicate=Predicate(
            build_definition=BuildDefinition(
                build_type=BUILD_TYPE,
                external_parameters=external_parameters(spec, materials),
                internal_parameters={"key": manifest.key},
                resolved_dependencies=list(_dependencies(spec, build, materials)),
            ),
            run_details=RunDetails(
                builder=BuilderId(id=builder_id(manifest.builder)),
                metadata=_metadata(manifest, materials),
                byproducts=[
                    Descriptor(name=name, digest={"sha256": digest}) for name, digest in sorted(byproducts.items())
                ],
            ),
        ),
    )


def payload(statement: Statement) -> bytes:
    """The statement as JSON."""
    return statement.model_dump_json(by_alias=True, exclude_none=True).encode()


def read(content: bytes) -> Statement:
    """Read a payload.

    Raises:
        ProvenanceError: the content is no in-toto v1 statement with SLSA v1 provenance.
    """
    try:
        statement = Statement.model_validate_json(content)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in detail["loc"]) or "content"
        raise ProvenanceError(f"is no SLSA v1 provenance ({where}: {detail['msg'].lower()})") from None
    for what, got, expected in (
        ("_type", statement.type, STATEMENT),
        ("predicateType", statement.predicate_type, PREDICATE),
    ):
        if got != expected:
            raise ProvenanceError(f"{what} is {got!r:.80}, should be {expected}")
    return statement


def builder_id(host: str) -> str:
    """URI of a builder."""
    return BUILDER + quote(host, safe="")


def differences(statement: Statement, manifest: Manifest) -> Iterator[str]:
    """Differences between a manifest and its provenance, a line each. Only for our build type."""
    definition, details = statement.predicate.build_definition, statement.predicate.run_details
    if definition.build_type != BUILD_TYPE:
        yield f"has the build type {definition.build_type!r:.80}, should be {BUILD_TYPE}"
        return
    signed, expected = definition.external_parameters, external_parameters(manifest.spec, Materials())
    for name in sorted(signed.keys() - expected.keys() - {"repository", "ref"}):
        yield f"has the parameter {name!r:.40}, which this build type does not know"
    pairs: dict[str, tuple[object, object]] = {name: (signed.get(name), value) for name, value in expected.items()}
    pairs["key"] = (definition.internal_parameters.get("key"), manifest.key)
    pairs["builder"] = (details.builder.id, builder_id(manifest.builder))
    pairs["finishedOn"] = (details.metadata.finished_on, manifest.built_at)
    source = statement.dependency("source")
    algorithm, commit = _commit(manifest.spec)
    pairs["commit"] = ((source.digest or {}).get(algorithm) if source else None, commit)
    for name, (have, should) in pairs.items():
        if have != should:
            yield f"{name} is {have!r:.120}, the manifest says {should!r:.120}"


def external_parameters(spec: BuildSpec, materials: Materials) -> dict[str, Any]:
    """The parameters of a build that a user decides."""
    parameters: dict[str, Any] = {
        "service": spec.service,
        "version": spec.version,
        "package": spec.package,
        "directory": spec.directory,
        "platform": spec.platform,
        "go": spec.go_version,
        "flags": spec.flags(),
        "tags": list(spec.tags),
        "linkage": spec.linkage,
        "environment": dict(spec.environment),
    }
    if spec.generate:  # code that is in no commit: `go generate` made it on the builder
        parameters["generate"] = list(spec.generate)
    if spec.generator_tags is not None:
        parameters["generator_tags"] = list(spec.generator_tags)
    if spec.cgo is not None:
        parameters["cgo"] = spec.cgo.model_dump(mode="json", exclude_defaults=True)
    if materials.source is not None:
        parameters |= {"repository": public_url(materials.source.url), "ref": materials.ref}
    return parameters


def _commit(spec: BuildSpec) -> tuple[str, str]:
    """Algorithm and digest of the source."""
    return ("gitCommit" if len(spec.commit) == _COMMIT else "sha256"), spec.commit


def _dependencies(spec: BuildSpec, build: BuildInfo, materials: Materials) -> Iterator[Descriptor]:
    algorithm, commit = _commit(spec)
    uri = git_uri(materials.source) if materials.source else None
    yield Descriptor(name="source", uri=uri, digest={algorithm: commit})
    for submodule in materials.submodules:
        digests = {"gitCommit": submodule.commit}
        yield Descriptor(name=f"source/{submodule.path}", uri=git_uri(submodule), digest=digests)
    for tool in materials.tools:
        yield Descriptor(
            name=tool.name,
            uri=public_url(tool.url) if tool.url else None,
            digest={"sha256": tool.sha256} if tool.sha256 else None,
            annotations={"version": tool.version}
            | ({} if tool.sha256 else {"origin": "installed on the builder before, by somebody else"}),
        )
    for module in build.modules:
        digest = h1(module)
        yield Descriptor(
            name=module.path,
            uri=purl(module),
            digest={"dirHash": digest} if digest else None,
            annotations={"replaces": module.replaces} if module.replaces else None,
        )


def _metadata(manifest: Manifest, materials: Materials) -> Metadata:
    try:
        began = datetime.strptime(manifest.built_at, _TIME) - timedelta(seconds=manifest.seconds)
        started = began.strftime(_TIME)
    except (ValueError, OverflowError):
        started = None
    return Metadata(
        invocation_id=materials.run_id or None,
        started_on=started,
        finished_on=manifest.built_at,
        attested_afterwards=None if materials.run_id else True,
    )
