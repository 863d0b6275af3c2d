"""The words of the project: what the code may be called, and what the screen says (docs/glossary.md)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from gofallback.rollout.phases import TargetPhase
from tests.paths import PROJECT

#: A word of these is no part of a name, as `told` of `_told`, `was_told` or `toldAgain`: each has a word of the field
#: that says more (CONTRIBUTING.md).
FORBIDDEN = frozenset(
    [
        "told",
        "tell",
        "wish",
        "doubt",
        "patience",
        "silence",
        "heard",
        "askers",
        "asker",
        "unwell",
        "credible",
        "became",
        "begun",
    ]
)
#: Forbidden where a run is decided: an answer, an approval or a confirmation is meant.
FORBIDDEN_IN_RUNS = frozenset({"word", "words"})
RUNS = ("src/gofallback/deploys/", "src/gofallback/rollout/")
#: Forbidden as a whole name.
FORBIDDEN_ALONE = frozenset({"here"})

#: Keys of host data that users have written into inventories: they stay.
RELEASED = frozenset({"ssh_silence_seconds"})
#: Names that wait for their room: file and name. Empty when the rooms are done.
ALLOWED: frozenset[tuple[str, str]] = frozenset()

Name = tuple[Path, int, str]


def python_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((PROJECT / folder).rglob("*.py"))]


def parts(name: str) -> set[str]:
    """The words of a name in snake_case or camelCase."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def test_a_name_is_cut_into_its_words() -> None:
    assert parts("_was_told") == {"was", "told"}
    assert parts("toldAgain") == {"told", "again"}
    assert parts("HTTPServerTold2") == {"http", "server", "told"}
    assert parts("retold") == {"retold"}


def names_of_python(path: Path) -> Iterator[Name]:
    yield path, 0, path.stem
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield path, node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield path, node.lineno, node.arg
    for scope in [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))]:
        for node in scope.body:  # type: ignore[attr-defined]
            targets = node.targets if isinstance(node, ast.Assign) else [node.target] if _annotated(node) else []
            for name in targets:
                if isinstance(name, ast.Name):
                    yield path, node.lineno, name.id


def _annotated(node: ast.stmt) -> bool:
    return isinstance(node, ast.AnnAssign)


def names_of_go(path: Path) -> Iterator[Name]:
    for number, line in enumerate(path.read_text().splitlines(), 1):
        found = re.match(r"(?:func(?: \([^)]*\))?|type) (\w+)", line)
        if found:
            yield path, number, found[1]


def all_names() -> Iterator[Name]:
    for path in python_files("src", "lab", "bench", "deploys", "tests"):
        yield from names_of_python(path)
    for folder in ("src", "lab"):
        for path in sorted((PROJECT / folder).rglob("*.go")):
            yield path, 0, path.stem
            yield from names_of_go(path)


def test_no_name_has_a_word_that_the_field_has_a_better_one_for() -> None:
    found = set()
    for path, line, name in all_names():
        file = str(path.relative_to(PROJECT))
        forbidden = FORBIDDEN | (FORBIDDEN_IN_RUNS if file.startswith(RUNS) else frozenset())
        if name in RELEASED or (file, name) in ALLOWED:
            continue
        if parts(name) & forbidden or name in FORBIDDEN_ALONE:
            found.add(f"{file}:{line} {name}")
    assert sorted(found) == []


# ---- the glossary

GLOSSARY = PROJECT / "docs" / "glossary.md"


def glossary() -> dict[str, set[str]]:
    """Term to the words that are not used for it."""
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| ([^|]*) \|$", GLOSSARY.read_text(), re.M)
    return {
        term.strip(): {word.strip() for word in re.split("[,;]", words) if word.strip(" -")}
        for term, words in rows
        if term != "term" and not term.startswith("---")
    }


def test_every_phase_of_a_target_is_a_term_of_the_glossary() -> None:
    assert set(TargetPhase) <= set(glossary())


def test_the_glossary_is_short_and_a_term_is_never_refused_for_another() -> None:
    terms = glossary()
    assert 30 <= len(terms) <= 60
    assert not set(terms) & {word for words in terms.values() for word in words}


#: Calls whose text a person reads: the last part of their name.
SHOWN = frozenset({"log", "log_styled", "echo", "secho", "print", "note", "veto"})


def shown_texts(path: Path, errors: frozenset[str]) -> Iterator[tuple[int, str]]:
    """The text of what is printed, logged, noted or raised: string literals, and the constant parts of f-strings."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in SHOWN or called in errors:
            for inner in (part for argument in node.args for part in ast.walk(argument)):
                if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                    yield inner.lineno, inner.value


def our_errors(files: list[Path]) -> frozenset[str]:
    """Every subclass of `GofallbackError`, by name."""
    bases: dict[str, set[str]] = {}
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = {getattr(base, "attr", getattr(base, "id", "")) for base in node.bases}
    found = {"GofallbackError"}
    while more := {name for name, of in bases.items() if of & found} - found:
        found |= more
    return frozenset(found)


def test_the_screen_uses_the_terms_of_the_glossary_and_none_of_the_words_it_refuses() -> None:
    files = python_files("src/gofallback")
    errors = our_errors(files)
    refused = {word: term for term, words in glossary().items() for word in words}
    pattern = re.compile(rf"\b({'|'.join(re.escape(word) for word in sorted(refused, key=len, reverse=True))})\b", re.I)
    found = [
        f"{path.relative_to(PROJECT)}:{line} {match[1]!r} in {text!r}: the glossary has {refused[match[1].lower()]!r}"
        for path in files
        for line, text in shown_texts(path, errors)
        for match in [pattern.search(text)]
        if match
    ]
    assert found == []
