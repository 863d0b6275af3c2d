"""What pyinfra prints of an operation that does nothing is left out; nothing else is."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from pyinfra import logger

from gofallback.pyinfra_patches import screen as screen_filter
from gofallback.pyinfra_patches.screen import Quiet

HEADING = "\x1b[34m--> Starting operation:\x1b[0m \x1b[1m{}\x1b[0m "
HOST = "\x1b[0m[\x1b[1m{}\x1b[0m] {}"


@pytest.fixture
def screen() -> Iterator[list[str]]:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    quiet, level = Quiet(), logger.level
    logger.addHandler(handler)
    logger.addFilter(quiet)
    logger.setLevel(logging.INFO)
    yield lines
    logger.setLevel(level)
    logger.removeFilter(quiet)
    logger.removeHandler(handler)


def test_an_operation_that_does_nothing_is_not_mentioned(screen: list[str]) -> None:
    logger.info(HEADING.format("build | binaries"))
    logger.info(HOST.format("t1", "\x1b[34mSkipped\x1b[0m"))
    logger.info(HOST.format("w1", "\x1b[36mNo changes\x1b[0m"))
    logger.info("--> Results:")
    assert screen == ["--> Results:"]


def test_an_operation_that_does_something_is_announced_before_its_first_line(screen: list[str]) -> None:
    heading = HEADING.format("activate | hello")
    logger.info(heading)
    logger.info(HOST.format("w1", "\x1b[34mSkipped\x1b[0m"))
    logger.info(HOST.format("t1", "\x1b[32mSuccess\x1b[0m"))
    logger.info(HOST.format("t2", "\x1b[32mSuccess\x1b[0m"))
    assert screen == [heading, *(HOST.format(host, "\x1b[32mSuccess\x1b[0m") for host in ("t1", "t2"))]


def test_an_error_is_printed_below_its_operation(screen: list[str]) -> None:
    heading = HEADING.format("release | hello")
    logger.info(HEADING.format("verify | artifacts"))
    logger.info(heading)
    logger.error(HOST.format("t1", "No changes can be made: the disk is full"))
    assert screen == [heading, HOST.format("t1", "No changes can be made: the disk is full")]


def test_a_long_operation_is_announced_although_it_says_nothing(
    screen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import gevent

    monkeypatch.setattr(screen_filter, "HEADING_DELAY", 0.05)
    heading = HEADING.format("build | binaries")
    logger.info(heading)
    assert screen == []
    gevent.sleep(0.15)
    assert screen == [heading]
