r"""cmd.exe's rules, only here: quoting, environment, folder, batch files. Pure.

Two programs parse a command line, one after the other: cmd.exe (metacharacters, ``^``, ``%``), then the program's own C
runtime (quotes and backslashes). The library ``mslex`` has the rules of the second; this module adds the first:

* ``%`` cannot be escaped inside quotes, so an argument with ``%``, ``!`` or ``"`` is written with every metacharacter
  behind a caret.
* ``^%`` alone does not stop ``%PATH:~0,3%``; a caret *behind* the ``%`` as well does, since it makes the variable's
  name start with ``^``.
* A batch file has another rule: ``%`` is written ``%%``. Only ``batch`` uses it.

Sources: https://learn.microsoft.com/windows-server/administration/windows-commands/cmd (``/s``, ``/c``, special
characters) and https://learn.microsoft.com/cpp/c-language/parsing-c-command-line-arguments (the C runtime).

Limits that come from cmd.exe: no argument, name or value can hold a line break; an empty variable does not exist; and
on both sides of a ``|`` cmd parses the text twice, so an argument with ``%``, ``!`` or ``"`` does not survive there.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence

import mslex

from gofallback.errors import GofallbackError

LINE_LIMIT = 8191
"""Longest line cmd.exe reads, in UTF-16 units:
https://learn.microsoft.com/troubleshoot/windows-client/shell-experience/command-line-string-limitation."""

COMMAND_LIMIT = 8000
r"""Longest command sent as one line: sshd puts ``"c:\windows\system32\cmd.exe" /c "..."`` around it, and %..% grows."""

CMD = r"%SystemRoot%\System32\cmd.exe"
POWERSHELL = r"%SystemRoot%\System32\WindowsPowerShell\v1.0\powershell.exe"

_UTF8 = "(chcp 65001||ver)>nul"
"""``ver`` resets the status of a ``chcp`` that failed: the next command may not set one."""

_META = frozenset('()%!^"<>&|')
_DELIMITERS = re.compile(r"[,;=]")
_BREAK = re.compile(r"[\r\n\0]")
_EXPANSION = re.compile(r"%[A-Za-z_][\w().-]*(?::[^%^\r\n]*)?%")


class QuotingError(GofallbackError):
    """A text that cannot be given to cmd.exe."""


