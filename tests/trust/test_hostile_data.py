"""Names, addresses and pictures in the data that try to be more; the long forms are in trust/."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from trust.hidden_io import hidden_io
from trust.measure import ROOT
from trust.names import in_requests, in_tables, on_pages
from trust.pictures import pictures

PROGRAM = [ROOT / "app.py", *sorted((ROOT / "pages").glob("*.py")), *sorted((ROOT / "facecluster").rglob("*.py"))]


def test_no_address_holds_a_name_and_each_comes_back_from_a_body():
    found = in_requests(seed=5, seconds=600, most=200)
    if found.not_run:
        pytest.skip(found.not_run)
    assert found.failures == []
    assert found.n == 200


def test_a_name_is_text_in_everything_that_pages_send():
    found = on_pages(seed=5, seconds=600, most=7, pages=("people", "person", "find", "history", "noise"))
    assert found.failures == []
    assert found.n == 7


def test_no_cell_is_run_and_each_reads_back():
    found = in_tables(seed=5, seconds=600)
    assert found.failures == []
    assert found.n == 500


def test_nothing_that_the_data_names_is_opened_asked_for_or_run():
    found = hidden_io(seed=5, seconds=600, most=40, pages=("people", "person", "find"))
    assert found.failures == []
    assert found.n == 40


def test_pictures_that_are_traps_harm_nobody():
    found = pictures(seed=0, seconds=600, every=12)
    assert found.failures == []
    assert found.n >= 8


# --- what no line of the program may hold -----------------------------------------------------------------------------


def _names(tree: ast.AST) -> set[str]:
    """Modules imported, attributes and names used."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {(node.module or "").split(".")[0], *(alias.name for alias in node.names)}
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Name):
            found.add(node.id)
    return found


PICKLING = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "read_pickle", "to_pickle"}
PICKLING |= {"cache_data"}  # Streamlit's pickles what it keeps


def test_nothing_is_pickled():
    assert {path.name: odd for path in PROGRAM if (odd := _names(ast.parse(path.read_text("utf-8"))) & PICKLING)} == {}


def test_numpy_is_always_told_to_read_no_objects():
    careless = []
    for path in PROGRAM:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "load":
                if ast.unparse(node.func) != "np.load":
                    continue
                said = {key.arg: ast.unparse(key.value) for key in node.keywords}
                if said.get("allow_pickle") != "False":
                    careless.append(f"{path.name}:{node.lineno}")
    assert careless == []


def test_no_markup_is_put_together_by_the_program():
    """HTML is only ever a constant of ours: no `unsafe_allow_html`, no `st.html`, components with constant parts."""
    found = []
    for path in PROGRAM:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            said = {key.arg: key.value for key in node.keywords}
            if "unsafe_allow_html" in said or name.endswith((".html", ".markdown")):
                found.append(f"{path.name}:{node.lineno} {name}")
            html = said.get("html")
            if html is not None and not isinstance(html, ast.Constant | ast.Name):
                found.append(f"{path.name}:{node.lineno} html={ast.unparse(html)}")
    assert found == []


@pytest.mark.parametrize(
    "sink", ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("]
)
def test_no_script_of_ours_reads_text_as_markup(sink):
    scripts = [*(ROOT / "facecluster").rglob("*.js"), *PROGRAM]
    assert [Path(path).name for path in scripts if sink in path.read_text("utf-8")] == []
