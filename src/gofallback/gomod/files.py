"""The module files of a commit (go.mod, go.sum, go.work), read from the controller's mirrors."""

from __future__ import annotations

from pathlib import PurePosixPath

from gofallback.errors import GofallbackError
from gofallback.git.git_command import GitError
from gofallback.git.mirror import Mirror
from gofallback.gobuild.modules import MODULE_FILES, ModuleFiles
from gofallback.source.git_errors import last_line
from gofallback.source.model import Repository, ResolvedSource

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
            mirror = Mirror(repository.mirror, repository.repository)
            entries = [entry for entry in mirror.tree(repository.commit) if entry.is_file]
            listed = {entry.path: entry.sha for entry in entries if entry.path.rpartition("/")[2] in MODULE_FILES}
            contents = mirror.contents(sorted(set(listed.values())), _LARGEST)
        except GitError as error:
            raise ModuleFilesError(
                f"{repository.mirror}: git cannot read {repository.commit} ({last_line(error.output)}); remove it and "
                "run again"
            ) from None
        files |= {prefix + path: contents[sha] for path, sha in listed.items() if sha in contents}
        vendored |= {
            (prefix + entry.path).removesuffix("vendor/modules.txt").rstrip("/")
            for entry in entries
            if f"/{entry.path}".endswith("/vendor/modules.txt")
        }
    home = str(PurePosixPath(directory.replace("\\", "/")))
    return ModuleFiles("" if home == "." else home, files, frozenset(vendored))
