"""A real MSI of Go for Windows, for `msiexec /qn`: made with Wine's own cabarc and winemsibuilder.

Like the vendor's it has product name, INSTALLDIR, the registry value and the machine's PATH. Its GOROOT has no tests of
Go itself, which halves the size. `ensure_msi` makes it on request; the lab starts without it.
"""

import shutil
import uuid
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from lab.cache import Report
from lab.windows.errors import WindowsLabError
from lab.windows.trees import Archive, WindowsTrees, kept_archive
from lab.windows.wine import clone_template, forget_server

Row = Sequence[str | int]
NAMESPACE = uuid.UUID("6f1c2f5e-52f4-4f0a-9c36-3f6c0f1d1a10")
CABINET = "go.cab"

# learn.microsoft.com/windows/win32/msi/suggested-installexecutesequence
SEQUENCE = {
    "CostInitialize": 800,
    "FileCost": 900,
    "CostFinalize": 1000,
    "InstallValidate": 1400,
    "InstallInitialize": 1500,
    "ProcessComponents": 1600,
    "UnpublishFeatures": 1800,
    "RemoveRegistryValues": 2600,
    "RemoveEnvironmentStrings": 3300,
    "RemoveFiles": 3500,
    "RemoveFolders": 3600,
    "CreateFolders": 3700,
    "InstallFiles": 4000,
    "WriteRegistryValues": 5000,
    "WriteEnvironmentStrings": 5200,
    "RegisterUser": 6000,
    "RegisterProduct": 6100,
    "PublishFeatures": 6300,
    "PublishProduct": 6400,
    "InstallFinalize": 6600,
}


def ensure_msi(cache: Path, trees: WindowsTrees, version: str, report: Report) -> Archive:
    """Make the MSI of Go `version` (one of `trees.go`) once under `cache`/trees/toolchains.

    Raises `WindowsLabError` if the lab does not have that version, or if Wine's tools fail.
    """
    if version not in trees.go:
        raise WindowsLabError(f"go {version}: not one of the lab's versions ({', '.join(trees.go)})")

    def make(final: Path) -> None:
        _make(trees, version, final)

    final = cache.resolve() / "trees/toolchains" / f"go{version}.windows-amd64.msi"
    return kept_archive(final, f"go {version} for windows, as MSI", make, report)


def _make(trees: WindowsTrees, version: str, final: Path) -> None:
    """Build the MSI in a temporary Windows host."""
    prefix = final.with_name(".msi.building")
    trees.wine.end_strays(prefix)
    shutil.rmtree(prefix, ignore_errors=True)
    try:
        clone_template(trees.template, prefix)
        work = prefix / "drive_c/msi"
        (work / "files").mkdir(parents=True)
        names = _stage(trees.go[version].file, work / "files")
        tables = _tables(version, names, work / "files")
        for name, text in tables.items():
            (work / f"{name}.idt").write_text(text, newline="")
        tools = [
            f"cabarc -m mszip -r N {CABINET} files",  # in the order of the names, as in Sequence
            "winemsibuilder -i go.msi " + " ".join(f"{name}.idt" for name in tables),
            f"winemsibuilder -a go.msi {CABINET} {CABINET}",
        ]
        for tool in tools:
            code = trees.wine.run(prefix, tool.split(), timeout=600, cwd=work)
            if code != 0:
                raise WindowsLabError(f"MSI of go {version}: `{tool[:60]}` ended with {code} in Wine")
        (work / "go.msi").replace(final)
    finally:
        trees.wine.kill(prefix)
        forget_server(prefix)
        shutil.rmtree(prefix, ignore_errors=True)


def _stage(archive: Path, folder: Path) -> list[str]:
    """Unpack Go's files to `folder` with the cabinet's names f000001, ..; return their paths below GOROOT."""
    with zipfile.ZipFile(archive) as source:
        names = [
            name for name in sorted(source.namelist()) if "/testdata/" not in name and not name.endswith("_test.go")
        ]
        for number, name in enumerate(names, 1):
            (folder / f"f{number:06d}").write_bytes(source.read(name))
    return [name.removeprefix("go/") for name in names]


def _table(name: str, columns: str, types: str, keys: str, rows: Iterable[Row]) -> str:
    """One table in the IDT text format: learn.microsoft.com/windows/win32/msi/archive-file-format."""
    head = [columns.split(), types.split(), [name, *keys.split()]]
    return "".join("\t".join(str(value) for value in row) + "\r\n" for row in [*head, *rows])


def _guid(text: str) -> str:
    return "{" + str(uuid.uuid5(NAMESPACE, text)).upper() + "}"


