"""Make a module with its vendor folder from packages of a GOPATH: `go.mod`, `vendor/modules.txt` and the files."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.foreign.packages import Package
from lab.foreign.pins import Program
from lab.model import LabError

_LANGUAGE = (1, 21)
"""Oldest language version in a written go.mod. Debian compiles without a limit, and regenerates code with newer tools;
1.22 would change the meaning of loops."""
_ELEMENTS = {"go.uber.org": 2, "sigs.k8s.io": 2}
"""Number of elements in the path of a module without a go.mod; three for all other hosts, as on GitHub."""


@dataclass
class Module:
    """One line of `require`, and its vendored packages."""

    version: str
    go: str
    """Language version of its go.mod, at least `_LANGUAGE`."""
    packages: set[str] = field(default_factory=set)


def write_module(
    packages: Mapping[str, Package], source: Path, program: Program, owners: Mapping[str, str], work: Path
) -> None:
    """Write the program's module to `work`.

    Args:
        packages: its imports, from `lab.foreign.packages.imported`.
        source: `src` of the GOPATH.
        program: the program.
        owners: folder below `source` -> version of its Debian package.
        work: new folder.
    """
    home = source / program.folder
    declared = _declared(home / "go.mod")
    if declared is None:
        raise LabError(f"{program.name}: {program.folder} has no go.mod in Debian's package")
    modules: dict[str, Module] = {}
    for package in packages.values():
        if package.folder.is_relative_to(home):
            _copy(package, work / package.folder.relative_to(home))
            continue
        for written in sorted(package.written):
            path, language = _module_of(package.folder, source, written)
            version = semantic(owners[str(package.folder.relative_to(source))], path)
            modules.setdefault(path, Module(version, language)).packages.add(written)
            _copy(package, work / "vendor" / written)
    name, language = declared
    (work / "go.mod").write_text(_go_mod(name, language, modules))
    (work / "vendor" / "modules.txt").write_text(_modules_txt(modules))


def semantic(debian: str, path: str) -> str:
    """Translate a Debian package's version into Go's form, such as `v1.2.3`, for the module at `path`.

    >>> semantic("1:0.25.0+ds-1", "golang.org/x/tools")
    'v0.25.0'
    >>> semantic("0.0~git20210226.20ebb0f-1", "github.com/pkg/diff")
    'v0.0.0-git20210226.20ebb0f'
    >>> semantic("2.0.0-2", "gopkg.in/yaml.v3")
    'v3.0.0'
    """
    upstream = debian.rpartition(":")[2].rpartition("-")[0] or debian
    numbers = re.match(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?", upstream)
    parts = [int(part or 0) for part in numbers.groups()] if numbers else [0, 0, 0]
    snapshot = re.search(r"git[0-9a-z.]+", upstream)
    major = re.search(r"[/.]v(\d+)$", path)
    if major and int(major.group(1)) != parts[0]:
        parts = [int(major.group(1)), 0, 0]
    version = f"v{parts[0]}.{parts[1]}.{parts[2]}" + (f"-{snapshot.group()}" if snapshot else "")
    return version if major or parts[0] < 2 else f"{version}+incompatible"


def _module_of(folder: Path, source: Path, written: str) -> tuple[str, str]:
    """Return the path of a package's module, and its language version."""
    for above in (folder, *folder.parents):
        if above == source:
            break
        declared = _declared(above / "go.mod")
        if declared is not None:
            inside = str(folder.relative_to(above))
            # not the path in go.mod: if Debian imports a module without its /v2, that path is its name here
            path = written if inside == "." else written.removesuffix(f"/{inside}")
            return path, declared[1]
    versioned = re.match(r"gopkg\.in/.*?\.v\d+", written)
    elements = written.split("/")
    path = versioned.group() if versioned else "/".join(elements[: _ELEMENTS.get(elements[0], 3)])
    return path, f"{_LANGUAGE[0]}.{_LANGUAGE[1]}"


def _declared(file: Path) -> tuple[str, str] | None:
    """Return module path and language version of a go.mod, or None if it is missing."""
    if not file.exists():
        return None
    text = file.read_text()
    name = re.search(r"^module\s+\"?([^\s\"]+)", text, re.MULTILINE)
    language = re.search(r"^go\s+(\d+)\.(\d+)", text, re.MULTILINE)
    least = max(_LANGUAGE, (int(language.group(1)), int(language.group(2))) if language else _LANGUAGE)
    return name.group(1) if name else "", f"{least[0]}.{least[1]}"


def _copy(package: Package, to: Path) -> None:
    """Copy a package's files as `go mod vendor` does: no tests, and no folders except embedded files."""
    to.mkdir(parents=True, exist_ok=True)
    names = {path.name for path in package.folder.iterdir() if path.is_file() and not path.name.endswith("_test.go")}
    for name in sorted((names - {"go.mod", "go.sum"}) | package.embedded):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(package.folder / name, to / name)  # contents only: modes must not change the commit's id


def _go_mod(name: str, language: str, modules: Mapping[str, Module]) -> str:
    required = "".join(f"\t{path} {module.version}\n" for path, module in sorted(modules.items()))
    return f"module {name}\n\ngo {language}\n\nrequire (\n{required})\n"


def _modules_txt(modules: Mapping[str, Module]) -> str:
    lines = []
    for path, module in sorted(modules.items()):
        lines.append(f"# {path} {module.version}")
        lines.append(f"## explicit; go {module.go}")
        lines += sorted(module.packages)
    return "\n".join(lines) + "\n"
