"""`@linssh/<name>`: Linux hosts over SSH, with pyinfra's own shell rules on one lean connection.

Differs from pyinfra's `@ssh` in the connection (see `gofallback.connectors.connection`) and in files. They go through
`cat` on a command channel, twice as fast as paramiko's SFTP, with sudo if requested, into a file beside the final one
that no other user can read. Its size is checked, it is on the disk (fsync), and one rename gives it its name: the file
of a running program is never written into.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterable, Iterator
from typing import IO, Any

from pyinfra.api.command import StringCommand
from pyinfra.api.output import echo
from pyinfra.connectors.util import (
    CommandOutput,
    execute_command_with_sudo_retry,
    make_unix_command_for_host,
    remove_any_sudo_askpass_file,
)

from gofallback.connectors.channel import run_to_end
from gofallback.connectors.connection import LostConnectionError
from gofallback.connectors.local import (
    PART,
    FileOrName,
    TransferError,
    chunks,
    open_destination,
    open_source,
    stdin_bytes,
)
from gofallback.connectors.output import Lines, RemoteOutput, collect
from gofallback.connectors.ssh import LineConnector

CHUNK_BYTES = 32768 - 64
"""One SSH packet of the size every server takes, less its head."""

_RECEIVE = r"""
final={final} part={part} size={size}
fail() {{ rm -f -- "$part" 2>/dev/null; printf '%s\n' "$1" >&2; exit 65; }}
[ ! -d "$final" ] || {{ printf '%s\n' 'is a folder' >&2; exit 65; }}
[ -d {folder} ] || {{ printf '%s\n' 'the folder it should go to is not there' >&2; exit 65; }}
mask=$(umask); umask 077; rm -f -- "$part" 2>/dev/null; set -C
cat > "$part" || fail 'cannot be written'
got=$(wc -c < "$part"); [ "$got" -eq "$size" ] || fail "$((got)) bytes arrived, $size were sent"
if [ -f "$final" ]; then
  chmod "$(stat -L -c %a -- "$final")" "$part"
  chown "$(stat -L -c %u:%g -- "$final")" "$part" 2>/dev/null
else
  (umask "$mask"; chmod =rw "$part")
