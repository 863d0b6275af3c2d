"""Turns an error of pydantic into one line for a person: key path, expectation, value, remedy."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from gofallback.redact import names_secret, redact

#: Every pattern of the models in plain words; a test fails where one is missing.
PATTERNS: dict[str, str] = {
    r"^(100|[1-9][0-9]?)%$": "should be a number of targets, a percentage such as '50%', or a mapping {label: region}",
    r"^(targets|etcds?://\S+)$": "should be 'targets' or an address such as etcd://host:2379",
    r"^([01]\d|2[0-3]):[0-5]\d$": "should be a time of day such as '16:00'",
    r"^((mon|tue|wed|thu|fri|sat|sun) )?([01]\d|2[0-3]):[0-5]\d$": "should be a time of day such as '08:00', or one "
    "with a weekday such as 'mon 08:00'",
    r"^[a-z][a-z0-9-]{0,30}$": "should be 1 to 31 lower case letters, digits or '-', starting with a letter",
    r"^[A-Za-z_][A-Za-z0-9_]*$": "should be the name of an environment variable (letters, digits, '_')",
    r"^[0-9a-f]{64}$": "should be a SHA-256: 64 hex digits in lower case",
    r"^\d+\.\d+(\.\d+)?$": "should be a Go version such as 1.26.6",
    r"^\d+(\.\d+)+$": "should be a version such as 2.45.2",
    r"^\d+\.\d+\.\d+$": "should be a version such as 0.15.2",
    r"^\d+(\.\d+)*$": "should be a version such as 12.2.0",
    r"^(auto|\d+\.\d+)$": "should be auto, or a version of glibc such as '2.31'",
    r"^(https|file)://\S+$": "should be an https:// or file:// address",
    r"^(file|s3|https?)://\S+$": "should be a file://, s3://, http:// or https:// address",
    r"^file:///\S+$": "should be a folder of the controller such as file:///srv/vulndb",
    r"^https?://[^\s]+$": "should be an http:// or https:// address",
    r"^\S+:\d{1,5}$": "should be host:port, such as 127.0.0.1:8080",
    r"^[A-Za-z0-9][A-Za-z0-9._-]*$": "should be a file name of letters, digits, '.', '_' and '-'",
    r"^[A-Za-z0-9._+{}-]+$": "should be letters, digits, ._+- and placeholders such as {version}",
    r"^[A-Za-z0-9_.]+$": "should be a build tag of letters, digits, '_' and '.'",
    r"^[\w./-]+\.\w+$": "should be a Go variable such as main.version",
    r"^(\d+[KMGT]?|infinity)$": "should be a size such as 512M or 2G, or infinity",
    r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d{1,5})?$": "should be a host such as git.example.com, with its port "
    "where it is not the usual one",
    r"^[^\s:]+$": "should be a user's name without blanks and ':'",
    r"^[\w.*?/,:|-]+$": "should be rules such as private:git,public:off",
    r"^(GO|CVE|GHSA)-[A-Za-z0-9-]+$": "should be the name of a vulnerability such as GO-2026-4601 or CVE-2026-1234",
    r"^\d{4}-\d{2}-\d{2}$": "should be a day such as '2026-12-31'",
    r"^\d+%$": "should be a percentage such as 50%",
    r"^[A-Z][A-Za-z]+$": "should be a directive of systemd such as LimitCORE",
}

_TYPES: dict[str, str] = {
    "string_type": "should be text",
    "int_type": "should be an integer",
    "int_from_float": "should be an integer",
    "float_type": "should be a number",
    "finite_number": "should be a finite number",
    "bool_type": "should be true or false",
    "list_type": "should be a list",
    "tuple_type": "should be a list",
    "dict_type": "should be a mapping (key: value)",
    "model_type": "should be a mapping (key: value)",
    "model_attributes_type": "should be a mapping (key: value)",
    "none_required": "should be null",
}

_BOUNDS: dict[str, str] = {
    "greater_than_equal": "should be at least {ge}",
    "greater_than": "should be more than {gt}",
    "less_than_equal": "should be at most {le}",
    "less_than": "should be less than {lt}",
    "too_short": "should have at least {min_length} entry",
    "too_long": "should have at most {max_length} entries",
    "string_too_short": "should have at least {min_length} character",
    "string_too_long": "should have at most {max_length} characters",
}

#: Tags of `gofallback.model.freeze.Window`: in the key paths of pydantic, never in group data.
_TAGS = ("@once", "@weekly")
_SECRET_PARENTS = frozenset({"environment", "headers", "stamp", "extra_files", "files", "values"})


class Problem(NamedTuple):
    """One mistake in group data."""

    path: list[str | int]
    """Key path below the data that was validated."""
    problem: str
    """The expectation, and the value where it may be shown."""
    remedy: str
    """The verb of the remedy, to stand before ``in FILE``; empty where the problem names it."""


def key_path(parts: Sequence[str | int]) -> str:
    """``('a', 'b', 0, 'x y')`` as ``a.b[0]["x y"]``."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part, ensure_ascii=False)}]"
    return text


