"""The environment of go and git on a builder: variables that are set, and those that must not be inherited. Pure."""

from __future__ import annotations

from gofallback.artifact.spec import BuildSpec
from gofallback.builder.git_config import GIT_CONFIG_NAME
from gofallback.builder.paths import Layout, Os, inside, join, os_of, parent, program
from gofallback.gobuild.cgo import CgoPaths, variables
from gofallback.model.builder import Builder

#: Variables a user or a machine may have set that change what go does; empty unsets (go help environment).
_UNSET = (
    "GOFLAGS GOEXPERIMENT GODEBUG GOWORK GOBIN GO111MODULE GOAUTH GOINSECURE GONOPROXY GONOSUMDB GOPRIVATE "
    "GOVCS GOPROXY GOSUMDB GOAMD64 GOARM GOARM64 GO386 GOMIPS GOMIPS64 GOPPC64 GORISCV64 GOWASM GOFIPS140 "
    "GOCOVERDIR GOCACHEPROG GCCGO CC CXX AR FC PKG_CONFIG CGO_CFLAGS CGO_CPPFLAGS CGO_CXXFLAGS CGO_LDFLAGS "
    "GOROOT_FINAL "
)
#: Variables a login or its sshd may have set that lead git to other repositories, objects or refs, or to another form
#: of them (`git rev-parse --local-env-vars`; git(1), "Environment Variables").
_GIT_UNSET = (
    "GIT_DIR GIT_WORK_TREE GIT_COMMON_DIR GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_INDEX_FILE "
    "GIT_NAMESPACE GIT_CEILING_DIRECTORIES GIT_SHALLOW_FILE GIT_GRAFT_FILE GIT_REPLACE_REF_BASE GIT_DEFAULT_HASH "
    "GIT_DEFAULT_REF_FORMAT GIT_ATTR_SOURCE GIT_EXTERNAL_DIFF GIT_EXEC_PATH GIT_TEMPLATE_DIR"
)
#: A login's git settings in variables; they count only where git on the builder talks to a remote.
_GIT_SETTINGS = "GIT_CONFIG GIT_CONFIG_PARAMETERS GIT_CONFIG_COUNT"
_TEMPORARY: dict[Os, tuple[str, ...]] = {"windows": ("TEMP", "TMP"), "linux": ("TMPDIR",)}
_SYSTEM_PATH = ("/usr/local/bin", "/usr/bin", "/bin")


def go_environment(
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
    r"""Every variable that go sees for this build; the login's own settings do not count.

    An empty value means that the variable is not set (`gofallback.builder.shell.Shell.prepared`).

    Args:
        spec: the binary.
        root: the builder's root, such as ``C:\gofallback`` or ``/home/builder/gofallback``.
        goroot: folder of the toolchain.
        git_directory: folder that holds git's program: go calls it to stamp the commit.
        builder: its ``environment`` (proxies) is added.
        native: build for the builder itself (``go test`` runs there), not for the spec's platform.
        system_root: ``%SystemRoot%`` of a Windows builder.
        sysroot: folder of the sysroot there, where the spec has one.
        sysroot_folders: folders of the sysroot, such as ``usr/include``.
    """
    layout = Layout(root)
    own = {
        **_go_variables(layout),
        "GOROOT": goroot,
        "GOOS": "" if native else spec.goos,
        "GOARCH": "" if native else spec.goarch,
        "PATH": search_path(goroot, git_directory, system_root),
    }
    if spec.cgo is not None and not (native and spec.cgo.compiler == "gcc"):
        zig = program("zig", layout.toolchain("zig", spec.cgo.version)) if spec.cgo.compiler == "zig" else ""
        paths = CgoPaths(layout.cache, zig, sysroot, sysroot_folders)
        own |= variables(spec.cgo, paths, spec.platform, native=native, strip=spec.strip)
    unset = dict.fromkeys(_UNSET.split(), "")
    given = (dict(builder.environment) if builder else {}) | dict(spec.environment)
    # The login's git settings do not count; those of group data do, such as an address in place of another.
    git_settings = {name: given[name] for name in _GIT_SETTINGS.split() if name in given}
    return unset | given | own | git_environment(root, join(git_directory, "git")) | git_settings


def _go_variables(layout: Layout) -> dict[str, str]:
    return {
        "GOTOOLCHAIN": "local",
        "GOENV": "off",
        "GOTELEMETRY": "off",
        "CGO_ENABLED": "0",
        "GOCACHE": join(layout.cache, "gocache"),
        "GOMODCACHE": join(layout.cache, "gomodcache"),
        "GOTMPDIR": join(layout.cache, "gotmp"),
        "GOPATH": join(layout.cache, "gopath"),
        **dict.fromkeys(_TEMPORARY[layout.os], layout.tmp),
    }


def search_path(goroot: str, git_directory: str, system_root: str) -> str:
    """A short PATH: git, go, the system's own programs."""
    if os_of(goroot) == "linux":
        return ":".join(dict.fromkeys([git_directory, join(goroot, "bin"), *_SYSTEM_PATH]))
    return ";".join([git_directory, f"{goroot}\\bin", f"{system_root}\\System32", system_root])


def git_environment(root: str, git: str = "") -> dict[str, str]:
    """The variables with which git on a builder reads only our settings and never prompts.

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
    """The variables with which git on a builder works on the repository of its arguments, with its own programs.

    Our git on Linux was compiled for another folder. An empty value: not set, whatever the login has.

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
