"""Splitting a person who is three, and why a face is here, in a real browser."""

from __future__ import annotations

import re

import pytest

from facecluster.config import load_settings
from facecluster.wiring import demo_settings, open_service

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.e2e

TILE = '[class*="st-key-fc-tile-"]'


@pytest.fixture
def blended(dashboard):
    """The demo with one person who is three: who, and how many faces."""
    library = open_service(demo_settings(load_settings(library=dashboard.library)))
    library.open_demo()
    people = [card.id for card in library.view().people()[:3]]
    library.rename(people[0], "Anna")
    library.confirm(people[0])
    library.merge(people[0], people[1:])
    return library, people[0], len(library.view().rows(people[0]))


def test_a_person_is_split_with_a_preview_and_undo_makes_them_one_again(page, dashboard, blended):
    library, person, n_faces = blended
    page.goto(f"{dashboard.url}/person?id={person}")
    page.get_by_role("button", name="Split…").click(timeout=60_000)
    dialog = page.get_by_role("dialog")
    split = dialog.get_by_role("button", name="Split into these")
    expect(split).to_contain_text("2 people")
    dialog.get_by_role("slider").press("End")
    expect(split).to_contain_text("3 people")
    expect(dialog.get_by_text("Stays Anna")).to_be_visible()
    expect(split).to_be_disabled()
    dialog.get_by_text("They leave too").click()
    expect(split).to_be_enabled()
    split.click()
    expect(page.get_by_text(re.compile("Split “Anna”: 2 people of"))).to_be_visible()
    assert len(library.view().rows(person)) < n_faces
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text(re.compile(f"^{n_faces} faces in"))).to_be_visible()
    assert len(library.view().rows(person)) == n_faces


def test_the_photo_and_the_reason_of_a_selected_face_are_a_key_away(page, dashboard, blended):
    _, person, _ = blended
    page.goto(f"{dashboard.url}/person?id={person}")
    tile = page.locator(TILE).first
    expect(tile).to_be_visible(timeout=60_000)
    tile.hover()
    tile.locator('[class*="st-key-pick-"] label').click()
    expect(page.get_by_text("1 face selected")).to_be_visible()
    page.keyboard.press("w")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("Why is this face here?")).to_be_visible()
    bars = dialog.get_by_role("listitem")
    expect(bars.first).to_contain_text("cosine")
    expect(bars).to_have_count(4)
    page.keyboard.press("o")
    expect(dialog.get_by_text("The photo of this face")).to_be_visible()
    page.keyboard.press("w")
    expect(dialog.get_by_text("Why is this face here?")).to_be_visible()
