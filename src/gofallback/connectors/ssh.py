"""The base of `@winssh` and `@linssh`: one command line on their connection, and its output."""

from __future__ import annotations

import time
from collections.abc import Callable

from pyinfra.api.output import echo, format_text
from pyinfra.connectors.util import OutputLine

from gofallback.connectors.channel import End, run_to_end
from gofallback.connectors.connection import LostConnectionError, OneConnection
from gofallback.connectors.output import CommandTimeoutError, Lines, RemoteOutput, collect


class LineConnector(OneConnection):
    """Runs command lines as they stand; the subclasses make them."""

    signal = "TERM"
    """Sent to a command that takes too long."""

    def _run(
        self,
        line: str,
        *,
        stdin: bytes = b"",
        timeout: float | None = None,
        pty: bool = False,
        print_output: bool = False,
        nested: bool = False,
        on_stdout: Callable[[bytes], None] | None = None,
    ) -> RemoteOutput:
        """Run one command line as it stands. A broken connection sets `output.lost` and adds one line to stderr.

        `nested`: another command waits for this one, which therefore needs no slot of its own.
        `on_stdout`: gets standard output as it comes, in place of the lines of the output.

        Raises CommandTimeoutError.
        """
        started = time.monotonic()
        lines: list[OutputLine] = []
        take = collect(lines, self.show if print_output else None)
        stdout, stderr = Lines("stdout", self._decode, take), Lines("stderr", self._decode, take)
        try:
            end = self._channel(
                lambda channel: run_to_end(
                    channel,
                    line,
                    stdin=stdin,
                    on_stdout=on_stdout or stdout.feed,
                    on_stderr=stderr.feed,
                    timeout=timeout,
                    pty=pty,
                    signal=self.signal,
                ),
                nested=nested,
            )
        except LostConnectionError as error:
            take("stderr", [str(error)])
            return RemoteOutput(lines, lost=True, seconds=time.monotonic() - started, reason=str(error))
        stdout.end()
        stderr.end()
        reason = "" if end.exit_code is not None else self._why_no_exit_code(end, timeout)
        if reason:
            take("stderr", [f"{reason}; whether it finished there is not known" if end.lost else reason])
        output = RemoteOutput(lines, end.exit_code, end.timed_out, end.lost, time.monotonic() - started, reason)
        if end.timed_out:
            raise CommandTimeoutError(reason, output)
        return output

    def stream(
        self, line: str, *, stdin: bytes, timeout: float | None, on_stdout: Callable[[bytes], None]
    ) -> RemoteOutput:
        """Run one command line as it stands and hand its standard output on, in pieces, as it comes.

        Args:
            line: for the shell that sshd starts there.
            stdin: its standard input.
            timeout: seconds.
            on_stdout: gets the bytes; what it raises closes the command's channel and passes through.

        Returns:
            How it ended, with the lines of standard error. Nothing is raised for what a host does.
        """
        try:
            return self._run(line, stdin=stdin, timeout=timeout, on_stdout=on_stdout)
        except CommandTimeoutError as error:
            return error.output

    def lines(self, name: str, take: Callable[[str, list[str]], None]) -> Lines:
        """Cuts and decodes a stream's bytes as this host encodes them; `take` gets name and lines."""
        return Lines(name, self._decode, take)

    def _why_no_exit_code(self, end: End, timeout: float | None) -> str:
        if end.timed_out:
            what = "was ended" if end.gone else "did not end on its signal (OpenSSH 7.9 can send it): it may still run"
            return f"the command took longer than {timeout:g} s and {what}"
        if end.lost:
            return f"the connection to {self.host.name} broke while the command ran ({self._broken_reason()})"
        return f"the command on {self.host.name} was killed: it ended without an exit status"

    def _decode(self, line: bytes) -> str:
        """A line that is not UTF-8."""
        return line.decode("utf-8", "backslashreplace")

    def show(self, name: str, line: str) -> None:
        """Show a line of a command's output on the screen, as `print_output` does; `name` is the stream's."""
        echo(f"{self.host.print_prefix}{format_text(line, 'red') if name == 'stderr' else line}", err=True)

    def _failed(self, line: str, print_output: bool) -> tuple[bool, RemoteOutput]:
        """The result of a command that was not run; the line is shown where pyinfra would not print it."""
        if print_output:
            self.show("stderr", line)
        return False, RemoteOutput([OutputLine("stderr", line)])

    def _transfer_failed(self, line: str) -> bool:
        """Log why a file was not transferred; False, for `put_file` and `get_file` to return."""
        self.host.log_styled(line, fg="red")
        return False
