"""The way in for who brings faces of their own; and what a server that goes away takes with it: nothing typed."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from driving import start, stop
from small_library import make_library, write_faces

from facecluster.config import load_settings
from facecluster.wiring import open_service

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.e2e


def names(library) -> list[str]:
    return [card.name for card in open_service(load_settings(library=library)).view().cards if card.name]


def test_faces_of_ones_own_come_from_the_demo_by_a_file_and_lead_to_tune(page, dashboard, tmp_path):
    page.goto(dashboard.url)
    page.get_by_role("link", name="Import your own faces").click(timeout=90_000)
    expect(page.get_by_role("heading", name="Import faces of your own")).to_be_visible()
    sent = write_faces(tmp_path / "mine.npz")
    page.locator("input[type=file]").set_input_files(sent)
    page.get_by_role("button", name=re.compile(r"^Import 1 file")).click()
    expect(page.get_by_text("60 faces added, 0 replaced, 0 there already.")).to_be_visible(timeout=60_000)
    assert not list(dashboard.library.rglob("mine.npz")), "the file is deleted"
    expect(page.get_by_text("Library of local", exact=True).first).to_be_visible()
    page.get_by_role("link", name="Find people among them on Tune").click()
    expect(page.get_by_role("heading", name="Tune", exact=True)).to_be_visible()


def test_a_name_typed_while_the_server_is_away_is_saved_when_it_is_back(browser, tmp_path):
    library = make_library(tmp_path).settings.library
    running = start(library)
    try:
        page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
        page.set_default_timeout(60_000)
        page.goto(running.url)
        tile = page.locator(".tile").first
        expect(tile).to_be_visible(timeout=60_000)
        stop(running)
        tile.locator(".name").click()
        page.locator(".editor input").fill("Anna")
        page.locator(".editor input").press("Enter")
        page.wait_for_timeout(1500)
        assert names(library) == []
        running = start(library, port=urlsplit(running.url).port)
        expect(page.get_by_text("“Anna”").first).to_be_visible(timeout=60_000)
        assert names(library) == ["Anna"]
        page.context.close()
    finally:
        stop(running)
