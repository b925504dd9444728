"""The first visit, before there is a library of any kind."""

from __future__ import annotations

import pytest

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.e2e


@pytest.fixture
def library(tmp_path):
    """Nothing beside it either."""
    return tmp_path / "library"


def test_the_first_visitor_of_any_page_sees_how_far_the_demo_is_and_then_that_page(page, dashboard):
    page.goto(f"{dashboard.url}/noise")
    expect(page.get_by_role("heading", name="Welcome")).to_be_visible()
    expect(page.get_by_role("progressbar")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel: making the demo library")).to_be_visible()
    expect(page.get_by_role("heading", name="Noise", exact=True)).to_be_visible(timeout=120_000)
    expect(page.get_by_text("This is a demo.")).to_be_visible()


def test_a_library_of_ones_own_without_a_face_leads_on_from_every_page(page, dashboard, demo):
    demo.open_demo()
    page.goto(f"{dashboard.url}/status")
    page.get_by_role("button", name="Open your own library").click()
    expect(page.get_by_text("This library is empty.")).to_be_visible()
    for title in ("People", "Map", "Find", "Review", "Tune", "Noise"):
        page.get_by_role("link", name=title).click()
        expect(page.get_by_role("heading", name="No faces yet")).to_be_visible()
    page.get_by_role("button", name="Look around in the demo first").click()
    expect(page.get_by_text("This is a demo.")).to_be_visible()
    page.get_by_role("link", name="People").click()
    expect(page.locator(".tile").first).to_be_visible()
