"""The one seam between the operations on a builder and its shell: cmd.exe or a POSIX sh.

A *step* is a piece of a command line that changes or prints one thing; `Shell.script` joins steps. Everything here is
text, nothing is run. Both shells print the same, so there is one parser for each output
(`gofallback.builder.state_parser`, `gofallback.gobuild.result`, `gofallback.source.commands`).
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
        """A program (its path, or a name) with its arguments, quoted: any character is allowed."""

    def script(self, steps: Sequence[str], *, always: bool = False) -> str:
        """The steps one after the other; the exit code is the last step's, or 0 with ``always``."""

    def enter(self, folder: str) -> str:
        """Change to a folder, or exit with 1."""

    def then(self, step: str, *after: str) -> str:
        """Run ``after`` only when ``step`` succeeds; else its exit code is that of all."""

    def or_exit(self, step: str, what: str) -> str:
        """When the step fails: print ``@failed <what>`` and exit with 1."""

    def quiet(self, step: str) -> str:
        """Discard the standard output of the step."""

    def prepared(self, line: str, environment: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        """The line and the environment in which a variable with an empty value is not set."""

    def echo(self, text: str) -> str:
        """Print a line of letters, digits, blanks, ``@``, ``.``, ``/``, ``-``, ``_``."""

    def if_there(self, path: str, step: str) -> str:
        """Run the step when there is a file or folder of that name."""

    def unless_there(self, path: str, step: str) -> str:
        """Run the step when there is no such file or folder."""

    def show(self, path: str) -> str:
        """Print a text file and a line end; only the line end when there is no such file."""

    def hash(self, path: str) -> str:
        """Print a file's SHA-256, for `gofallback.builder.state_parser.read_hash`; nothing when it is not there."""

    def measure(self, path: str) -> str:
        """Print ``@size <bytes>`` and the SHA-256 of a file; nothing when it is not there."""

    def list_files(self, folder: str) -> str:
        """Print ``<bytes> <path>`` for each file below a folder that is there, absolute paths."""

    def check_files(self, listing: str, folder: str) -> str:
        """Print ``@missing <name>`` for each line ``<bytes> <name>`` of a file that no file below the folder matches.

        Names are relative, with the builder's own separator, without blanks and special characters of a shell.
        """

    def make(self, folder: str) -> str:
        """Make a folder and its parents, unless they are there."""

    def check_folders(self, folders: Sequence[str]) -> str:
        """Print ``@missing <number>`` for each (counted from 0) that is no folder."""

    def remove(self, folder: str) -> str:
        """Remove a folder with everything in it."""

    def delete(self, path: str) -> str:
        """Remove a file; exit code 0 when there is none."""

    def delete_parts(self, path: str) -> str:
        """Remove every file whose name begins with ``<path>.``: the rest of broken transfers."""

    def sweep(self, folder: str, prefix: str) -> str:
        """Remove every folder within ``folder`` whose name begins with ``prefix``."""

    def remove_aside(self, path: str, aside: str) -> str:
        """Rename to ``aside`` where possible, and remove it there; print ``@there`` when the path still exists."""

    def copy(self, source: str, target: str) -> str:
        """Copy a file over another."""

    def replace(self, source: str, target: str) -> str:
        """Rename a file over another."""

    def write(self, path: str, line: str) -> str:
        """Make a file of one line, of the characters that `echo` allows."""

    def put_in_place(
        self, new: str, final: str, proofs: Sequence[str], *, mark: str | None = None, aside: str | None = None
    ) -> str:
        """Rename a folder into place and prove it: ``@done`` means that ``final`` has the files ``proofs``.

        It can be repeated when a program had a file open, or the answer was lost.

        Args:
            new: the finished folder.
            final: the name it gets; a folder of that name is removed first.
            proofs: files of ``final``, relative to it.
            mark: a step that runs before, in ``new``.
            aside: rename the old folder to this, in place of removing it.
        """

    def claim(self, new: str, final: str) -> str:
        """Rename a folder to a free name; an existing folder of that name stays as it is.

        Of two runs that need the same name at the same time the first one gets it, and neither loses what it uses. If
        the name is taken between the test and the rename, `mv` and `move` put ``new`` into that folder. It is removed
        from there, so its own name must be unique.
        """

    def prune(self, newest: str, keep: int) -> str:
        """Remove all folders beside ``newest`` but the ``keep`` newest; a folder that cannot be removed stays."""

    def unpack(self, archive: str, folder: str) -> str:
        """Unpack an archive into an existing folder; the archive's name decides its kind."""

    def unpack_tools(self, archive: str) -> Sequence[Sequence[str]]:
        """Programs that unpacking needs: one of each group."""

    def download(self, url: str, part: str, final: str) -> str:
        """Download to ``part``, and rename it to ``final`` when it is complete."""

    def free(self, root: str) -> str:
        """Print the free bytes below a folder, for `gofallback.builder.state_parser.read_free`."""

    def state(self, root: str) -> str:
        """The one command that prints the builder's state, for `gofallback.builder.state_parser.parse`."""


def shell_of(root: str) -> Shell:
    """The shell of the builder with this root (or any absolute path there)."""
    return Sh() if os_of(root) == "linux" else Cmd()
