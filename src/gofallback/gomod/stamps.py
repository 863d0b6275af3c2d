"""Stamped variables that no Go file declares: Go's linker ignores them silently."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from gofallback.artifact.spec import BuildSpec
from gofallback.git import git_command

_MAIN = "main."
#: Matches only, whatever the user's ``grep.*`` and ``color.*`` settings of git are.
_BARE_WORDS = ("-ahowF", "--no-line-number", "--no-column", "--no-color", "--no-recurse-submodules")


def unused_stamps(mirror: Path, spec: BuildSpec) -> list[str]:
    """The stamped variables of package main that appear in none of its Go files.

    ``-X`` "is only effective if the variable is declared in the source code", and an unknown variable is no error
    (https://pkg.go.dev/cmd/link): a misspelt ``build.version_variable`` would show up only when somebody wants the
    program's version. Only certain cases are returned: none of other packages, of generated code, of a submodule, or
    where git fails.

    Args:
        mirror: the controller's mirror of the repository.
        spec: the binary, with a commit of that mirror.

    Returns:
        Names such as main.version, sorted.
    """
    stamped = {name.removeprefix(_MAIN): name for name, _ in spec.stamp if name.startswith(_MAIN)}
    if spec.generate or not stamped:
        return []
    files = PurePosixPath(spec.directory.replace("\\", "/")) / spec.package / "*.go"
    words = [part for word in ("package", *stamped) for part in ("-e", word)]
    where = [f":(glob){files}", f":(exclude,glob){files.with_name('*_test.go')}"]
    try:
        found = git_command.git(["grep", *_BARE_WORDS, *words, spec.commit, "--", *where], directory=mirror).split()
    except git_command.GitError:  # no file or no match: git grep ends with 1 then
        return []
    return sorted(name for word, name in stamped.items() if word not in found)
