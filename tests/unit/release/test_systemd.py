"""Values in unit files arrive as they were written, and never as a directive of their own."""

from __future__ import annotations

import pytest

from gofallback.release import systemd


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("-addr=:8080", "-addr=:8080"),
        ("two words", '"two words"'),
        ("", '""'),
        (";", '";"'),
        ("100%", '"100%%"'),
        ("$HOME", '"$$HOME"'),
        ('say "hi"', r'"say \"hi\""'),
        ("C:\\dir\\", r'"C:\\dir\\"'),
        ("it's", '"it\'s"'),
        ("naïve", '"naïve"'),
        ("~", '"~"'),
    ],
)
def test_an_argument_is_quoted_only_where_systemd_would_change_it(value: str, written: str) -> None:
    assert systemd.argument(value) == written


@pytest.mark.parametrize("value", ["a\nExecStartPre=/bin/evil", "a\rb", "a\0b", "\ud800"])
def test_what_no_unit_file_can_hold_is_refused(value: str) -> None:
    for write in (systemd.argument, systemd.text, systemd.verbatim):
        with pytest.raises(systemd.UnitValueError):
            write(value)
    with pytest.raises(systemd.UnitValueError):
        systemd.environment_line("A", value)


@pytest.mark.parametrize("value", ["ends with \\", "ends with \\ ", "three \\\\\\"])
def test_a_backslash_at_the_end_would_swallow_the_next_directive_and_is_refused(value: str) -> None:
    with pytest.raises(systemd.UnitValueError, match="backslash"):
        systemd.verbatim(value)
    with pytest.raises(systemd.UnitValueError, match="backslash"):
        systemd.text(value)


def test_an_even_number_of_backslashes_at_the_end_continues_no_line() -> None:
    assert systemd.verbatim("a\\\\") == "a\\\\"


def test_specifiers_stay_as_they_are_in_plain_text_and_work_in_directives() -> None:
    assert systemd.text("50% of %n") == "50%% of %%n"
    assert systemd.verbatim("%t/x") == "%t/x"


def test_environment_values_are_double_quoted_with_shell_escapes() -> None:
    assert systemd.environment_line("A", 'x "y" $z `w` \\ 100%') == r'A="x \"y\" \$z \`w\` \\ 100%"'


@pytest.mark.parametrize("path", ["bin/x", "/opt/a b/x", "/opt/a%n/x", "/opt/$x"])
def test_a_program_path_that_would_need_quoting_is_refused(path: str) -> None:
    with pytest.raises(systemd.UnitValueError):
        systemd.program(path)
