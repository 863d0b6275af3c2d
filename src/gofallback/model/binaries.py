"""The parts of a service besides its main binary: more binaries, files of its releases, archives for download."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue, field_validator, model_validator

from gofallback.model.base import RelativePath, Strict, one_line
from gofallback.redact import holds_secret, names_secret

#: File name of a program: without blanks and path it is one word in every shell and valid on every system.
BinaryName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Tag = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]+$")]


def _stamp(value: str) -> str:
    one_line(value)
    if '"' in value and "'" in value:
        raise ValueError("should not hold both kinds of quotes: go cannot pass that to the linker")
    return value


#: Value of -X: a word of ``-ldflags``, which go splits at blanks; either kind of quotes protects it (go help build).
StampValue = Annotated[str, AfterValidator(_stamp)]
GoVariable = Annotated[str, Field(pattern=r"^[\w./-]+\.\w+$")]

#: Name of a file of a release: printable ASCII without quotes and backslashes, so that it is the same in JSON, in a
#: checksum file and in a shell.
FILE_NAME = re.compile(r"[A-Za-z0-9._+@=,~%()\[\]{}#-][A-Za-z0-9 ._+@=,~%()\[\]{}#-]*")
#: The folders of a release for files of group data.
FOLDERS = ("lib", "conf")


def release_path(value: str) -> str:
    """A path below ``lib/`` or ``conf/`` of a release; with ``/`` at its end a folder."""
    parts = value.removesuffix("/").split("/")
    if parts[0] not in FOLDERS or (len(parts) == 1 and not value.endswith("/")):
        raise ValueError("should begin with lib/ or conf/; programs are build.binaries")
    if any(not FILE_NAME.fullmatch(part) or part in (".", "..") for part in parts):
        raise ValueError("should be names of letters, digits, blanks and ._+@=,~%()[]{}#- with '/' between them")
    return value


def generate_pattern(value: str) -> str:
    """A package pattern inside the module for ``go generate``: never a flag, never another module's package."""
    one_line(value)
    if not re.fullmatch(r"\.(/[\w.@+-]+)*", value) or ".." in value.replace("...", "").split("/"):
        raise ValueError("should be a package inside the module, such as ./... or ./internal/schema")
    return value


def every_package(value: object) -> object:
    """``true`` is every package of the module, ``false`` none."""
    return {True: ["./..."], False: []}[value] if isinstance(value, bool) else value


ReleasePath = Annotated[str, AfterValidator(release_path)]
PackagePattern = Annotated[str, AfterValidator(generate_pattern)]


class Binary(Strict):
    """One more binary of a service: a main package of the same module, and its differences from `build`."""

    package: RelativePath = Field(description="Go package of the program, such as ./cmd/hello-admin")
    tags: list[Tag] | None = Field(default=None, description="build tags; default: those of `build.tags`")
    stamp: dict[GoVariable, StampValue] | None = Field(
        default=None, description="-X values, in place of `build.stamp`; `version_variable` applies to every binary"
    )
    strip: bool | None = Field(default=None, description="-s -w; default: `build.strip`")


class ReleaseFile(Strict):
    """The source of a file, or of a folder of files, of a release. One of repository, project and text."""

    repository: RelativePath | None = Field(
        default=None,
        description="path in the source's repository, at the released commit: a file, a folder, or a pattern with `*`, "
        "`?` and `**`; bytes and executable bit as in git",
    )
    project: RelativePath | None = Field(
        default=None, description="the same in the project's folder on the controller, in which the command is started"
    )
    text: str | None = Field(default=None, description="the content itself")
    template: bool = Field(
        default=False,
        description="render with Jinja2: `values`, `service`, `version`, `commit`, `environment`, `home` and `port` "
        "are defined, any other name is an error; `.j2` at the end of a file's name is removed",
    )

    @model_validator(mode="after")
    def _one(self) -> ReleaseFile:
        given = [name for name in ("repository", "project", "text") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"should have one of repository, project and text, got {' and '.join(given) or 'none'}")
        if self.text is not None and holds_secret(self.text):
            raise ValueError("text holds what looks like a secret, and everybody on a target can read it")
        return self


class Archives(Strict):
    """The archives of a version that `gofallback archive` makes: for people who want files, not a service."""

    formats: list[Literal["tar.gz", "zip"]] = Field(
        default_factory=list, description="formats for every platform; default: zip for windows, tar.gz for the others"
    )
    files: list[RelativePath] = Field(
        default_factory=list,
        description="files beside the binaries: paths or patterns in the repository, at the commit, such as LICENSE "
        "and docs/*.md",
    )
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._+{}-]+$")] = Field(
        default="{service}_{version}_{os}_{arch}",
        description="name of the archive without its suffix, and of the folder in it; {service}, {version}, {os} and "
        "{arch} are replaced",
    )

    @field_validator("name")
    @classmethod
    def _placeholders(cls, value: str) -> str:
        known = ("service", "version", "os", "arch")
        plain = re.sub(rf"\{{({'|'.join(known)})\}}", "", value)
        if "{" in plain or "}" in plain or value.startswith((".", "-")):
            raise ValueError("should have no placeholders but {service}, {version}, {os} and {arch}")
        if "{os}" not in value or "{arch}" not in value:
            raise ValueError("should have {os} and {arch}, or the archives of two platforms would have one name")
        return value


def secret_values(values: Mapping[str, JsonValue]) -> Iterator[str]:
    """Key paths of secrets, found by their name or their form: every login on a target can read a release."""
    yield from _secret_paths(values, "")


def _secret_paths(value: JsonValue | Mapping[str, JsonValue], path: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, below in value.items():
            where = f"{path}.{key}" if path else str(key)
            if names_secret(str(key), sure=True):
                yield where
            else:
                yield from _secret_paths(below, where)
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from _secret_paths(below, f"{path}[{number}]")
    elif isinstance(value, str) and holds_secret(value):
        yield path
