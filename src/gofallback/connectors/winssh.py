r"""`@winssh/<name>`: Windows hosts over SSH, commands through cmd.exe, files through SFTP.

Every global argument of pyinfra is honoured or refused by name:

* honoured: `_env`, `_chdir`, `_timeout` (the whole process tree ends), `_stdin`, `_success_exit_codes`, `_temp_dir`
  (where a long command's batch file lies), and `_shell_executable`: `cmd` or `powershell` (pyinfra's own default, `sh`,
  means cmd here); retries are pyinfra's and pass through;
* refused: everything about other users and terminals: Windows has no sudo.

`QuoteString` in a command is quoted by Windows' rules (`gofallback.windows.quoting`).
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from typing import Any

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.hiddenvalue import HiddenValue
from pyinfra.api.output import echo

from gofallback.connectors import sftp
from gofallback.connectors.connection import LostConnectionError
from gofallback.connectors.local import FileOrName, TransferError, open_destination, open_source, stdin_bytes
from gofallback.connectors.output import CommandTimeoutError, RemoteOutput
from gofallback.connectors.ssh import LineConnector
from gofallback.windows import quoting, text

REFUSED = (
    "_sudo",
    "_sudo_user",
    "_use_sudo_login",
    "_sudo_password",
    "_preserve_sudo_env",
    "_su_user",
    "_use_su_login",
    "_preserve_su_env",
    "_su_shell",
    "_su_password",
    "_doas",
    "_doas_user",
    "_dzdo",
    "_dzdo_user",
    "_get_pty",
)
"""Arguments that Windows cannot honour."""
HONOURED = ("_env", "_chdir", "_timeout", "_stdin", "_success_exit_codes", "_shell_executable", "_temp_dir")
PASSED_BY = ("_retries", "_retry_delay", "_retry_until")
"""Arguments that pyinfra itself acts on."""
_CMD = (None, "", "sh", "cmd", "cmd.exe")
_POWERSHELL = ("powershell", "powershell.exe")


class RefusedArgumentError(Exception):
    """A global argument that cannot be honoured; the message names it."""


class WinSSHConnector(LineConnector):
    """Connect to Windows hosts by OpenSSH, which is part of Windows.

    .. code:: python

        hosts = [("@winssh/standby.example.net", {"ssh_user": "builder", "ssh_key": "~/.ssh/builder"})]
    """

    signal = "KILL"

    def __init__(self, state: Any, host: Any) -> None:
        super().__init__(state, host)
        self._codec: str | None = None
        self._codec_lock = threading.RLock()

    @staticmethod
    def make_names_data(name: str) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        if not name:
            raise ValueError("@winssh needs a host name: @winssh/standby.example.net")
        yield name, {"ssh_hostname": name}, []

    def run_shell_command(
        self,
        command: StringCommand | str,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Any,
    ) -> tuple[bool, RemoteOutput]:
        """Run a command line of cmd.exe.

        A command that is refused, or whose connection breaks, fails with one line on stderr; nothing is raised but
        `CommandTimeoutError` (a TimeoutError, as pyinfra's connectors raise).
        """
        try:
            check_arguments(arguments)
            env = _plain_environment(arguments.get("_env"))
            shell = _shell(arguments.get("_shell_executable"))
            line = render(command)
            if shell == "powershell":
                line = quoting.powershell(line)
            uploaded = quoting.needs_batch(line, env, arguments.get("_chdir"))
            if print_input:
                echo(f"{self.host.print_prefix}>>> {render(command, masked=True)}", err=True)
            if uploaded:
                output = self._run_batch(line, env, arguments, print_output)
            else:
                line = quoting.with_environment(line, env, arguments.get("_chdir"))
                output = self._run_with(line, arguments, print_output)
        except (RefusedArgumentError, quoting.QuotingError, LostConnectionError, TransferError) as error:
            return self._failed(str(error), print_output)
        success_codes = arguments.get("_success_exit_codes") or [0]
        return output.exit_code in _unsigned(success_codes), output

    def _run_with(self, line: str, arguments: dict[str, Any], print_output: bool) -> RemoteOutput:
        return self._run(
            line,
            stdin=stdin_bytes(arguments.get("_stdin")),
            timeout=arguments.get("_timeout"),
            print_output=print_output,
        )

    def _run_batch(
        self, command: str, env: dict[str, str], arguments: dict[str, Any], print_output: bool
    ) -> RemoteOutput:
        """Run a command that does not fit one line from a batch file, and remove the file."""
        content, variables = quoting.batch(command, env, arguments.get("_chdir"))
        data = content.encode("ascii")
        name = f"gofallback-{hashlib.sha256(data).hexdigest()[:8]}-{secrets.token_hex(4)}.cmd"
        with self._sftp() as client:
            folder = arguments.get("_temp_dir") or text.windows_path(client.normalize("."))
            path = folder.rstrip("\\/") + "\\" + name
            sftp.upload(client, BytesIO(data), len(data), text.sftp_path(path))
        try:
            line = quoting.with_environment(quoting.command_line([path]), variables)
            if quoting.length(line) > quoting.COMMAND_LIMIT:
                raise quoting.QuotingError(
                    "command: too many characters other than ASCII for a batch file; pass them in a file or on stdin"
                )
            return self._run_with(line, arguments, print_output)
        finally:
            self._remove(path)

    def _remove(self, path: str) -> None:
        try:
            with self._sftp() as client:
                client.remove(text.sftp_path(path))
        except (LostConnectionError, OSError):
            return  # the host or the file is gone: nothing is left to do

    # ---- files

    def put_file(
        self,
        filename_or_io: FileOrName,
        remote_filename: str,
        remote_temp_filename: str | None = None,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Any,
    ) -> bool:
        """Upload a file: streamed to a name beside the final one, its size checked, then renamed over it.

        `remote_temp_filename` is not used: only a file in the same folder can be renamed at once.
        """
        try:
            check_arguments(arguments)
            with open_source(filename_or_io) as (file, size), self._sftp() as client:
                sftp.upload(client, file, size, text.sftp_path(remote_filename))
        except (RefusedArgumentError, LostConnectionError, TransferError) as error:
            return self._transfer_failed(f"upload to {remote_filename} failed: {error}")
        if print_output:
            echo(f"{self.host.print_prefix}file uploaded: {remote_filename}", err=True)
        return True

    def get_file(
        self,
        remote_filename: str,
        filename_or_io: FileOrName,
        remote_temp_filename: str | None = None,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Any,
    ) -> bool:
        """Download a file: streamed beside the local name, its size checked, then renamed."""
        try:
            check_arguments(arguments)
            with open_destination(filename_or_io) as file, self._sftp() as client:
                sftp.download(client, text.sftp_path(remote_filename), file)
        except (RefusedArgumentError, LostConnectionError, TransferError) as error:
            return self._transfer_failed(f"download of {remote_filename} failed: {error}")
        if print_output:
            echo(f"{self.host.print_prefix}file downloaded: {remote_filename}", err=True)
        return True

    def check_can_rsync(self) -> None:
        raise NotImplementedError("@winssh cannot use rsync: Windows has none; use put_file")

    # ---- text

    def _decode(self, line: bytes) -> str:
        with self._codec_lock:
            if self._codec is None:
                self._codec = "cp437"  # where the host gives no answer
                with suppress(CommandTimeoutError):
                    output = self._run(text.CODE_PAGE_QUERY, timeout=30, nested=True)
                    self._codec = text.code_page(output.stdout_lines)
        return line.decode(self._codec, "backslashreplace")


def check_arguments(arguments: dict[str, Any]) -> None:
    """Raises RefusedArgumentError for the first argument that @winssh cannot honour."""
    for name, value in arguments.items():
        if name in REFUSED:
            if value:
                raise RefusedArgumentError(f"{name} cannot be honoured on Windows (@winssh): remove it for this host")
        elif name not in HONOURED and name not in PASSED_BY:
            raise RefusedArgumentError(f"{name} is not an argument that @winssh knows")


def render(command: StringCommand | str, *, masked: bool = False) -> str:
    """The command as one text, with `QuoteString` by Windows' rules; `masked` hides secrets, for the screen."""
    if isinstance(command, str):
        return command
    bits = [_bit(bit, masked) for bit in command.bits]
    return str(command.separator).join(bits)


def _bit(bit: Any, masked: bool) -> str:
    if isinstance(bit, QuoteString):
        return quoting.quote(_bit(bit.obj, masked))
    if isinstance(bit, StringCommand):
        return render(bit, masked=masked)
    if isinstance(bit, HiddenValue) and not masked:
        return str(bit.unmask())
    return str(bit)


def _plain_environment(env: Any) -> dict[str, str]:
    return {
        str(name): str(value.unmask() if isinstance(value, HiddenValue) else value)
        for name, value in (env or {}).items()
    }


def _shell(name: Any) -> str:
    if name in _CMD:
        return "cmd"
    if str(name).lower() in _POWERSHELL:
        return "powershell"
    raise RefusedArgumentError(f"_shell_executable={name} cannot be honoured on Windows: cmd or powershell")


def _unsigned(codes: Any) -> set[int]:
    """Exit codes as hosts report them: -1 is 4294967295."""
    return {code % 2**32 for code in codes}
