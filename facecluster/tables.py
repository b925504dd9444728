"""Writes every table that leaves the house, so that no cell of it is run as a formula.

A spreadsheet runs a cell that begins like a formula: such text gets a ' in front. So does text that already has one
there, which makes it plain what was ours: `plain_cell` takes exactly that away again.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from facecluster.errors import InputError

# What a formula begins with; the full-width forms count in some spreadsheets.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_MARK = "'"
# What a sheet and a cell of Excel hold.
_SHEET_ROWS, _CELL_CHARACTERS = 1_048_576, 32_767


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table as CSV; text that a spreadsheet would run gets a ' in front."""
    out = io.StringIO()
    writer = csv.writer(out)
    if rows:
        writer.writerow([safe_cell(name) for name in rows[0]])
    writer.writerows([[safe_cell(value) for value in row.values()] for row in rows])
    return out.getvalue()


def write_xlsx(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """A table as a workbook: text is typed as text, whatever it begins with, and no cell is a formula or a link.

    Raises
    ------
    InputError
        If the table does not fit into a sheet, or the file cannot be written; what was there stays.
    """
    import xlsxwriter

    if len(rows) >= _SHEET_ROWS:
        raise InputError(
            f"A sheet holds {_SHEET_ROWS - 1:,} rows below its head, and there are {len(rows):,}. Nothing was written. "
            "Use --csv or --parquet."
        )
    aside = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    options = {"strings_to_formulas": False, "strings_to_urls": False}
    try:
        with xlsxwriter.Workbook(str(aside), options) as book:
            sheet = book.add_worksheet()
            for x, name in enumerate(rows[0] if rows else ()):
                sheet.write_string(0, x, name)
            for y, row in enumerate(rows, 1):
                for x, value in enumerate(row.values()):
                    _write_cell(sheet, y, x, value)
        aside.replace(path)
    except (OSError, xlsxwriter.exceptions.XlsxFileError) as exc:
        raise InputError(
            f"{path} cannot be written: {exc}. What was there is as before. Choose another place."
        ) from exc
    finally:
        aside.unlink(missing_ok=True)


def _write_cell(sheet: Any, y: int, x: int, value: Any) -> None:
    if isinstance(value, bool):
        sheet.write_boolean(y, x, value)
    elif isinstance(value, int | float):
        if math.isfinite(value):  # a sheet has no other numbers
            sheet.write_number(y, x, value)
    elif value is not None:
        text = str(value).encode("utf-8", "replace").decode("utf-8")
        sheet.write_string(y, x, text[:_CELL_CHARACTERS])


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
