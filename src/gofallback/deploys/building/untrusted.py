"""What a target says of how its program was built is built again on the builder: a target may be damaged or hostile."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from pyinfra.api.host import Host

from gofallback.artifact.manifest import Manifest
from gofallback.artifact.spec import BuildSpec
from gofallback.deploys.building.twin import trusted_keys
from gofallback.deploys.run.context import RunContext
from gofallback.gobuild.plan import package_argument
from gofallback.model import Service
from gofallback.model.base import one_line, relative_inside
from gofallback.operations.target.channel import BrokenError, run
from gofallback.provenance import ProvenanceError, envelope, statement
from gofallback.source.refs import FULL_SHA

#: Go's variables that change the bytes, run nothing, and stand in the build info (cmd/go/internal/load, setBuildInfo).
SAFE_SETTINGS = (
    *("GOAMD64", "GOARM", "GOARM64", "GO386", "GOMIPS", "GOMIPS64", "GOPPC64", "GORISCV64"),
    *("GOEXPERIMENT", "GOFIPS140"),
)
#: Of each field that becomes part of a path or of a command; the same as group data and the artifact store ask.
_FORMS = {
    "binary": r"[A-Za-z0-9][A-Za-z0-9._-]*",
    "version": r"[A-Za-z0-9_+][A-Za-z0-9._+-]*",
    "go_version": r"\d+\.\d+[A-Za-z0-9.]*",
    "linkage": "static|dynamic",
}
_TAG, _VARIABLE, _VALUE = r"[A-Za-z0-9_.]+", r"[\w./-]+\.\w+", r"[A-Za-z0-9_.,=-]*"


def manifest_problem(
    ctx: RunContext, host: Host, service: Service, platform: str, manifest: Manifest, proof: str
) -> str | None:
    """Why a target's manifest is not built again, in a few words; None: it may be.

    What only names things has to have their form. What could run a program on the builder (its environment for go,
    generators, a C compiler's flags) has to be what group data says, or be in this controller's store, or be signed.

    Args:
        ctx: the run.
        host: the target.
        service: its group data.
        platform: of the target.
        manifest: as the target tells it.
        proof: path of its provenance there.
    """
    spec = manifest.spec
    if manifest.key != spec.key:
        return "its key is not that of its build"
    odd = next(invalid_fields(spec, service.name, platform), None)
    if odd is not None:
        return f"{odd} {str(getattr(spec, odd))!r:.80} cannot be"
    asks = next(_code_execution_risks(spec, service), None)
    if asks is None or ctx.run.store.find(service.name, spec.key) is not None:
        return None
    return None if _signed(ctx, host, manifest, proof) else f"{asks}, and no trusted key signed that"


def invalid_fields(spec: BuildSpec, service: str, platform: str) -> Iterator[str]:
    """Names of fields that no build of this service has: of another form than group data may give them."""
    if spec.service != service:
        yield "service"
    if spec.platform != platform:
        yield "platform"
    if not FULL_SHA.fullmatch(spec.commit):
        yield "commit"
    yield from (name for name, form in _FORMS.items() if not re.fullmatch(form, getattr(spec, name)))
    if package_argument(spec.package) != spec.package or not _inside(spec.package):
        yield "package"
    if not _inside(spec.directory):
        yield "directory"
    if not all(re.fullmatch(_TAG, tag) for tag in spec.tags):
        yield "tags"
    if not all(re.fullmatch(_TAG, tag) for tag in spec.generator_tags or ()):
        yield "generator_tags"
    if not all(re.fullmatch(_VARIABLE, name) and _one_line(value) for name, value in spec.stamp):
        yield "stamp"


def is_safe_setting(name: str, value: str) -> bool:
    """Whether a variable of go's environment changes bytes only, and can stand in a command."""
    return name in SAFE_SETTINGS and re.fullmatch(_VALUE, value) is not None


def _code_execution_risks(spec: BuildSpec, service: Service) -> Iterator[str]:
    """What could run a program, and is not what group data says."""
    for name, value in spec.environment:
        if not is_safe_setting(name, value) and service.build.environment.get(name) != value:
            yield f"it asks for {name!r:.40} in go's environment, which group data does not"
    if not set(spec.generate) <= set(service.build.generate):
        yield "it asks for generators, which group data does not"
    if spec.cgo is not None:
        yield "it asks for a C compiler and its flags"


def _inside(path: str) -> bool:
    try:
        return bool(path) and relative_inside(path) == path
    except ValueError:
        return False


def _one_line(value: str) -> bool:
    try:
        return one_line(value) == value
    except ValueError:
        return False


def _signed(ctx: RunContext, host: Host, manifest: Manifest, proof: str) -> bool:
    """Whether a trusted key signed for exactly this manifest's build."""
    fleet = ctx.fleet(host)
    try:
        code, lines = run(ctx.state, host, f"cat {shlex.quote(proof)}", sudo=fleet.target.sudo)
        sealed = envelope.unseal("\n".join(lines).encode())
        if code or not envelope.signers(sealed, trusted_keys(ctx, fleet.trust)):
            return False
        made = statement.read(sealed.payload)
    except (BrokenError, ProvenanceError):
        return False
    return manifest.sha256 in made.digests() and not list(statement.differences(made, manifest))
