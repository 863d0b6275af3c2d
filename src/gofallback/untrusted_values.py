"""Values that a target or a builder sends. It may be damaged or hostile: no value ends the controller. Pure."""

from __future__ import annotations

import json
import math
from typing import Any


def number(text: str) -> int:
    """A count or fencing number: at most 18 ASCII digits; 0 for any other text."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0


def seconds(value: object) -> float:
    """A duration in seconds; 0 for any other value."""
    try:
        parsed = float(value) if isinstance(value, (str, int, float)) else 0.0
    except (ValueError, OverflowError):
        return 0.0
    return parsed if math.isfinite(parsed) else 0.0


def json_object(text: str | bytes) -> dict[str, Any] | None:
    """A JSON object; None for any other text."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
