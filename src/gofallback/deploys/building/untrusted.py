"""Checks a target's manifest before the builder builds from it: the target may be damaged or hostile."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from gofallback.artifact.manifest import Manifest
from gofallback.artifact.spec import BuildSpec
from gofallback.gobuild.plan import package_argument
from gofallback.model import Service
from gofallback.model.base import one_line, relative_inside
from gofallback.source.refs import FULL_SHA

#: Go's variables that change the bytes, run nothing, and stand in the build info (cmd/go/internal/load, setBuildInfo).
SAFE_SETTINGS = (
    *("GOAMD64", "GOARM", "GOARM64", "GO386", "GOMIPS", "GOMIPS64", "GOPPC64", "GORISCV64"),
    *("GOEXPERIMENT", "GOFIPS140"),
)
#: The form of each field that becomes part of a path or command; as group data and the artifact store require.
_FORMS = {
    "binary": r"[A-Za-z0-9][A-Za-z0-9._-]*",
    "version": r"[A-Za-z0-9_+][A-Za-z0-9._+-]*",
    "go_version": r"\d+\.\d+[A-Za-z0-9.]*",
    "linkage": "static|dynamic",
}
_TAG, _VARIABLE, _VALUE = r"[A-Za-z0-9_.]+", r"[\w./-]+\.\w+", r"[A-Za-z0-9_.,=-]*"


def manifest_problem(service: Service, platform: str, manifest: Manifest, is_ours: Callable[[], bool]) -> str | None:
    """The reason a build from a target's manifest is refused, or None.

    A field that is only a name has to have the form of one. A field that could run a program on the builder (go's
    environment, generators, a C compiler and its flags) has to equal group data, or the build has to be in this
    controller's store, or signed by a trusted key.

    Args:
        service: its group data.
        platform: of the target.
        manifest: as read from the target.
        is_ours: whether this controller has built it, or a trusted key signed it; called only if that decides.
    """
    spec = manifest.spec
    if manifest.key != spec.key:
        return "its key is not the key of its build"
    invalid = next(invalid_fields(spec, service.name, platform), None)
    if invalid is not None:
        return f"{invalid} {str(getattr(spec, invalid))!r:.80} cannot be"
    risk = next(_code_execution_risks(spec, service), None)
    return None if risk is None or is_ours() else f"{risk}, and no trusted key signed that"


def invalid_fields(spec: BuildSpec, service: str, platform: str) -> Iterator[str]:
    """Names of fields that no build of this service can have, as group data does not allow their form."""
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
    """Whether a variable of go's environment only changes the bytes, and is safe in a command."""
    return name in SAFE_SETTINGS and re.fullmatch(_VALUE, value) is not None


def _code_execution_risks(spec: BuildSpec, service: Service) -> Iterator[str]:
    """Settings that could run a program and differ from group data."""
    for name, value in spec.environment:
        if not is_safe_setting(name, value) and service.build.environment.get(name) != value:
            yield f"it sets {name!r:.40} in go's environment, which group data does not"
    if not set(spec.generate) <= set(service.build.generate):
        yield "it runs generators that group data does not"
    if spec.cgo is not None:
        yield "it sets a C compiler and its flags"


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
