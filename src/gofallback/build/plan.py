"""What is built, with which flags and in which environment. Pure: the same answer on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from gofallback.build.cgo import Paths, variables
from gofallback.build.spec import BuildSpec
from gofallback.builder.paths import Layout, Os, inside, join, os_of, parent, program
from gofallback.model import Binary, Service
from gofallback.model.builder import Builder
from gofallback.source.model import ResolvedSource

AGENT = "gofallback-agent"
"""Service name of gofallback's own agent: its mirrors, folders and artifacts."""

#: What a user or a machine may have set and what would change what go does; empty unsets (go help environment).
_UNSET = (
    "GOFLAGS GOEXPERIMENT GODEBUG GOWORK GOBIN GO111MODULE GOAUTH GOINSECURE GONOPROXY GONOSUMDB GOPRIVATE "
    "GOVCS GOPROXY GOSUMDB GOAMD64 GOARM GOARM64 GO386 GOMIPS GOMIPS64 GOPPC64 GORISCV64 GOWASM GOFIPS140 "
    "GOCOVERDIR GOCACHEPROG GCCGO CC CXX AR FC PKG_CONFIG CGO_CFLAGS CGO_CPPFLAGS CGO_CXXFLAGS CGO_LDFLAGS "
    "GOROOT_FINAL "
)
#: What a login or its sshd may have set and what would lead git to other repositories, objects or refs, or to another
#: form of them (`git rev-parse --local-env-vars`; git(1), "Environment Variables").
_GIT_UNSET = (
    "GIT_DIR GIT_WORK_TREE GIT_COMMON_DIR GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_INDEX_FILE "
    "GIT_NAMESPACE GIT_CEILING_DIRECTORIES GIT_SHALLOW_FILE GIT_GRAFT_FILE GIT_REPLACE_REF_BASE GIT_DEFAULT_HASH "
    "GIT_DEFAULT_REF_FORMAT GIT_ATTR_SOURCE GIT_EXTERNAL_DIFF GIT_EXEC_PATH GIT_TEMPLATE_DIR"
)
#: The login's own settings by variables; they count only where git on the builder talks to a remote.
_GIT_SETTINGS = "GIT_CONFIG GIT_CONFIG_PARAMETERS GIT_CONFIG_COUNT"

_TEMPORARY: dict[Os, tuple[str, ...]] = {"windows": ("TEMP", "TMP"), "linux": ("TMPDIR",)}
_SYSTEM_PATH = ("/usr/local/bin", "/usr/bin", "/bin")


def specs(service: Service, source: ResolvedSource, go_version: str, platforms: Iterable[str]) -> list[BuildSpec]:
    """One spec for each binary and platform: by platform, and there the main binary first.

    Args:
        service: group data; ``build.go`` wins over ``go_version``.
        source: the commit.
        go_version: the builder's Go, such as 1.26.6.
        platforms: those of the targets; what ``build.platforms`` lists comes on top.
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
    filled = {name: _fill(value, source) for name, value in stamp.items()}
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
    """``cmd/hello`` as go wants it: ``./cmd/hello``; without the dot it would be an import path."""
    plain = package.replace("\\", "/").rstrip("/") or "."
    return plain if plain == "." or plain.startswith("./") else f"./{plain}"


def agent_spec(go_version: str, platform: str, source_digest: str) -> BuildSpec:
    """Our own agent for one platform.

    Args:
        go_version: toolchain.
        platform: GOOS/GOARCH of a target.
        source_digest: see `gofallback.build.agent_source.agent_digest`.
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
    """Whether this is our agent: its sources are in no repository, so there is nothing to stamp."""
    return spec.service == AGENT


