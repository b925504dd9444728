"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path

import pytest

from facecluster.config import Settings

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = sorted((ROOT / "facecluster").rglob("*.py"))
SCREENS = [path for path in [ROOT / "app.py", *sorted((ROOT / "pages").glob("*.py"))] if path.exists()]
SCREENS_MAY_IMPORT = {
    "streamlit",
    "facecluster.ui",
    "facecluster.cli",
    "facecluster.people_view",
    "facecluster.wiring",
}


def imported(source: str) -> set[str]:
    """Dotted names that a file imports; `from a import b` counts as both `a.b` and, where b is a name in it, `a`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def is_allowed_on_a_screen(name: str) -> bool:
    return name.split(".")[0] in sys.stdlib_module_names or any(
        name == allowed or name.startswith(f"{allowed}.") for allowed in SCREENS_MAY_IMPORT
    )


@pytest.mark.parametrize(
    ("line", "is_allowed"),
    [
        ("import streamlit as st", True),
        ("from pathlib import Path", True),
        ("from facecluster.ui import session", True),
        ("from facecluster.ui.widgets import grid", True),
        ("from facecluster import wiring", True),
        ("from facecluster.service import Service", False),
        ("from facecluster import stores", False),
        ("def f():\n    import numpy", False),
        ("from . import people", False),
        ("import streamlit_extras", False),
        ("from facecluster.uix import a", False),
    ],
)
def test_the_rule_for_screens_tells_good_imports_from_bad(line, is_allowed):
    assert all(is_allowed_on_a_screen(name) for name in imported(line)) is is_allowed


def test_screens_import_only_streamlit_and_what_stands_above_the_service():
    found = {
        f"{path.name}: {name}"
        for path in SCREENS
        for name in imported(path.read_text("utf-8"))
        if not is_allowed_on_a_screen(name)
    }
    assert not found


def test_session_state_is_touched_in_one_file_only():
    touching = {
        path.relative_to(ROOT).as_posix() for path in [*PACKAGE, *SCREENS] if "session_state" in path.read_text("utf-8")
    }
    assert touching <= {"facecluster/ui/session.py"}


@pytest.mark.parametrize("forbidden", ["unsafe_allow_html=True", "allow_pickle=True", "import pickle", "pickle.load"])
def test_nothing_unsafe_stands_in_the_program(forbidden):
    assert not [path.name for path in [*PACKAGE, *SCREENS] if forbidden in path.read_text("utf-8")]


def test_no_file_of_the_program_is_longer_than_500_lines():
    lengths = {path.name: len(path.read_text("utf-8").splitlines()) for path in [*PACKAGE, *SCREENS]}
    assert {name: n for name, n in lengths.items() if n > 500} == {}


def test_every_setting_is_documented():
    rows = {
        line.split("|")[1].strip(): line
        for line in (ROOT / "docs" / "settings.md").read_text("utf-8").splitlines()
        if line.startswith("| `")
    }
    assert set(rows) == {f"`{field.alias}`" for field in Settings.model_fields.values()}
    for field in Settings.model_fields.values():
        assert str(field.description) in rows[f"`{field.alias}`"]


def test_the_example_of_secrets_lists_every_setting_and_sets_none():
    text = (ROOT / ".streamlit" / "secrets.toml.example").read_text("utf-8")
    assert tomllib.loads(text) == {}
    lines = [line.removeprefix("# ") for line in text.splitlines() if " = " in line]
    assert set(tomllib.loads("\n".join(lines))) == {field.alias for field in Settings.model_fields.values()}


def test_streamlit_knows_every_option_of_the_configuration():
    from streamlit import config

    def options(table: dict[str, object], prefix: str = "") -> set[str]:
        found: set[str] = set()
        for key, value in table.items():
            found |= options(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key}
        return found

    given = options(tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text("utf-8")))
    assert given <= set(config.get_config_options())


def test_required_packages_are_pinned():
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    required = {"streamlit", "pinecone", "hdbscan", "numpy", "supabase", "umap-learn", "plotly"}
    assert required <= set(pins)
    assert all(pins.values())


def test_the_page_on_the_command_line_names_every_command_and_option():
    from facecluster.cli import cli

    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    for name, command in cli.commands.items():
        if command.hidden:
            continue
        assert f"`{name}" in page, name
        for option in (o for parameter in command.params for o in parameter.opts if o.startswith("--")):
            assert option in page, f"{name} {option}"
