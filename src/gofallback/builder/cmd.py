"""The steps of `gofallback.builder.shell.Shell` for cmd.exe. Pure.

Where a rule of cmd.exe decides how a line is written, `gofallback.windows.quoting` has its source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gofallback.builder.paths import MARKER, join, literal, name, parent
from gofallback.windows.quoting import COMMAND_LIMIT, change_folder, command_line, length, quote

#: Variables that are read; never the whole environment, which may hold secrets.
VARIABLES = ("SystemRoot", "SystemDrive", "ProgramFiles", "PROCESSOR_ARCHITECTURE", "NUMBER_OF_PROCESSORS", "USERNAME")
#: Programs in System32 that Windows 10 1803 and Server 2019 brought, and that provisioning needs.
TOOLS = ("tar.exe", "curl.exe", "certutil.exe")
#: SHA-256 of nothing: certutil cannot map an empty file and fails with ERROR_FILE_INVALID.
EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

_SYSTEM32 = "%SystemRoot%\\System32"
_ONE_LINE = COMMAND_LIMIT - 1500
"""Longest command sent as one line; the environment comes on top. A longer one goes as a batch file."""


@dataclass(frozen=True)
class Cmd:
    """Steps for cmd.exe; `gofallback.builder.shell.Shell` documents the methods."""

    def command(self, argv: Sequence[str]) -> str:
        return command_line(argv)

    def script(self, steps: Sequence[str], *, always: bool = False) -> str:
        every = [*steps, "exit 0"] if always else list(steps)
        line = "& ".join(every)
        return line if length(line) < _ONE_LINE else "\n".join(every)

    def enter(self, folder: str) -> str:
        return change_folder(folder)

    def then(self, step: str, *after: str) -> str:
        return f"{step}&& ({'& '.join(after)})"

    def or_exit(self, step: str, what: str) -> str:
        # The name is ours or a path of a repository, and cannot be quoted: cmd.exe's special characters are left out.
        plain = "".join(character for character in what if character not in '&|<>^%!"()')
        return f"{step}|| (echo @failed {plain}& exit 1)"

    def quiet(self, step: str) -> str:
        return f"{step} >nul"

    def prepared(self, line: str, environment: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        return line, dict(environment)  # to `set` an empty value is to remove the variable

    def echo(self, text: str) -> str:
        return f"echo {text}"

    def if_there(self, path: str, step: str) -> str:
        return f"(if exist {literal(path)} {step})"

    def unless_there(self, path: str, step: str) -> str:
        return f"(if not exist {literal(path)} {step})"

    def show(self, path: str) -> str:
        return f"(if exist {literal(path)} type {literal(path)})& echo."

    def hash(self, path: str) -> str:
        file = literal(path)
        hashed = f"@if %~zF==0 (echo {EMPTY_SHA256}) else ({certutil(path)})"
        return f"(if exist {file} (for %F in ({file}) do {hashed}))"

    def measure(self, path: str) -> str:
        return f"(if exist {literal(path)} (for %F in ({literal(path)}) do @echo @size %~zF)& {certutil(path)})"

    def list_files(self, folder: str) -> str:
        # `for /r` leaves hidden files out, and git hides what begins with a dot (core.hideDotFiles).
        return f"(for /f \"delims=\" %F in ('dir /a-d /s /b {literal(folder)} 2^>nul') do @echo %~zF %F)"

    def check_files(self, listing: str, folder: str) -> str:
        wrong = f'(for %F in ("{folder}\\%B") do @if not "%~zF"=="%A" echo @missing %B)'
        return f'(for /f "usebackq tokens=1,2" %A in ("{listing}") do @{wrong})'

    def make(self, folder: str) -> str:
        return f"(if not exist {_folder(folder)} mkdir {literal(folder)})"

    def check_folders(self, folders: Sequence[str]) -> str:
        # Numbers, not paths: no quotes protect a path's & or brackets in `echo`.
        return "& ".join(f"(if not exist {_folder(path)} echo @missing {index})" for index, path in enumerate(folders))

    def remove(self, folder: str) -> str:
        return f"(if exist {literal(folder)} rmdir /s /q {literal(folder)})"

    def delete(self, path: str) -> str:
        return f"(del /f /q {literal(path)} 2>nul& ver >nul)"

    def delete_parts(self, path: str) -> str:
        return f"(del /f /q {literal(path + '.*')} 2>nul& ver >nul)"

    def sweep(self, folder: str, prefix: str) -> str:
        # The wildcard is relative: Wine honours no quotes around one.
        return f"cd /d {literal(folder)} && (for /d %D in ({prefix}*) do @rmdir /s /q %D)"

    def remove_aside(self, path: str, aside: str) -> str:
        moved = f"(if exist {_folder(parent(aside))} move {literal(path)} {literal(aside)} >nul 2>nul)"
        gone = [f"(if exist {_folder(one)} rmdir /s /q {literal(one)})" for one in (aside, path)]
        files = [f"(if exist {literal(one)} del /f /q {literal(one)})" for one in (aside, path)]
        return "& ".join([moved, *gone, *files, f"(if exist {literal(path)} echo @there)"])

    def copy(self, source: str, target: str) -> str:
        return f"copy /y {literal(source)} {literal(target)} >nul"

    def replace(self, source: str, target: str) -> str:
        return f"move /y {literal(source)} {literal(target)} >nul"

    def write(self, path: str, line: str) -> str:
        return f">{literal(path)} echo {line}"

    def put_in_place(
        self, new: str, final: str, proofs: Sequence[str], *, mark: str | None = None, aside: str | None = None
    ) -> str:
        # A second attempt must not touch what the first one has put in place although its answer was lost.
        ready, target = f"if exist {_folder(new)}", literal(final)
        away = f"move {target} {literal(aside)} >nul" if aside else f"rmdir /s /q {target}"
        proven = " ".join(f"if exist {literal(join(final, proof))}" for proof in proofs)
        steps = [
            *([f"({ready} ({mark}))"] if mark else []),
            f"({ready} if exist {target} {away})",
            self.make(parent(final)),
            # `move` onto a folder that is still there would put the new one into it.
            f"({ready} if not exist {target} move {literal(new)} {target} >nul)",
            f"({proven} if not exist {literal(new)} echo @done)",
        ]
        return "& ".join(steps)

    def claim(self, new: str, final: str) -> str:
        moved = self.unless_there(final, f"move {literal(new)} {literal(final)} >nul")
        return f"{self.make(parent(final))}& {moved}& {self.remove(join(final, name(new)))}"

    def prune(self, newest: str, keep: int) -> str:
        folder = literal(parent(newest))
        listed = f"'dir /b /ad /o-d {folder} 2^>nul'"
        removed = f"@if /i not %D=={name(newest)} rmdir /s /q {folder}\\%D"
        return f'(for /f "skip={keep} delims=" %D in ({listed}) do {removed})'

    def unpack(self, archive: str, folder: str) -> str:
        return f'"{_SYSTEM32}\\tar.exe" -xf {literal(archive)} -C {literal(folder)}'

    def unpack_tools(self, archive: str) -> Sequence[Sequence[str]]:
        return [["tar.exe"]]

    def download(self, url: str, part: str, final: str) -> str:
        options = "--fail --silent --show-error --location --retry 2 --connect-timeout 20"
        curl = f'"{_SYSTEM32}\\curl.exe" {options} --output {literal(part)} {quote(url)}'
        return f"{curl} && {self.replace(part, final)}"

    def free(self, root: str) -> str:
        return f"dir /-c /ad {literal(root)}"

    def state(self, root: str) -> str:
        r"""One command line, well below cmd's 8,191 characters.

        Only parts of cmd.exe itself and, where it exists, the machine-wide ``git.exe`` run; nothing is changed. The
        output's sections begin with ``@@name``; ``@@end`` proves that nothing was cut off.
        """
        top = literal(root + "\\")
        parts = [
            "echo @@version& ver",
            "echo @@environment",
            *(f"2>nul set {variable}" for variable in VARIABLES),
            "echo @@tools",
            *(f'(if exist "{_SYSTEM32}\\{tool}" echo {tool})' for tool in TOOLS),
            'echo @@go& (if exist "%ProgramFiles%\\Go\\bin\\go.exe" type "%ProgramFiles%\\Go\\VERSION" 2>nul)',
            'echo @@git& (if exist "%ProgramFiles%\\Git\\cmd\\git.exe" "%ProgramFiles%\\Git\\cmd\\git.exe" --version)',
            # Other tools that print free bytes need an administrator (fsutil) or were removed (wmic).
            # The root may be the mount point of a disk of its own.
            f"echo @@free& (if exist {top} ({self.free(root)}) else (dir /-c /ad {root[:2]}\\))",
            # Loops run over relative names: quotes around a wildcard in `for` are honoured by Windows but not by Wine.
            f"(if not exist {top} (echo @@end& exit 0))& cd /d {literal(root)} || (echo @@unreadable& exit 0)",
            "echo @@folders",
            _each("*", "echo %~nxD"),
            _each("cache\\*", "echo cache\\%~nxD"),
            "echo @@toolchains",
            _each(
                "toolchains\\*",
                f'(echo @d %~nxD& type "%~fD\\{MARKER}" 2>nul'
                '& (if exist "%~fD\\bin\\go.exe" echo @x go)& (if exist "%~fD\\cmd\\git.exe" echo @x git)'
                '& (if exist "%~fD\\zig.exe" echo @x zig))',
            ),
            "echo @@leftovers",
            _each("tmp\\*", "echo %~nxD"),
            "(for %F in (tmp\\*) do @echo %~nxF)",
            "echo @@downloads",
            "(for %F in (downloads\\*) do @echo %~zF %~nxF)",
            "echo @@mirrors",
            _each("mirrors\\*", '(echo @d %~nxD& type "%~fD\\packed-refs" 2>nul)'),
            "echo @@checkouts",
            "(for /d %S in (work\\*) do @for /d %K in (work\\%~nxS\\*) do @echo %~nxS %~nxK)",
            "echo @@end",
            # `type` of a missing file leaves an error level; @@end decides whether this command succeeded.
            "exit 0",
        ]
        return "& ".join(parts)


def certutil(path: str) -> str:
    """The command line that prints a file's SHA-256."""
    return f'"{_SYSTEM32}\\certutil.exe" -hashfile {literal(path)} SHA256'


def _each(folders: str, body: str) -> str:
    # The parentheses end the loop's body, which would take in everything after the next `&`.
    return f"(for /d %D in ({folders}) do @{body})"


def _folder(path: str) -> str:
    # A trailing backslash is true for folders only.
    return literal(path + "\\")
