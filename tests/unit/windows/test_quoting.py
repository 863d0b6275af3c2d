"""What cmd.exe and the C runtime make of a quoted line, by a small model of both readers.

The model follows the description of cmd's phases (percent expansion, then carets and quotes); a real cmd.exe reads the
same lines in tests/lab/test_winssh_contract.py.
"""

from __future__ import annotations

import re

import mslex
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gofallback.windows import quoting, text
from gofallback.windows.quoting import QuotingError

NASTY = [
    "",
    "plain",
    "two words",
    "a&b|c<d>e(f)",
    "100%",
    "%PATH%",
    "%PATH:~0,3%",
    "%PATH:a=b%",
    "%%i",
    'say "hello"',
    '"',
    'a\\"b',
    "C:\\Program Files\\",
    "C:\\x\\",
    "\\\\server\\share\\",
    "!x!",
    "^",
    "^%",
    'a^"b%c&d',
    "-ldflags=-s -w -X main.version=v1.0",
    "a,b;c=d",
    "构建 机",
    'файл "100%"',
    "\t",
    "trailing ",
]
# Everything but line breaks and NUL, with a liking for what means something to cmd.
ANY_TEXT = st.text(
    st.one_of(
        st.sampled_from('%^&|<>()!" \\,;=PATH:~0n'),
        st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]),
    ),
    max_size=20,
)


def expand(line: str, variables: dict[str, str] | None = None) -> str:
    """Phase 1 on the command line: every name is a variable, unless it starts with a caret; then the % stays."""
    known = {name.upper(): value for name, value in (variables or {}).items()}

    def value(match: re.Match[str]) -> str:
        name = match.group(1).split(":")[0].upper()
        return known.get(name, "EXPANDED & BROKEN")

    return re.sub(r"%(?!\^)([^%\r\n]+)%", value, line)


def expand_in_batch(line: str, variables: dict[str, str]) -> str:
    """Phase 1 in a batch file: %% is %, everything else is a variable, by default an empty one."""
    known = {name.upper(): value for name, value in variables.items()}
    return re.sub(r"%%|%([^%\r\n]*)%", lambda m: "%" if m.group() == "%%" else known.get(m.group(1).upper(), ""), line)


def read(line: str) -> str:
    """Phase 2: carets and quotes. Fails where a metacharacter would act."""
    out, quoted, position = [], False, 0
    while position < len(line):
        character = line[position]
        if character == "^" and not quoted:
            position += 1
            out.append(line[position])
        else:
            assert quoted or character not in "&|<>", f"{character} acts in {line}"
            quoted ^= character == '"'
            out.append(character)
        position += 1
    return "".join(out)


def arguments(line: str) -> list[str]:
    """What the program gets. mslex raises where the old and the new C runtime disagree."""
    return mslex.split(line, like_cmd=False)


@pytest.mark.parametrize("argument", NASTY)
def test_a_program_gets_the_argument_unchanged(argument: str) -> None:
    line = quoting.command_line(["go.exe", argument, "end"])
    assert arguments(read(expand(line))) == ["go.exe", argument, "end"]


@given(ANY_TEXT, ANY_TEXT)
@example("%", "%")
def test_no_text_is_expanded_split_or_redirected(first: str, second: str) -> None:
    line = quoting.command_line(["go.exe", first, second])
    assert arguments(read(expand(line))) == ["go.exe", first, second]


@given(ANY_TEXT, ANY_TEXT, st.sampled_from(["", "C:\\work", "D:/a b"]))
def test_a_batch_file_says_the_same(first: str, second: str, folder: str) -> None:
    content, variables = quoting.batch(quoting.command_line(["go.exe", first, second]), folder=folder or None)
    assert content.isascii()
    command = content.split("\r\n")[-3]
    assert arguments(read(expand_in_batch(command, variables))) == ["go.exe", first, second]


@given(ANY_TEXT.filter(bool))
def test_a_variable_gets_the_value_unchanged(value: str) -> None:
    line = read(expand(quoting.set_variable("NAME", value)))
    got = re.fullmatch(r'set (?:"NAME=(.*)"|NAME=(.*))', line, re.DOTALL)
    assert got is not None
    assert (got.group(1) if got.group(1) is not None else got.group(2)) == value


@given(ANY_TEXT)
def test_text_behind_carets_is_read_as_it_was(value: str) -> None:
    assert read(expand(quoting.escape(value))) == value


def test_a_command_without_environment_is_sent_as_it_is() -> None:
    assert quoting.with_environment('dir "C:\\x" | findstr go') == 'dir "C:\\x" | findstr go'


def test_environment_and_folder_come_before_the_command() -> None:
    line = quoting.with_environment("go version", {"GOFLAGS": "-mod=mod", "GOOS": "linux"}, "C:/work/a b")
    assert line == 'set "GOFLAGS=-mod=mod"&set "GOOS=linux"&cd /d "C:\\work\\a b"|| exit 1&go version'