def type_name(value: object) -> str:
    """The type of a value in plain words."""
    if value is None:
        return "null"
    names = {
        bool: "a boolean",
        int: "an integer",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "a mapping",
    }
    return names.get(type(value), f"a {type(value).__name__}")


def value_text(value: object, path: Sequence[str | int] = ()) -> str:
    """A value for an error: short, on one line, and without anything that may be a secret."""
    if any(part in _SECRET_PARENTS or names_secret(str(part), sure=True) for part in path):
        return f"{type_name(value)} (not shown)"
    if isinstance(value, (list, dict, tuple, set)):
        return type_name(value)
    if isinstance(value, str):
        if list(path[-1:]) == ["lease"]:  # an address, which may be mistyped where the password is
            value = re.sub(r"\S*@", "***@", value)
        clean = redact(value)
        return _short(json.dumps(clean, ensure_ascii=False) if _awkward(clean) else f"'{clean}'")
    if value is None or isinstance(value, (bool, int, float)):
        return json.dumps(value)
    return type_name(value)


def suggestion(name: str, known: Sequence[str]) -> str:
    """`` (did you mean 'x'?)`` for a misspelt name, or an empty text."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    swapped = [one for one in near if sorted(one) == sorted(name)]  # prot: port rather than root
    return f" (did you mean '{(swapped or near)[0]}'?)" if near else ""


def explain(error: ErrorDetails, model: type[BaseModel], data: Mapping[str, Any]) -> Problem:
    """The problem that pydantic has with ``data``, the input of a ``model``."""
    path, is_key = _path(error["loc"], data)
    value, ctx, code = error["input"], error.get("ctx", {}), error["type"]
    special = _SPECIAL.get(code)
    if special:
        return special(path, error, model)
    subject, value_path = ("the key ", []) if is_key else ("", path)
    if code == "value_error":
        text = str(ctx["error"])
        shows_value = text.startswith("should") and not isinstance(value, (list, dict))
        what, semicolon, remedy = text.partition(";")
        got = f", got {value_text(value, value_path)}" if shows_value else ""
        return Problem(path, subject + what + got + semicolon + remedy, "" if semicolon else "change it")
    if code in _TYPES:
        return Problem(path, f"{subject}{_TYPES[code]}, got {_typed(value, path, code)}", "change it")
    if code == "literal_error":
        hint = "; YAML reads an unquoted yes, no, on and off as a boolean, so put it in quotes"
        unquoted = hint if isinstance(value, bool) else ""
        return Problem(path, f"should be {ctx['expected']}, got {value_text(value, path)}{unquoted}", "change it")
    if code in _BOUNDS:
        got = ctx.get("actual_length", value_text(value, path))
        plain = {key: f"{bound:g}" if isinstance(bound, float) else bound for key, bound in ctx.items()}
        return Problem(path, f"{_BOUNDS[code].format(**plain)}, got {got}", "change it")
    if code == "string_pattern_mismatch":
        expected = PATTERNS.get(ctx["pattern"], f"should match {ctx['pattern']}")
        return Problem(path, f"{subject}{expected}, got {value_text(value, value_path)}", "change it")
    return Problem(path, f"{error['msg'].lower()}, got {value_text(value, path)}", "change it")


def _short(text: str, limit: int = 80) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _awkward(text: str) -> bool:
    return "'" in text or any(not ch.isprintable() for ch in text)


def _typed(value: object, path: Sequence[str | int], code: str) -> str:
    """The value with its type, and the remedy for the usual mistakes."""
    text = value_text(value, path)
    if isinstance(value, str) and not text.endswith("(not shown)"):
        text = _short(json.dumps(value, ensure_ascii=False))
    kind = type_name(value)
    described = text if text in (kind, f"{kind} (not shown)") else f"{text} ({kind})"
    if code == "string_type" and isinstance(value, (bool, int, float)):
        return described + "; put it in quotes"
    if code == "model_type" and value is True:  # as in `cgo: true`
        return described + "; write {} to switch it on with its defaults"
    return described


def _path(loc: Sequence[str | int], data: object) -> tuple[list[str | int], bool]:
    """The key path as a user wrote it: pydantic adds the tag of a union, and ``[key]`` for a key of a mapping."""
    parts: list[str | int] = []
    node: Any = data
    for index, part in enumerate(loc):
        last = index == len(loc) - 1
        if part == "[key]":
            return parts, True
        if part in _TAGS and not (isinstance(node, dict) and part in node):
            continue
        if isinstance(node, dict):
            if part not in node and not last:
                continue
            parts.append(part)
            node = node.get(part)
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            parts.append(part)
            node = node[part]
        else:
            parts.append(part)
            node = None
    return parts, False


def models_of(annotation: object) -> list[type[BaseModel]]:
    """The models inside a field's annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for arg in get_args(annotation) for model in models_of(arg)]