fi
sync "$part" 2>/dev/null || sync
mv -f -- "$part" "$final" || fail 'cannot be replaced'
"""
"""POSIX sh with `stat` and `sync` of coreutils or busybox. `set -C`: the part must be new, made by this script."""

_SEND = r"""
[ -f {path} ] || {{ [ ! -e {path} ] && echo 'no such file' >&2 || echo 'is not a plain file' >&2; exit 65; }}
size=$(wc -c < {path}) && echo "$((size))" && exec cat -- {path}
"""

_NOT_FOR_FILES = ("_get_pty", "_stdin", "_success_exit_codes", "_timeout", "_shell_executable")


class LinSSHConnector(LineConnector):
    """Connect to Linux hosts by SSH; every global argument of pyinfra means what it means for `@ssh`."""

    @staticmethod
    def make_names_data(name: str) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        if not name:
            raise ValueError("@linssh needs a host name: @linssh/app1.example.net")
        yield name, {"ssh_hostname": name}, []

    def disconnect(self) -> None:
        if self.client is not None:
            # pyinfra removes it after this, when the connection is closed already.
            remove_any_sudo_askpass_file(self.host)
        super().disconnect()

    def run_shell_command(
        self,
        command: StringCommand | str,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Any,
    ) -> tuple[bool, CommandOutput]:
        """Run a command through the shell, as pyinfra's `@ssh` does.

        A command whose connection breaks fails with one line on stderr; nothing is raised but `CommandTimeoutError`.
        """
        pty = bool(arguments.pop("_get_pty", False))
        timeout = arguments.pop("_timeout", None)
        stdin = stdin_bytes(arguments.pop("_stdin", None))
        success_codes = arguments.pop("_success_exit_codes", None) or [0]
        results: list[RemoteOutput] = []

        def execute() -> tuple[int, CommandOutput]:
            unix = make_unix_command_for_host(self.state, self.host, _command(command), **arguments)
            if print_input:
                echo(f"{self.host.print_prefix}>>> {unix}", err=True)
            output = self._run(unix.get_raw_value(), stdin=stdin, timeout=timeout, pty=pty, print_output=print_output)
            results.append(output)
            return -1 if output.exit_code is None else output.exit_code, output

        code, _ = execute_command_with_sudo_retry(self.host, arguments, execute)  # type: ignore[arg-type]
        return code in success_codes, results[-1]

    def put_file(
        self,
        filename_or_io: FileOrName,
        remote_filename: str,
        remote_temp_filename: str | None = None,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Any,
    ) -> bool:
        """Upload a file in one round trip; a file it replaces keeps its mode and, for root, its owner.

        `remote_temp_filename` is not used: only a file in the same folder can be renamed at once.
        """
        try:
            with open_source(filename_or_io) as (file, size):
                self._receive(file, size, remote_filename, arguments)
        except (LostConnectionError, TransferError) as error:
            return self._transfer_failed(f"upload to {remote_filename} failed: {error}")
        if print_output:
            echo(f"{self.host.print_prefix}file uploaded: {remote_filename}", err=True)
        return True

    def _receive(self, file: IO[bytes], size: int, path: str, arguments: dict[str, Any]) -> None:
        folder, name = posixpath.split(path)
        folder = folder or "."
        script = _RECEIVE.format(
            final=shlex.quote(_plain(path)),
            part=shlex.quote(posixpath.join(_plain(folder), f".{name}{PART}")),
            folder=shlex.quote(_plain(folder)),
            size=size,
        )
        self._carry(script, arguments, stdin=chunks(file, CHUNK_BYTES), on_stdout=lambda data: None)

    def get_file(
        self,
        remote_filename: str,
        filename_or_io: FileOrName,
        remote_temp_filename: str | None = None,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Any,
    ) -> bool:
        """Download a file in one round trip, also with sudo; a local file gets its name when it is complete."""
        try:
            with open_destination(filename_or_io) as file:
                self._fetch(remote_filename, file, arguments)
        except (LostConnectionError, TransferError) as error:
            return self._transfer_failed(f"download of {remote_filename} failed: {error}")
        if print_output:
            echo(f"{self.host.print_prefix}file downloaded: {remote_filename}", err=True)
        return True

    def _fetch(self, path: str, file: IO[bytes], arguments: dict[str, Any]) -> None:
        sink = _SizedStream(file)
        self._carry(_SEND.format(path=shlex.quote(_plain(path))), arguments, stdin=b"", on_stdout=sink.feed)
        if sink.size != sink.written:
            raise TransferError(f"{sink.written} bytes arrived, the file had {sink.size}: did it change?")

    def _carry(self, script: str, arguments: dict[str, Any], *, stdin: bytes | Iterable[bytes], on_stdout: Any) -> None:
        """Run the script of a transfer on the host; raises TransferError with its stderr if it fails."""
        if arguments.get("_su_user") and arguments.get("_su_password"):
            raise TransferError("_su_password cannot be honoured for files: su reads it where the file comes from")
        for name in _NOT_FOR_FILES:
            arguments.pop(name, None)
        unix = make_unix_command_for_host(self.state, self.host, StringCommand(script.strip()), **arguments)
        lines: list[Any] = []
        stderr = Lines("stderr", self._decode, collect(lines, None))
        end = self._channel(
            lambda channel: run_to_end(
                channel,
                unix.get_raw_value(),
                stdin=stdin,
                on_stdout=on_stdout,
                on_stderr=stderr.feed,
                signal=self.signal,
            )
        )
        stderr.end()
        if end.lost:
            raise LostConnectionError(f"the connection to {self.host.name} broke ({self._broken_reason()})")
        if end.exit_code != 0:
            raise TransferError("; ".join(line.line for line in lines) or f"exit status {end.exit_code}")


class _SizedStream:
    """Writes a stream to a file; its first line is the size of the rest."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._head: bytes | None = b""
        self.size = 0
        self.written = 0

    def feed(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            line, found, data = self._head.partition(b"\n")
            if not found:
                return
            self.size, self._head = int(line), None
        self._file.write(data)
        self.written += len(data)


def _command(command: StringCommand | str) -> StringCommand:
    return StringCommand(command) if isinstance(command, str) else command


def _plain(path: str) -> str:
    """A path that no program reads as an option."""
    return f"./{path}" if path.startswith("-") else path