def environment(
    spec: BuildSpec,
    root: str,
    goroot: str,
    git_directory: str,
    *,
    builder: Builder | None = None,
    native: bool = False,
    system_root: str = "C:\\Windows",
    sysroot: str = "",
    sysroot_folders: frozenset[str] = frozenset(),
) -> dict[str, str]:
    r"""Every variable that go sees for this build; nothing of the login's own settings gets through.

    An empty value means that the variable is not set (`gofallback.builder.shell.Shell.prepared`).

    Args:
        spec: what is built.
        root: the builder's root, such as ``C:\gofallback`` or ``/home/builder/gofallback``.
        goroot: folder of the toolchain.
        git_directory: folder that holds git's program: go calls it to stamp the commit.
        builder: its ``environment`` (proxies) is added.
        native: build for the builder itself (``go test`` runs there), not for the spec's platform.
        system_root: ``%SystemRoot%`` of a Windows builder.
        sysroot: folder of the sysroot there, where the spec has one.
        sysroot_folders: what is in it, such as ``usr/include``.
    """
    layout = Layout(root)
    own = {
        "GOROOT": goroot,
        "GOTOOLCHAIN": "local",
        "GOENV": "off",
        "GOTELEMETRY": "off",
        "CGO_ENABLED": "0",
        "GOOS": "" if native else spec.goos,
        "GOARCH": "" if native else spec.goarch,
        "GOCACHE": join(layout.cache, "gocache"),
        "GOMODCACHE": join(layout.cache, "gomodcache"),
        "GOTMPDIR": join(layout.cache, "gotmp"),
        "GOPATH": join(layout.cache, "gopath"),
        **dict.fromkeys(_TEMPORARY[layout.os], layout.tmp),
        "PATH": path(goroot, git_directory, system_root),
    }
    if spec.cgo is not None and not (native and spec.cgo.compiler == "gcc"):
        zig = program("zig", layout.toolchain("zig", spec.cgo.version)) if spec.cgo.compiler == "zig" else ""
        there = Paths(layout.cache, zig, sysroot, sysroot_folders)
        own |= variables(spec.cgo, there, spec.platform, native=native, strip=spec.strip)
    unset = dict.fromkeys(_UNSET.split(), "")
    given = dict(builder.environment) if builder else {}
    return unset | given | dict(spec.environment) | own | git_environment(root, join(git_directory, "git"))


def path(goroot: str, git_directory: str, system_root: str) -> str:
    """A short PATH: git, go, the system's own programs."""
    if os_of(goroot) == "linux":
        return ":".join(dict.fromkeys([git_directory, join(goroot, "bin"), *_SYSTEM_PATH]))
    return ";".join([git_directory, f"{goroot}\\bin", f"{system_root}\\System32", system_root])


def git_environment(root: str, git: str = "") -> dict[str, str]:
    """The variables under which git on a builder reads our settings and nobody else's, and never asks anybody.

    The machine-wide file of Git for Windows has ``core.autocrlf=true`` and a Git LFS filter that downloads.

    Args:
        root: the builder's root.
        git: path of git's program there.
    """
    return {
        **dict.fromkeys(_GIT_SETTINGS.split(), ""),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": join(root, GIT_CONFIG_NAME),
        "GIT_TERMINAL_PROMPT": "0",
        "GCM_INTERACTIVE": "never",
        "GIT_OPTIONAL_LOCKS": "0",
        "LC_ALL": "C",
        **git_programs(root, git),
    }


def git_programs(root: str, git: str) -> dict[str, str]:
    """The variables under which git on a builder works on the repository that it is told, with programs of its own.

    A git of ours on Linux was compiled for another folder. An empty value: not set, whatever the login has.

    Args:
        root: the builder's root.
        git: path of git's program there.
    """
    unset = dict.fromkeys(_GIT_UNSET.split(), "")
    if os_of(root) == "windows" or not inside(root, git):
        return unset
    home = parent(parent(git))
    return unset | {
        "GIT_EXEC_PATH": join(home, "libexec", "git-core"),
        "GIT_TEMPLATE_DIR": join(home, "share", "git-core", "templates"),
    }


