"""Consoles for terminals and files, and the end of a run on the screen."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO

from rich.console import Console, Group, RenderableType

from gofallback.report import table, timeline
from gofallback.report.model import Report

#: Columns: wide enough for every column of the table, narrow enough for a ticket.
WIDTH = 100


def console(file: TextIO | None = None) -> Console:
    """A console of at most 100 columns; plain without a terminal or with NO_COLOR (no-color.org)."""
    out = file or sys.stdout
    terminal = out.isatty() and "NO_COLOR" not in os.environ
    found = Console(file=out, highlight=False, force_terminal=terminal, no_color=not terminal, soft_wrap=False)
    found.width = min(WIDTH, found.width) if out.isatty() else WIDTH
    return found


def text(renderable: RenderableType, width: int = WIDTH) -> str:
    """A renderable as plain text, without trailing blanks."""
    buffer = io.StringIO()
    plain = Console(file=buffer, width=width, highlight=False, force_terminal=False, no_color=True)
    plain.print(renderable)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def overview(report: Report) -> RenderableType:
    """Timeline and table: the end of a run."""
    return Group(timeline.render(report), "", table.render(report))
