"""The specs of a service's binaries and the go commands that build them. Pure: the same result on every machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gofallback.artifact.spec import BuildSpec
from gofallback.model import Binary, Service
from gofallback.source.model import ResolvedSource

AGENT = "gofallback-agent"
"""Service name of gofallback's own agent: its mirrors, folders and artifacts."""


def specs(service: Service, source: ResolvedSource, go_version: str, platforms: Iterable[str]) -> list[BuildSpec]:
    """One spec for each binary and platform: by platform, and there the main binary first.

    Args:
        service: group data; ``build.go`` wins over ``go_version``.
        source: the commit.
        go_version: the builder's Go, such as 1.26.6.
        platforms: those of the targets; ``build.platforms`` adds to them.
    """
    return [
        _spec(service, source, go_version, platform, binary)
        for platform in sorted({*platforms, *service.build.platforms})
        for binary in (service.binary, *sorted(service.build.binaries))
    ]


def _spec(service: Service, source: ResolvedSource, go_version: str, platform: str, binary: str) -> BuildSpec:
    build = service.build
    own = build.binaries.get(binary) or Binary(package=build.package)
    stamp = dict(build.stamp if own.stamp is None else own.stamp)
    if build.version_variable:
        stamp.setdefault(build.version_variable, "{version}")
    filled = {name: _with_version(value, source) for name, value in stamp.items()}
    main_tags = tuple(sorted(set(build.tags)))
    tags = main_tags if own.tags is None else tuple(sorted(set(own.tags)))
    return BuildSpec(
        service=service.name,
        platform=platform,
        go_version=build.go or go_version,
        commit=source.commit,
        version=source.version,
        package=package_argument(own.package),
        directory=build.directory,
        binary=binary,
        tags=tags,
        stamp=tuple(sorted(filled.items())),
        strip=build.strip if own.strip is None else own.strip,
        linkage=build.linkage,
        vendored={"vendor": True, "download": False, "controller": False, "auto": None}[build.modules],
        environment=tuple(sorted(build.environment.items())),
        generate=tuple(build.generate),
        generator_tags=main_tags if build.generate and tags != main_tags else None,
    )


def package_argument(package: str) -> str:
    """``cmd/hello`` as an argument of go: ``./cmd/hello``; without the dot it would be an import path."""
    plain = package.replace("\\", "/").rstrip("/") or "."
    return plain if plain == "." or plain.startswith("./") else f"./{plain}"


def agent_spec(go_version: str, platform: str, source_digest: str) -> BuildSpec:
    """The spec of gofallback's own agent for one platform.

    Args:
        go_version: toolchain.
        platform: GOOS/GOARCH of a target.
        source_digest: see `gofallback.gobuild.agent_source.agent_digest`.
    """
    return BuildSpec(
        service=AGENT,
        platform=platform,
        go_version=go_version,
        commit=source_digest,
        version=source_digest[:12],
        package=".",
        directory=".",
        binary=AGENT,
    )


def is_agent(spec: BuildSpec) -> bool:
    """Whether the spec is the agent's, whose sources are in no repository: there is nothing to stamp."""
    return spec.service == AGENT


def build_argv(
    spec: BuildSpec,
    go: str,
    output: str,
    *,
    live: bool = False,
    modules: Sequence[str] = (),
    overlay: str | None = None,
    parallel: int | None = None,
) -> list[str]:
    """The ``go build`` command.

    Args:
        spec: the binary.
        go: path of go's program.
        output: path of the file to write.
        live: name each package as it is compiled (``-v``; the bytes are the same).
        modules: flags that say where modules come from; default: those of the spec.
        overlay: path of the overlay with generated code (`gofallback.gobuild.generated`).
        parallel: how many compilers go may run (``-p``; the bytes are the same); default: one a core.
    """
    # "true" instead of "auto": without git, or in a damaged checkout, auto would silently build other bytes.
    stamped = "false" if is_agent(spec) else "true"
    progress = [*(["-v"] if live else []), *([f"-p={parallel}"] if parallel else [])]
    flags = [*progress, *module_flags(spec, modules), *_overlay(overlay), f"-buildvcs={stamped}", *spec.flags()]
    return [go, "build", *flags, "-o", output, spec.package]


def modules_argv(go: str) -> list[str]:
    """The command that downloads every module of go.mod: a missing module fails before anything compiles."""
    return [go, "mod", "download"]


def generate_argv(spec: BuildSpec, go: str, modules: Sequence[str] = ()) -> list[str]:
    """``go generate`` over the packages of ``build.generate``, on the builder itself."""
    return [go, "generate", *module_flags(spec, modules), *_tags(generator(spec)), *spec.generate]


def generator(spec: BuildSpec) -> BuildSpec:
    """The spec ``go generate`` runs for: generators see the tags of the main binary, whichever binary is missing."""
    if spec.generator_tags is None:
        return spec
    return spec.model_copy(update={"tags": spec.generator_tags, "generator_tags": None})


def vet_argv(spec: BuildSpec, go: str, modules: Sequence[str] = (), overlay: str | None = None) -> list[str]:
    """``go vet`` over the module, for the spec's platform."""
    return [go, "vet", *module_flags(spec, modules), *_overlay(overlay), *_tags(spec), "./..."]


def tests_argv(spec: BuildSpec, go: str, modules: Sequence[str] = (), overlay: str | None = None) -> list[str]:
    """``go test`` over the module, on the builder itself."""
    return [go, "test", *module_flags(spec, modules), *_overlay(overlay), *_tags(spec), "./..."]


def module_flags(spec: BuildSpec, modules: Sequence[str] = ()) -> list[str]:
    """Flags that say where modules come from; without any go uses vendor/ where there is one (go help modules)."""
    return list(modules) or {True: ["-mod=vendor"], False: ["-mod=readonly"], None: []}[spec.vendored]


def _overlay(overlay: str | None) -> list[str]:
    return [f"-overlay={overlay}"] if overlay else []


def _tags(spec: BuildSpec) -> list[str]:
    return ["-tags=" + ",".join(spec.tags)] if spec.tags else []


def _with_version(value: str, source: ResolvedSource) -> str:
    return value.replace("{version}", source.version).replace("{commit}", source.commit)
