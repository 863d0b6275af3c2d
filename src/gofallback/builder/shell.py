"""The one seam between the operations on a builder and its shell: cmd.exe or a POSIX sh.

A *step* is a piece of a command line that changes or tells one thing; `Shell.script` puts steps in a row. Everything
here is text: nothing is run, and the operations know neither shell. Answers are the same from both, so there is one
reader for each (`gofallback.builder.answer`, `gofallback.build.result`, `gofallback.source.commands`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from gofallback.builder.cmd import Cmd
from gofallback.builder.paths import os_of
from gofallback.builder.sh import Sh


class Shell(Protocol):
    """Steps for one builder. Paths are absolute and of the builder's own kind."""

    def command(self, argv: Sequence[str]) -> str:
        """A program (its path, or a name) with its arguments, each one word whatever characters it has."""

    def script(self, steps: Sequence[str], *, always: bool = False) -> str:
        """The steps one after the other; the status is the last one's, or 0 with ``always``."""

    def enter(self, folder: str) -> str:
        """Go to a folder, or end all with status 1."""

    def then(self, step: str, *after: str) -> str:
        """``after`` follows only when ``step`` succeeded; else its status is that of all."""

    def or_end(self, step: str, what: str) -> str:
        """When the step fails: say ``@failed <what>`` and end all with status 1."""

    def quiet(self, step: str) -> str:
        """Throw away what the step prints on standard output."""

    def prepared(self, line: str, environment: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        """The line and the environment that make an empty value mean "not set"."""

    def say(self, text: str) -> str:
        """Print a line of ours: letters, digits, blanks, ``@``, ``.``, ``/``, ``-``, ``_``."""

    def if_there(self, path: str, step: str) -> str:
        """The step, when there is a file or folder of that name."""

    def unless_there(self, path: str, step: str) -> str:
        """The step, when there is none."""

    def show(self, path: str) -> str:
        """Print a text file and a line end; only the line end when it is not there."""

    def hash(self, path: str) -> str:
        """Print a file's SHA-256, for `gofallback.builder.state_parser.read_hash`; nothing when it is not there."""

    def measure(self, path: str) -> str:
        """Print ``@size <bytes>`` and the SHA-256 of a file; nothing when it is not there."""

    def list_files(self, folder: str) -> str:
        """Print ``<bytes> <path>`` for each file below a folder that is there, absolute paths."""

    def check_files(self, listing: str, folder: str) -> str:
        """Say ``@missing <name>`` for each line ``<bytes> <name>`` of a file that no file below the folder fulfils.

        Names are relative, in the builder's own writing, without blanks and what a shell gives a meaning.
        """

    def make(self, folder: str) -> str:
        """Make a folder with those above it, unless it is there."""

    def check_folders(self, folders: Sequence[str]) -> str:
        """Say ``@missing <number>`` for each (counted from 0) that is no folder."""

    def remove(self, folder: str) -> str:
        """Remove a folder with everything in it."""

    def delete(self, path: str) -> str:
        """Remove a file; status 0 when it was not there."""

    def delete_parts(self, path: str) -> str:
        """Remove every file whose name begins with ``<path>.``: what broken transfers have left."""

    def sweep(self, folder: str, prefix: str) -> str:
        """Remove every folder within ``folder`` whose name begins with ``prefix``."""

    def remove_aside(self, path: str, aside: str) -> str:
        """Rename to ``aside`` where that can be, and remove it there; say ``@there`` when the path is still there."""

    def copy(self, source: str, target: str) -> str:
        """Copy a file over another."""

    def replace(self, source: str, target: str) -> str:
        """Rename a file over another."""

    def write(self, path: str, line: str) -> str:
        """Make a file of one line, of the characters that `say` takes."""

    def settle(
        self, new: str, final: str, proofs: Sequence[str], *, mark: str | None = None, aside: str | None = None
    ) -> str:
        """Rename a folder into place and prove it: ``@done`` says that ``final`` has the files ``proofs``.

        It can be said again when something had a file open, or the answer was lost.

        Args:
            new: the finished folder.
            final: the name it gets; what has it is removed first.
            proofs: files of ``final``, relative to it.
            mark: a step that is done in ``new`` before.
            aside: a name for what has the final one, in place of removing it.
        """

    def claim(self, new: str, final: str) -> str:
        """Rename a folder to a name that nobody has; where somebody has it, the folder stays what it is.

        Two runs that want the same name at the same time: the first one has it, and neither loses what it is using.
        A name that is taken between the test and the rename is a folder that `mv` and `move` put ``new`` into, whose
        own name therefore nobody else may have: it is removed from there.
        """

    def prune(self, newest: str, keep: int) -> str:
        """Remove all folders beside ``newest`` but the ``keep`` newest; what cannot be removed stays."""

    def unpack(self, archive: str, folder: str) -> str:
        """Unpack an archive into a folder that is there; its kind goes by its name."""

    def unpack_tools(self, archive: str) -> Sequence[Sequence[str]]:
        """Programs that unpacking needs; of each group one does."""

    def download(self, url: str, part: str, final: str) -> str:
        """Download to ``part`` and give it its name when it is complete."""

    def free(self, root: str) -> str:
        """Ask for the free bytes below a folder; `gofallback.builder.answer.read_free` reads the answer."""

    def gather(self, root: str) -> str:
        """The one command that makes a builder tell everything; `gofallback.builder.answer.parse` reads the answer."""


def shell_of(root: str) -> Shell:
    """The shell of the builder that has this root (or any absolute path of it)."""
    return Sh() if os_of(root) == "linux" else Cmd()
