"""The map of settings: its colours, and that it offers nothing to anybody else's server."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from facecluster.ui import charts


@pytest.mark.parametrize("is_dark", [False, True])
def test_the_colours_are_those_of_the_theme(is_dark):
    config = Path(__file__).resolve().parents[2] / ".streamlit" / "config.toml"
    theme = tomllib.loads(config.read_text("utf-8"))["theme"]["dark" if is_dark else "light"]
    ink = charts._DARK if is_dark else charts._LIGHT
    assert (ink.paper, ink.card, ink.text, ink.muted) == tuple(
        theme[key] for key in ("backgroundColor", "secondaryBackgroundColor", "textColor", "grayTextColor")
    )


def test_nothing_of_the_map_is_offered_to_anybody_elses_server():
    assert charts.STILL["showSendToCloud"] is False
    assert charts.STILL["plotlyServerURL"] == ""
    assert charts.STILL["displaylogo"] is False