def length(text: str) -> int:
    """Length as Windows counts it: UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def quote(argument: str) -> str:
    """One argument, quoted for cmd.exe, so that the program gets ``argument`` unchanged.

    Raises QuotingError if the argument holds a line break or NUL.
    """
    _refuse_breaks("argument", argument)
    if not argument:
        return '""'
    if any(character in argument for character in '%!"'):
        quoted = str(mslex.quote(argument, for_cmd=False))
        # A last % would begin a variable's name with the blank behind it; an empty pair of quotes takes its place.
        return escape(quoted + '""' if quoted.endswith("%") else quoted)
    if _DELIMITERS.search(argument) and not re.search(r"\s", argument):
        # cmd's own commands and batch files split at these; programs do not.
        return '"' + re.sub(r"(\\+)$", r"\1\1", argument) + '"'
    return str(mslex.quote(argument))


def command_line(argv: Sequence[str]) -> str:
    """A program (a path or a name) and its arguments as one command line.

    Raises QuotingError if there is no program, if the program's path holds ``"`` or ``%`` (cmd.exe cannot name such a
    program), or for an argument that cannot be carried.
    """
    if not argv or not argv[0]:
        raise QuotingError("command line: there is no program in it")
    program = argv[0]
    _refuse_breaks("program", program)
    if '"' in program or "%" in program:
        raise QuotingError(f'program {program}: cmd.exe cannot start a path with " or % in it; rename the folder')
    if re.search(r"[\s&()^!,;=']", program):
        program = f'"{program}"'
    return " ".join([program, *map(quote, argv[1:])])


def escape(text: str) -> str:
    """``text`` with carets: cmd.exe, parsing it once, expands, redirects and splits nothing."""
    out: list[str] = []
    after_percent = False
    for character in text:
        out.append("^" + character if character in _META or after_percent else character)
        after_percent = character == "%"
    return "".join(out)


def set_variable(name: str, value: str) -> str:
    """The ``set`` command for one variable; an empty value removes it, as Windows has no empty ones.

    Raises QuotingError for a name that cmd.exe cannot set and for a value with a line break (the value is not shown).
    """
    if not name or re.search(r'[=%!"\s\0^&|<>()]', name):
        raise QuotingError(f"environment variable {name!r}: cmd.exe cannot set a variable of that name")
    if _BREAK.search(value):
        raise QuotingError(f"environment variable {name}: its value has a line break, which cmd.exe cannot carry")
    if not value:
        return f'(set "{name}="||ver>nul)'  # status 1 if there was none, which the next command must not inherit
    if any(character in value for character in '%!"'):
        return f"set {name}=" + escape(value)
    return f'set "{name}={value}"'


def change_folder(folder: str) -> str:
    r"""The commands that go to ``folder`` (``/d``: on any drive) or end the shell with status 1.

    Raises QuotingError if the path holds ``"`` or a line break: no folder has such a name.
    """
    _refuse_breaks("folder", folder)
    if '"' in folder:
        raise QuotingError(f'folder {folder}: a Windows path cannot hold "')
    path = '"' + folder.replace("/", "\\") + '"'
    return f"cd /d {escape(path) if '%' in path else path}|| exit 1"


def with_environment(command: str, env: Mapping[str, str] | None = None, folder: str | None = None) -> str:
    """A command line that runs ``command`` with ``env`` added to the environment and in ``folder``.

    cmd.exe expands a whole line before it runs any of it, so a command that reads one of the variables set here runs
    in a second cmd.exe. Where nothing is to be set the command stays as it is: the SSH service already runs it through
    ``cmd.exe /c``. A line with other than ASCII characters first switches the output to UTF-8.

    Raises QuotingError if the command has several lines (see ``needs_batch``) or something in it cannot be carried.
    """
    if _BREAK.search(command):
        raise QuotingError("command: has several lines; they need a batch file")
    first = [set_variable(name, value) for name, value in (env or {}).items()]
    if folder:
        first.append(change_folder(folder))
    if _reads_set_variable(command, env, folder):
        command = f"{CMD} /d /s /c " + escape(f'"{command}"')
    line = "&".join([*first, command])
    return line if line.isascii() else f"{_UTF8}&{line}"


def needs_batch(command: str, env: Mapping[str, str] | None = None, folder: str | None = None) -> bool:
    """Whether the command has to be uploaded as a batch file: several lines, too long, or a ``%`` on both sides.

    Wine at least would read a single ``%`` in a value and the ``%`` of the command as a pair around a name.
    """
    if "\n" in command or "\r" in command:
        return True
    values = "".join([*(env or {}).values(), folder or ""])
    if "%" in values and "%" in command:
        return True
    return length(with_environment(command, env, folder)) > COMMAND_LIMIT


def batch(commands: str, env: Mapping[str, str] | None = None, folder: str | None = None) -> tuple[str, dict[str, str]]:
    """The text of a batch file that runs ``commands``, line by line, and the variables to set before it is called.

    Each line is written as for the command line (see ``quote``). The text is ASCII: the host decides the code page in
    which cmd.exe reads batch files, so other characters go through the variables. It ends with the status of
    the last command that set one.

    Raises QuotingError if a single line is longer than cmd.exe reads (8,191), or something in it cannot be carried.
    """
    lines = [set_variable(name, value) for name, value in (env or {}).items()]
    if folder:
        lines.append(change_folder(folder))
    lines += [line for line in re.split(r"\r\n|\r|\n", commands) if line.strip()]
    for line in lines:
        if length(line) >= LINE_LIMIT:
            raise QuotingError(
                f"command: one line of it has {length(line)} characters, cmd.exe reads {LINE_LIMIT - 1} at most;"
                " split it into several commands, or pass the data in a file or on stdin"
            )
    variables: dict[str, str] = {}
    names: dict[str, str] = {}

    def by_variable(match: re.Match[str]) -> str:
        text = match.group()
        if text not in names:
            names[text] = f"GOFALLBACK_TEXT{len(names)}"
            variables[names[text]] = text
        return f"%{names[text]}%"

    body = [re.sub(r"[^\x00-\x7f]+", by_variable, _translate(line)) for line in lines]
    return "\r\n".join(["@echo off", *body, "exit %errorlevel%", ""]), variables


def powershell(script: str) -> str:
    """The command line that runs ``script`` in Windows PowerShell, whatever characters it has.

    Raises QuotingError if the line gets too long for cmd.exe (scripts of about 2,900 characters and more).
    """
    quiet = "$ProgressPreference='SilentlyContinue';" + script
    encoded = base64.b64encode(quiet.encode("utf-16-le")).decode("ascii")
    line = f"{POWERSHELL} -NoLogo -NoProfile -NonInteractive -EncodedCommand {encoded}"
    if length(line) > COMMAND_LIMIT:
        raise QuotingError(
            f"PowerShell script: {len(script)} characters make a command line of {length(line)},"
            f" {COMMAND_LIMIT} is the most; upload it as a file"
        )
    return line


def _refuse_breaks(what: str, text: str) -> None:
    if _BREAK.search(text):
        raise QuotingError(f"{what} {text!r}: has a line break or NUL, which cmd.exe cannot carry")


def _reads_set_variable(command: str, env: Mapping[str, str] | None, folder: str | None) -> bool:
    """Whether the command expands a variable that the same line sets."""
    read = {match.group()[1:-1].split(":")[0].upper() for match in _EXPANSION.finditer(command)}
    return bool(read & ({name.upper() for name in env or {}} | ({"CD", "ERRORLEVEL"} if folder or env else set())))


def _translate(line: str) -> str:
    """A command line, written for a batch file: ``%i`` becomes ``%%i``, ``%NAME%`` stays."""
    out: list[str] = []
    position = 0
    while position < len(line):
        if line.startswith("^%", position):
            position += 2
            # ``^%^X`` of ``escape``: the second caret only keeps the name from being one.
            out.append("%%")
            if line.startswith("^", position) and position + 1 < len(line) and line[position + 1] not in _META:
                position += 1
        elif line[position] == "%":
            expansion = _EXPANSION.match(line, position)
            out.append(expansion.group() if expansion else "%%")
            position = expansion.end() if expansion else position + 1
        else:
            out.append(line[position])
            position += 1
    return "".join(out)
