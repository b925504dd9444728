"""Splitting a person who is three, and why a face is here, in a real browser."""

from __future__ import annotations

import re

import pytest
from driving import listening

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.e2e


@pytest.fixture
def blended(demo):
    """One person who is three: who, and how many faces."""
    people = [card.id for card in demo.view().people()[:3]]
    demo.rename(people[0], "Anna")
    demo.confirm(people[0])
    demo.merge(people[0], people[1:])
    return people[0], len(demo.view().rows(people[0]))


def test_a_person_is_split_with_a_preview_and_undo_makes_them_one_again(page, dashboard, demo, blended):
    person, n_faces = blended
    page.goto(f"{dashboard.url}/person?id={person}")
    page.get_by_role("button", name="Split…").click()
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
    assert len(demo.view().rows(person)) < n_faces
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text(re.compile(f"^{n_faces} faces in"))).to_be_visible()
    assert len(demo.view().rows(person)) == n_faces


def test_the_photo_and_the_reason_of_a_selected_face_are_a_key_away(page, dashboard, blended):
    person, _ = blended
    page.goto(f"{dashboard.url}/person?id={person}")
    tile = page.locator(".tile").first
    expect(tile).to_be_visible()
    tile.focus()
    page.keyboard.press("Space")
    expect(page.get_by_text("1 face selected")).to_be_visible()
    expect(page.get_by_role("button", name="Why here?")).to_be_visible()
    listening(page)
    page.keyboard.press("w")
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("Why is this face here?")).to_be_visible()
    bars = dialog.get_by_role("listitem")
    expect(bars.first).to_contain_text("cosine")
    expect(bars).to_have_count(4)
    listening(page)
    page.keyboard.press("o")
    expect(dialog.get_by_text("The photo of this face")).to_be_visible()
    listening(page)
    page.keyboard.press("w")
    expect(dialog.get_by_text("Why is this face here?")).to_be_visible()
