"""--diff shows what changes, and no secret."""

from __future__ import annotations

import pytest

from gofallback.deploys.releasing.plan import masked


@pytest.mark.parametrize(
    "name", ["DB_PASSWORD", "AWS_SECRET_ACCESS_KEY", "API_KEY", "SESSION_TOKEN", "DB_DSN", "PGPASS"]
)
@pytest.mark.parametrize("sign", ["+", "-", " "])
def test_values_of_variables_that_sound_secret_are_hidden(sign: str, name: str) -> None:
    assert masked(f'{sign}{name}="hunter2 and \\" more"') == f'{sign}{name}="***"'


def test_a_password_inside_an_address_is_hidden() -> None:
    assert "hunter2" not in masked('+DATABASE_URL="postgres://app:hunter2@db/app"')


@pytest.mark.parametrize("line", ['+HELLO_ADDR=":8080"', "+PrivateTmp=yes", "-MemoryMax=64M", "@@ -1 +1 @@"])
def test_other_lines_are_shown_as_they_are(line: str) -> None:
    assert masked(line) == line
