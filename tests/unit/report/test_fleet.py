"""What status says below its table about freeze windows and approvals."""

from __future__ import annotations

from gofallback.report.fleet import ApprovalRow, FreezeRow, rules_lines


def lines(*approvals: ApprovalRow, freezes: tuple[FreezeRow, ...] = ()) -> list[tuple[str, str]]:
    return [(line.plain, str(line.style)) for line in rules_lines(freezes, approvals)]


def row(**changes: object) -> ApprovalRow:
    data = {"environment": "production", "service": "hello", "version": "v1.1.0", "required": 2, **changes}
    return ApprovalRow.model_validate(data)


def test_without_rules_there_is_nothing_to_say() -> None:
    assert lines() == []


def test_a_version_that_waits_is_yellow_and_names_who_is_missing() -> None:
    waiting = row(by=["alice"], text="1 of 2 approvals (alice); who could still approve: bob")
    said = "hello v1.1.0 for production: 1 of 2 approvals (alice); who could still approve: bob"
    assert lines(waiting) == [(said, "yellow")]


def test_a_version_that_may_go_is_green_and_says_until_when() -> None:
    ready = row(by=["alice", "bob"], text="2 of 2 approvals (alice, bob)", expires="2026-11-25T00:00:00Z")
    said = "hello v1.1.0 for production: 2 of 2 approvals (alice, bob), until 2026-11-25T00:00:00Z"
    assert lines(ready) == [(said, "green")]


def test_approvals_that_do_not_count_and_those_that_cannot_be_counted_say_why() -> None:
    said = [text for text, _ in lines(row(refused=["bob.json: expired"], text="0 of 2 approvals"))]
    assert said[1] == "    does not count: bob.json: expired"
    assert lines(row(trouble="ssh-keygen: not found")) == [
        ("hello v1.1.0 for production: ssh-keygen: not found", "yellow")
    ]


def test_a_frozen_environment_is_shown_first() -> None:
    freeze = FreezeRow(environment="production", name="holidays", until=None, text="'holidays', which has no end")
    assert lines(row(text="x"), freezes=(freeze,))[0] == (
        "production is frozen: 'holidays', which has no end",
        "yellow",
    )