def _has_tag(model: type[BaseModel], tag: str | int) -> bool:
    field = model.model_fields.get("type")
    return field is not None and get_origin(field.annotation) is Literal and tag in get_args(field.annotation)


def known_keys(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    """Keys of the model that ``loc`` (of pydantic, tags included) leads to."""
    models = _models_at(model, loc)
    return sorted({field.alias or key for found in models for key, field in found.model_fields.items()})


def _models_at(model: type[BaseModel], loc: Sequence[str | int]) -> list[type[BaseModel]]:
    models = [model]
    for part in loc:
        tagged = [found for found in models if _has_tag(found, part)]
        fields = [found.model_fields[str(part)] for found in models if str(part) in found.model_fields]
        if len(models) > 1 and tagged:
            models = tagged
        elif fields:
            models = [found for field in fields for found in models_of(field.annotation)]
    return models


Explainer = Callable[[list[str | int], ErrorDetails, type[BaseModel]], Problem]


def _unknown_key(path: list[str | int], error: ErrorDetails, model: type[BaseModel]) -> Problem:
    keys = known_keys(model, error["loc"][:-1])
    problem = f"unknown key{suggestion(str(path[-1]), keys)}; known here: {', '.join(keys)}"
    return Problem(path, problem, "rename or remove it")


def _missing(path: list[str | int], error: ErrorDetails, model: type[BaseModel]) -> Problem:
    return Problem(path, "is required and missing", "add it")


def _wrong_tag(path: list[str | int], error: ErrorDetails, model: type[BaseModel]) -> Problem:
    ctx = error["ctx"]
    field = str(ctx["discriminator"]).strip("'")
    got = value_text(ctx.get("tag"), path)
    return Problem([*path, field], f"should be one of {ctx.get('expected_tags', '')}, got {got}", "change it")


def _missing_tag(path: list[str | int], error: ErrorDetails, model: type[BaseModel]) -> Problem:
    field = str(error["ctx"]["discriminator"]).strip("'")
    tags = [
        repr(str(get_args(found.model_fields[field].annotation)[0]))
        for found in _models_at(model, error["loc"])
        if field in found.model_fields
    ]
    return Problem([*path, field], f"is required and missing; one of {', '.join(tags)}", "add it")


_SPECIAL: dict[str, Explainer] = {
    "extra_forbidden": _unknown_key,
    "missing": _missing,
    "union_tag_invalid": _wrong_tag,
    "union_tag_not_found": _missing_tag,
}