def test_a_command_that_reads_a_variable_set_with_it_reads_the_new_value() -> None:
    line = quoting.with_environment('echo "%GOOS%" & ver', {"GOOS": "linux"})
    outer = read(expand(line, {"SystemRoot": "C:\\Windows"}).split("&", 1)[1])
    assert outer == 'C:\\Windows\\System32\\cmd.exe /d /s /c "echo "%GOOS%" & ver"'


def test_a_command_that_reads_other_variables_needs_no_second_shell() -> None:
    line = quoting.with_environment(r"%SystemRoot%\System32\tar.exe -xf x.zip", {"GOOS": "linux"})
    assert line == r'set "GOOS=linux"&%SystemRoot%\System32\tar.exe -xf x.zip'


def test_other_than_ascii_text_asks_for_utf8_and_leaves_no_status_behind() -> None:
    assert quoting.with_environment("mkdir 构建") == "(chcp 65001||ver)>nul&mkdir 构建"


def test_an_empty_value_removes_the_variable_and_leaves_no_status_behind() -> None:
    assert quoting.set_variable("GOFLAGS", "") == '(set "GOFLAGS="||ver>nul)'


@pytest.mark.parametrize(
    ("command", "env", "folder", "wanted"),
    [
        ("go version", {}, None, False),
        ("echo a\necho b", {}, None, True),
        ("echo " + "x" * 8000, {}, None, True),
        ("go version", {"A": "x" * 8000}, None, True),
        ("echo %OS%", {"A": "100%"}, None, True),
        ("echo %OS%", {}, "C:\\100%", True),
        ("echo 100", {"A": "100%"}, None, False),
    ],
)
def test_only_what_does_not_fit_one_line_is_uploaded(
    command: str, env: dict[str, str], folder: str | None, wanted: bool
) -> None:
    assert quoting.needs_batch(command, env, folder) is wanted


def test_a_batch_file_keeps_variables_and_doubles_the_rest() -> None:
    content, variables = quoting.batch("for %i in (a b) do @echo %i %PATH% 100%\n\necho 构建 构建", {"K": "50%"})
    assert content.split("\r\n") == [
        "@echo off",
        "set K=50%%",
        "for %%i in (a b) do @echo %%i %PATH% 100%%",
        "echo %GOFALLBACK_TEXT0% %GOFALLBACK_TEXT0%",
        "exit %errorlevel%",
        "",
    ]
    assert variables == {"GOFALLBACK_TEXT0": "构建"}


def test_one_line_longer_than_cmd_reads_is_refused_with_its_length() -> None:
    with pytest.raises(QuotingError, match=r"9005 characters.*8190 at most.*split it"):
        quoting.batch("echo ok\necho " + "x" * 9000)


@pytest.mark.parametrize(
    ("refused", "because"),
    [
        (lambda: quoting.quote("a\nb"), "line break"),
        (lambda: quoting.quote("a\0b"), "NUL"),
        (lambda: quoting.command_line([]), "no program"),
        (lambda: quoting.command_line(['a"b.exe']), "rename the folder"),
        (lambda: quoting.command_line(["%TEMP%\\a.exe"]), "rename the folder"),
        (lambda: quoting.set_variable("A B", "x"), "cannot set a variable of that name"),
        (lambda: quoting.set_variable("A", "x\ny"), "variable A: its value has a line break"),
        (lambda: quoting.change_folder('C:\\"x"'), "cannot hold"),
        (lambda: quoting.powershell("x" * 4000), "upload it as a file"),
    ],
)
def test_what_cmd_cannot_carry_is_refused_by_name(refused: object, because: str) -> None:
    with pytest.raises(QuotingError, match=because) as caught:
        refused()  # type: ignore[operator]
    assert "\n" not in str(caught.value)


def test_a_refused_value_is_not_shown() -> None:
    with pytest.raises(QuotingError) as caught:
        quoting.set_variable("TOKEN", "secret\nsecond")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "codec"),
    [
        (["Active code page: 850", "    ACP    REG_SZ    1252", "    OEMCP    REG_SZ    850"], "cp850"),
        (["活动代码页: 936"], "cp936"),
        (["Aktive Codepage: 65001."], "utf-8"),
        (["Active code page: 0", "    ACP    REG_SZ    1252", "    OEMCP    REG_SZ    437"], "cp1252"),
        (["", "    ACP    REG_SZ    1252", "    OEMCP    REG_SZ    852"], "cp852"),
        (["Active code page: 99999"], "cp437"),
        ([], "cp437"),
    ],
)
def test_the_code_page_is_read_from_any_language_of_windows(answer: list[str], codec: str) -> None:
    assert text.code_page(answer) == codec


@pytest.mark.parametrize(
    ("windows", "sftp"),
    [
        ("C:\\gofallback\\out", "/C:/gofallback/out"),
        ("C:/x y", "/C:/x y"),
        ("d:\\构建", "/d:/构建"),
        ("x.txt", "x.txt"),
    ],
)
def test_paths_go_to_sftp_and_back(windows: str, sftp: str) -> None:
    assert text.sftp_path(windows) == sftp
    assert text.windows_path(sftp) == windows.replace("/", "\\")
