"""The files of a commit that say which modules it needs, read from the controller's mirrors."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from gofallback.errors import GofallbackError
from gofallback.git import git_command
from gofallback.gobuild.modules import MODULE_FILES, ModuleFiles
from gofallback.source.git_errors import last_line
from gofallback.source.model import Repository, ResolvedSource
from gofallback.source.tree import parse_tree

_LARGEST = 16 << 20
"""Bytes of a go.sum; Kubernetes' has 0.1 MB."""


class ModuleFilesError(GofallbackError):
    """A mirror cannot be read; one line."""


def module_files(source: ResolvedSource, directory: str) -> ModuleFiles:
    """The module files of a commit and of its submodules, read from the controller's mirrors.

    Args:
        source: the commit.
        directory: ``build.directory``.

    Raises:
        ModuleFilesError: a mirror cannot be read.
    """
    files: dict[str, bytes] = {}
    vendored = set()
    repositories: list[tuple[str, Repository]] = [("", source)]
    repositories += [(f"{submodule.path}/", submodule) for submodule in source.below()]
    for prefix, repository in repositories:
        try:
            listed = git_command.git(
                ["ls-tree", "-r", "-z", "--full-tree", repository.commit], directory=repository.mirror
            )
            entries = [entry for entry in parse_tree(listed) if not entry.is_symlink and not entry.is_submodule]
            wanted = {entry.path: entry.sha for entry in entries if entry.path.rpartition("/")[2] in MODULE_FILES}
            contents = _blobs(repository.mirror, sorted(set(wanted.values())))
        except git_command.GitError as error:
            raise ModuleFilesError(
                f"{repository.mirror}: git cannot read {repository.commit} ({last_line(error.output)}); remove it and "
                "run again"
            ) from None
        files |= {prefix + path: contents[sha] for path, sha in wanted.items() if sha in contents}
        vendored |= {
            (prefix + entry.path).removesuffix("vendor/modules.txt").rstrip("/")
            for entry in entries
            if f"/{entry.path}".endswith("/vendor/modules.txt")
        }
    home = str(PurePosixPath(directory.replace("\\", "/")))
    return ModuleFiles("" if home == "." else home, files, frozenset(vendored))


def _blobs(mirror: Path, names: list[str]) -> dict[str, bytes]:
    answer = git_command.git(["cat-file", "--batch"], directory=mirror, stdin="".join(f"{name}\n" for name in names))
    rest, found = answer.encode(errors="surrogateescape"), {}
    while rest:
        head, _, rest = rest.partition(b"\n")
        name, _, size = head.decode().split(" ")
        if int(size) <= _LARGEST:
            found[name] = rest[: int(size)]
        rest = rest[int(size) + 1 :]
    return found
