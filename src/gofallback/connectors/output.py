"""The output of a command: cut into lines, decoded, collected, and how the command ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pyinfra.connectors.util import CommandOutput, OutputLine


@dataclass
class RemoteOutput(CommandOutput):
    """pyinfra's output of a command, and how the command ended.

    Attributes:
        exit_code: all 32 bits, unsigned, as the host reported it; None if it reported none.
        timed_out: the command took longer than `_timeout`; the last line says whether it was ended.
        lost: the connection broke while it ran; it may or may not have gone on.
        seconds: how long it took.
        reason: why there is no exit code; one line.
    """

    exit_code: int | None = None
    timed_out: bool = False
    lost: bool = False
    seconds: float = 0.0
    reason: str = ""


class CommandTimeoutError(TimeoutError):
    """A command took longer than its `_timeout`. `output` has its output until then; the last line says so."""

    def __init__(self, message: str, output: RemoteOutput) -> None:
        super().__init__(message)
        self.output = output


@dataclass
class Lines:
    """Cuts the bytes of a stream into lines, decodes them, and hands them on.

    Arguments:
        name: `stdout` or `stderr`.
        decode: makes text of a line that is not UTF-8.
        take: gets the name and the finished lines.
    """

    name: str
    decode: Callable[[bytes], str]
    take: Callable[[str, list[str]], None]
    _rest: list[bytes] = field(default_factory=list)

    def feed(self, data: bytes) -> None:
        cut = data.rfind(b"\n")
        if cut < 0:
            self._rest.append(data)
            return
        block = b"".join([*self._rest, data[:cut]])
        self._rest = [data[cut + 1 :]] if cut + 1 < len(data) else []
        self.take(self.name, self._split(block))

    def end(self) -> None:
        if self._rest:
            block, self._rest = b"".join(self._rest), []
            self.take(self.name, self._split(block))

    def _split(self, block: bytes) -> list[str]:
        try:
            text = block.decode("utf-8")
        except UnicodeDecodeError:
            # Programs that write UTF-8 and cmd's own texts may be mixed: each line is decoded alone.
            return [self._decode_line(line) for line in block.split(b"\n")]
        return [line.rstrip("\r") for line in text.split("\n")] if "\r" in text else text.split("\n")

    def _decode_line(self, line: bytes) -> str:
        line = line.rstrip(b"\r")
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError:
            return self.decode(line)


def collect(lines: list[OutputLine], show: Callable[[str, str], None] | None) -> Callable[[str, list[str]], None]:
    """A `take` for `Lines`: appends the lines to the list, and shows them if `show` is given."""

    def take(name: str, texts: list[str]) -> None:
        lines.extend(OutputLine(name, text) for text in texts)
        if show:
            for text in texts:
                show(name, text)

    return take