#: Line ends: ``core.eol`` counts for files with the attribute ``text``, ``core.autocrlf`` for the others; both must be
#: said, or a checkout on Windows has other bytes. ``safe.directory``: an administrator's files belong to a group.
GIT_CONFIG = """\
[core]
\tautocrlf = false
\teol = lf
\tsafecrlf = false
\tlongpaths = true
\tsymlinks = false
\tabbrev = auto
\tfsmonitor = false
\tquotepath = true
[safe]
\tdirectory = *
[gc]
\tauto = 0
[maintenance]
\tauto = false
[advice]
\tdetachedHead = false
[init]
\tdefaultBranch = main
[protocol "file"]
\tallow = always
"""
GIT_CONFIG_NAME = f"gitconfig-{hashlib.sha256(GIT_CONFIG.encode()).hexdigest()[:8]}"
"""Named after its content, so that a builder with another version's file gets a new one."""


def build_argv(
    spec: BuildSpec,
    go: str,
    output: str,
    *,
    live: bool = False,
    modules: Sequence[str] = (),
    overlay: str | None = None,
    at_once: int | None = None,
) -> list[str]:
    """The ``go build`` command.

    Args:
        spec: what is built.
        go: path of go's program.
        output: path of the file to write.
        live: name each package as it is compiled (``-v``; the bytes are the same).
        modules: where modules come from, as decided for this build; default: what the spec says.
        overlay: path of the overlay with generated code (`gofallback.build.generated`).
        at_once: how many compilers it may run (``-p``; the bytes are the same); default: one a core.
    """
    # "true" instead of "auto": without git, or in a damaged checkout, auto would silently build other bytes.
    stamped = "false" if is_agent(spec) else "true"
    some = [*(["-v"] if live else []), *([f"-p={at_once}"] if at_once else [])]
    flags = [*some, *module_flags(spec, modules), *_over(overlay), f"-buildvcs={stamped}", *spec.flags()]
    return [go, "build", *flags, "-o", output, spec.package]


def modules_argv(go: str) -> list[str]:
    """The command that downloads every module go.mod names, so that a missing one fails before anything compiles."""
    return [go, "mod", "download"]


def generate_argv(spec: BuildSpec, go: str, modules: Sequence[str] = ()) -> list[str]:
    """``go generate`` over the packages that group data names, on the builder itself."""
    return [go, "generate", *module_flags(spec, modules), *_tags(generator(spec)), *spec.generate]


def generator(spec: BuildSpec) -> BuildSpec:
    """What ``go generate`` runs for: whichever binary is missing, generators see the tags of the main one."""
    if spec.generator_tags is None:
        return spec
    return spec.model_copy(update={"tags": spec.generator_tags, "generator_tags": None})


def vet_argv(spec: BuildSpec, go: str, modules: Sequence[str] = (), overlay: str | None = None) -> list[str]:
    """``go vet`` over the module, for the spec's platform."""
    return [go, "vet", *module_flags(spec, modules), *_over(overlay), *_tags(spec), "./..."]


def tests_argv(spec: BuildSpec, go: str, modules: Sequence[str] = (), overlay: str | None = None) -> list[str]:
    """``go test`` over the module, on the builder itself."""
    return [go, "test", *module_flags(spec, modules), *_over(overlay), *_tags(spec), "./..."]


def module_flags(spec: BuildSpec, modules: Sequence[str] = ()) -> list[str]:
    """Where modules come from; nothing said: vendor/ where the module has one (go help modules)."""
    return list(modules) or {True: ["-mod=vendor"], False: ["-mod=readonly"], None: []}[spec.vendored]


def _over(overlay: str | None) -> list[str]:
    return [f"-overlay={overlay}"] if overlay else []


def _tags(spec: BuildSpec) -> list[str]:
    return ["-tags=" + ",".join(spec.tags)] if spec.tags else []


def _fill(value: str, source: ResolvedSource) -> str:
    return value.replace("{version}", source.version).replace("{commit}", source.commit)
