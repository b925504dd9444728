"""Tables that leave the house, as workbooks; what no cell may do is tried in trust/names.py."""

from __future__ import annotations

import openpyxl
import pytest

from facecluster import tables
from facecluster.errors import InputError

ROWS = [
    {"id": "a", "name": "=1+1", "strength": 0.5, "pinned": True, "photo": None},
    {"id": "b", "name": "https://here.example", "strength": float("nan"), "pinned": False, "photo": "x\ud800"},
]


def test_a_workbook_holds_text_as_text_and_numbers_as_numbers(tmp_path):
    path = tmp_path / "faces.xlsx"
    tables.write_xlsx(ROWS, path)
    cells = list(openpyxl.load_workbook(path).active.iter_rows())
    assert [cell.value for cell in cells[0]] == ["id", "name", "strength", "pinned", "photo"]
    assert [cell.value for cell in cells[1]] == ["a", "=1+1", 0.5, True, None]
    assert [cell.value for cell in cells[2]] == ["b", "https://here.example", None, False, "x?"]
    assert cells[1][1].data_type == "s"
    assert cells[2][1].hyperlink is None
    assert [one.name for one in tmp_path.iterdir()] == ["faces.xlsx"]


def test_what_does_not_fit_or_cannot_be_written_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "faces.xlsx"
    path.write_bytes(b"before")
    monkeypatch.setattr(tables, "_SHEET_ROWS", 2)
    with pytest.raises(InputError, match=r"A sheet holds 1 rows below its head, and there are 2\."):
        tables.write_xlsx(ROWS, path)
    assert path.read_bytes() == b"before"
    with pytest.raises(InputError, match="cannot be written"):
        tables.write_xlsx(ROWS[:1], tmp_path / "none" / "faces.xlsx")
