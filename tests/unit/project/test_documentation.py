"""The README and docs/: every file, link, command, target and option that they name is there."""

from __future__ import annotations

import argparse
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from gofallback.cli import main
from gofallback.deploys.run.options import Options
from gofallback.model import Fleet, Service
from gofallback.model.error_text import models_of
from tests.paths import PROJECT

PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
FOLDERS = "src|docs|tests|deploys|lab|bench|templates|inventories|group_data"
#: Files of a user's own project that an example is about.
THEIRS = {"group_data/targets.py"}

each_page = pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])


def code(page: Path) -> Iterator[str]:
    """What stands in code: the lines of its blocks, without comments, and what is between backticks."""
    text = page.read_text()
    for block in re.findall(r"^```.*?^```", text, re.S | re.M):
        for line in block.splitlines()[1:-1]:
            yield re.sub(r"(^|\s)#.*", "", line)
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M))


def anchors(page: Path) -> set[str]:
    """What a link may have after its `#`, as GitHub makes it of the headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        file, _, anchor = link.partition("#")
        there = (page.parent / file) if file else page
        assert there.exists(), link
        assert not anchor or anchor in anchors(there), link


@each_page
def test_every_file_of_the_project_that_is_named_is_there(page: Path) -> None:
    for name in re.findall(rf"(?<![\w./<>{{}}*~-])(?:{FOLDERS})/[\w./*-]*\w", "\n".join(code(page))):
        assert name in THEIRS or list(PROJECT.glob(name)), name
    for name in re.findall(r"\btest_\w+\.py\b", page.read_text()):
        assert list((PROJECT / "tests").rglob(name)), name


@each_page
def test_every_make_target_and_module_that_is_to_be_run_is_there(page: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.M)
    for text in code(page):
        for target in re.findall(r"^(?:\w+=\S+ )*make ([a-z-]+)", text):
            assert target in targets, text
        for module in re.findall(r"python3? -m ([\w.]+)", text):
            assert importlib.util.find_spec(module) is not None, text


@each_page
def test_every_gofallback_command_and_flag_is_one(page: Path) -> None:
    for text in code(page):
        if re.match(r"gofallback [a-z]+\b(?!\.)", text):
            words = shlex.split(re.split(r" [|>&] ?", text)[0], comments=True)[1:]
            flags = {word.partition("=")[0] for word in words if word.startswith("--")}
            assert flags <= known_flags(words), text


def known_flags(words: list[str]) -> set[str]:
    """The long options of the command that some words call; fails when there is no such command."""
    parser = main._parser()
    while parts := [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]:
        choices: dict[str, Any] = dict(parts[0].choices)
        if not words:
            break
        assert words[0] in choices, f"{words[0]}: known are {', '.join(choices)}"
        parser, words = choices[words[0]], words[1:]
    return {option for action in parser._actions for option in action.option_strings}


@each_page
def test_every_key_of_the_group_data_is_one(page: Path) -> None:
    for text in code(page):
        path = text.split(".")
        if page.stem == "architecture" or path[-1] in ("py", "json"):
            continue  # modules and files
        for root in (Fleet, Service):
            if re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", text) and path[0] in root.model_fields:
                assert is_key(root, path), text


def is_key(model: type[BaseModel], path: list[str]) -> bool:
    """Whether a path leads to a key, be it through a mapping whose own keys are anybody's."""
    field = model.model_fields.get(path[0])
    if field is None or len(path) == 1:
        return field is not None
    inner, free = models_of(field.annotation), "dict[" in str(field.annotation)
    return (free and (len(path) == 2 or not inner)) or any(
        is_key(one, path[1:]) or (free and is_key(one, path[2:])) for one in inner
    )


@each_page
def test_every_data_option_is_one(page: Path) -> None:
    for key, value in re.findall(r"--data ([a-z_]+)(=\S+)?", "\n".join(code(page))):
        assert key in Options.model_fields or value == "=...", key


@each_page
def test_every_variable_of_the_environment_is_read_somewhere(page: Path) -> None:
    known = variables()
    for name in re.findall(r"GOFALLBACK_[A-Z_]*[A-Z]", page.read_text()):
        assert name in known, name


def variables() -> set[str]:
    """Every GOFALLBACK_... in a string of the code."""
    found: set[str] = set()
    for folder in ("src", "lab", "tests", "Makefile", "inventory.py"):
        place = PROJECT / folder
        for file in [place] if place.is_file() else [*place.rglob("*.py"), *place.rglob("*.go")]:
            found |= set(re.findall(r"GOFALLBACK_[A-Z_]*[A-Z]", file.read_text()))
    return found