def _tables(version: str, names: list[str], files: Path) -> dict[str, str]:
    folders = sorted({str(parent) for name in names for parent in PurePosixPath(name).parents} - {"."})
    keys = {".": "INSTALLDIR", **{folder: f"D{number:05d}" for number, folder in enumerate(folders, 1)}}
    homes = [str(PurePosixPath(name).parent) for name in names]
    used = {home: f"f{names.index(name) + 1:06d}" for home, name in reversed(list(zip(homes, names, strict=True)))}
    components = {home: f"C_{keys[home]}" for home in used}
    return {
        "Property": _table("Property", "Property Value", "s72 l0", "Property", _properties(version)),
        "Directory": _table(
            "Directory",
            "Directory Directory_Parent DefaultDir",
            "s72 S72 l255",
            "Directory",
            [
                ("TARGETDIR", "", "SourceDir"),
                ("ProgramFiles64Folder", "TARGETDIR", "."),
                ("INSTALLDIR", "ProgramFiles64Folder", "Go"),
                *((keys[f], keys[str(PurePosixPath(f).parent)], _named(keys[f], f)) for f in folders),
            ],
        ),
        "Component": _table(
            "Component",
            "Component ComponentId Directory_ Attributes Condition KeyPath",
            "s72 S38 s72 i2 S255 S72",
            "Component",
            [(c, _guid(f"{version} {home}"), keys[home], 256, "", used[home]) for home, c in components.items()],
        ),
        "File": _table(
            "File",
            "File Component_ FileName FileSize Version Language Attributes Sequence",
            "s72 s72 l255 i4 S72 S20 I2 i4",
            "File",
            [
                (
                    f"f{n:06d}",
                    components[home],
                    _named(f"F{n:06d}", name),
                    (files / f"f{n:06d}").stat().st_size,
                    "",
                    "",
                    0,
                    n,
                )
                for n, (home, name) in enumerate(zip(homes, names, strict=True), 1)
            ],
        ),
        **_fixed_tables(version, len(names), components.values(), components["."]),
    }


def _named(short: str, path: str) -> str:
    """The `short|long` form of a name."""
    return f"{short}|{PurePosixPath(path).name}"


def _properties(version: str) -> list[Row]:
    return [
        ("ProductName", f"Go Programming Language amd64 go{version}"),
        ("ProductCode", _guid(f"product {version}")),
        ("UpgradeCode", _guid("upgrade")),
        ("ProductVersion", version),
        ("Manufacturer", "The Go Authors (re-packed by the gofallback lab)"),
        ("ProductLanguage", 1033),
        ("ALLUSERS", 1),
    ]


def _fixed_tables(version: str, count: int, components: Iterable[str], root: str) -> dict[str, str]:
    registry = ("R1", 2, r"Software\GoProgrammingLanguage", "installLocation", "[INSTALLDIR]", root)
    environment = ("E1", "=-*PATH", r"[~];[INSTALLDIR]bin", root)
    summary: list[Row] = [
        (1, 1252),
        (2, "Installation Database"),
        (3, f"Go {version}"),
        (7, "x64;1033"),
        (9, _guid(f"package {version}")),
        (14, 200),
        (15, 2),
    ]
    return {
        "Feature": _table(
            "Feature",
            "Feature Feature_Parent Title Description Display Level Directory_ Attributes",
            "s38 S38 L64 L255 I2 i2 S72 i2",
            "Feature",
            [("Go", "", "Go", "Go", 1, 1, "INSTALLDIR", 0)],
        ),
        "FeatureComponents": _table(
            "FeatureComponents",
            "Feature_ Component_",
            "s38 s72",
            "Feature_ Component_",
            [("Go", c) for c in components],
        ),
        "Media": _table(
            "Media",
            "DiskId LastSequence DiskPrompt Cabinet VolumeLabel Source",
            "i2 i4 L64 S255 S32 S72",
            "DiskId",
            [(1, count, "", f"#{CABINET}", "", "")],
        ),
        "Registry": _table(
            "Registry", "Registry Root Key Name Value Component_", "s72 i2 l255 L255 L0 s72", "Registry", [registry]
        ),
        "Environment": _table(
            "Environment", "Environment Name Value Component_", "s72 l255 L255 s72", "Environment", [environment]
        ),
        "InstallExecuteSequence": _table(
            "InstallExecuteSequence",
            "Action Condition Sequence",
            "s72 S255 I2",
            "Action",
            [(action, "", number) for action, number in SEQUENCE.items()],
        ),
        "_SummaryInformation": _table("_SummaryInformation", "PropertyId Value", "i2 l255", "PropertyId", summary),
    }
