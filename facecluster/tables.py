"""Writes every table that leaves the house, so that no cell of it is run as a formula.

A spreadsheet runs a cell that begins like a formula: such text gets a ' in front. So does text that already has one
there, which makes it plain what was ours: `plain_cell` takes exactly that away again.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

# What a formula begins with; the full-width forms count in some spreadsheets.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_MARK = "'"


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table as CSV; text that a spreadsheet would run gets a ' in front."""
    out = io.StringIO()
    writer = csv.writer(out)
    if rows:
        writer.writerow([safe_cell(name) for name in rows[0]])
    writer.writerows([[safe_cell(value) for value in row.values()] for row in rows])
    return out.getvalue()


def safe_cell(value: Any) -> Any:
    """A cell that a spreadsheet shows and does not run; None is empty. Numbers stay numbers, all else is text."""
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return value
    text = str(value)
    return _MARK + text if _is_run(text) else text


def plain_cell(text: str) -> str:
    """What a cell of ours was before it was made safe."""
    return text[len(_MARK) :] if text.startswith(_MARK) and _is_run(text) else text


def _is_run(text: str) -> bool:
    return text.lstrip(_MARK).startswith(_FORMULA)
