"""Variables that are to be stamped and that no Go file declares: Go's linker passes over them in silence."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from gofallback.artifact.spec import BuildSpec
from gofallback.git import git_command

_MAIN = "main."
#: What was found and nothing beside it, whatever the user's own ``grep.*`` and ``color.*`` of git say.
_BARE_WORDS = ("-ahowF", "--no-line-number", "--no-column", "--no-color", "--no-recurse-submodules")


def unused_stamps(mirror: Path, spec: BuildSpec) -> list[str]:
    """The variables of package main that a spec stamps, and that are no word of any of its Go files.

    ``-X`` "is only effective if the variable is declared in the source code", and an unknown one is no error
    (https://pkg.go.dev/cmd/link): a misspelt ``build.version_variable`` would be noticed by the first who asks the
    program for its version. Only what is certain is told: nothing of other packages, of generated code, of a
    submodule, or where git does not answer.

    Args:
        mirror: the controller's mirror of the repository.
        spec: what is to be built, with a commit of that mirror.

    Returns:
        Names such as main.version, sorted.
    """
    wanted = {name.removeprefix(_MAIN): name for name, _ in spec.stamp if name.startswith(_MAIN)}
    if spec.generate or not wanted:
        return []
    files = PurePosixPath(spec.directory.replace("\\", "/")) / spec.package / "*.go"
    words = [part for word in ("package", *wanted) for part in ("-e", word)]
    where = [f":(glob){files}", f":(exclude,glob){files.with_name('*_test.go')}"]
    try:
        found = git_command.git(["grep", *_BARE_WORDS, *words, spec.commit, "--", *where], directory=mirror).split()
    except git_command.GitError:  # no such file, or none with a word: git grep ends with 1 then
        return []
    return sorted(name for word, name in wanted.items() if word not in found)
