"""Secrets are read from where the data says, and refused where they could do harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from gofallback.credentials import CredentialError, read
from gofallback.model.publish import Credential


def test_a_token_is_read_from_where_the_data_says(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("t0ken-in-a-file\n")
    assert read(Credential(file=str(tmp_path / "t"))) == "t0ken-in-a-file"
    assert read(Credential(env="X"), {"X": "t0ken-in-env"}) == "t0ken-in-env"


@pytest.mark.parametrize("value", ["", "  ", "a\r\nX-Other: b", "ümlaut"])
def test_a_token_that_no_header_may_hold_is_refused_unseen(value: str) -> None:
    with pytest.raises(CredentialError) as refused:
        read(Credential(env="X"), {"X": value})
    assert not value.strip() or value not in str(refused.value)


def test_a_missing_token_names_its_place() -> None:
    with pytest.raises(CredentialError, match="environment variable NOWHERE, which `token` names, is not set"):
        read(Credential(env="NOWHERE"), {})
