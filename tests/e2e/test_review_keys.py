"""Review by keys alone, in a real browser, on the demo published with mistakes."""

from __future__ import annotations

import re

import pytest
from planted_library import mistaken, publish

from facecluster.config import load_settings
from facecluster.demo import demo_truth
from facecluster.wiring import demo_settings, open_service

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.e2e


def history(library) -> list[str]:
    """Titles of what was changed, newest first."""
    return [change.title for change in open_service(demo_settings(load_settings(library=library))).history()]


@pytest.fixture
def review(page, dashboard):
    """The Review page of the demo, with mistakes of every kind in it."""
    service = open_service(demo_settings(load_settings(library=dashboard.library)))
    service.open_demo()
    publish(service, mistaken(demo_truth(), 4))
    page.goto(f"{dashboard.url}/review")
    expect(page.locator(".st-key-fc-review-card")).to_be_visible(timeout=60_000)
    return page


def said(page) -> str:
    return page.locator(".st-key-fc-review-then").inner_text()


def press(page, key: str, seen: str) -> None:
    """One key; the page says so, and has nothing more to draw."""
    page.keyboard.press(key)
    expect(page.locator(".st-key-fc-review-foot")).to_contain_text(seen, timeout=30_000)
    expect(page.locator('[data-test-script-state="running"]')).to_have_count(0, timeout=30_000)
    expect(page.locator('[class*="st-key-review-Y-"]')).to_have_count(1, timeout=30_000)


def test_questions_are_answered_and_taken_back_with_keys_alone(review, dashboard):
    n = int(re.search(r"(\d+) questions in all", review.locator(".st-key-fc-review-foot").inner_text())[1])
    first = said(review)
    press(review, "s", f"{n - 1} questions in all")
    second = said(review)
    assert "Yes makes" in second
    press(review, "y", "1 answered in this visit")
    press(review, "n", "2 answered in this visit")
    before = history(dashboard.library)
    press(review, "u", "1 answered in this visit")
    press(review, "u", "0 answered in this visit")
    assert said(review) == second
    press(review, "u", f"{n} questions in all")
    assert said(review) == first
    now = history(dashboard.library)
    assert now[2:] == before
    assert all(title.startswith("Undid") for title in now[:2])


def test_an_answer_stays_given_after_a_reload(review):
    before = said(review)
    press(review, "y", "1 answered in this visit")
    after = said(review)
    assert after != before
    review.reload()
    expect(review.locator(".st-key-fc-review-then")).to_contain_text(after, timeout=60_000)
    expect(review.get_by_text("0 answered in this visit")).to_be_visible()


@pytest.mark.parametrize("width", [1400, 900, 390])
def test_both_faces_and_all_keys_are_seen_without_scrolling(review, width):
    review.set_viewport_size({"width": width, "height": 844 if width == 390 else 900})
    for name in ("Yes", "No", "Not sure", "Undo"):
        button = review.locator(".st-key-fc-review-keys").get_by_role("button", name=re.compile(f"^{name}"))
        expect(button.first).to_be_in_viewport(ratio=1)
    left, right = (review.locator(f".st-key-fc-tile-review-{side} img") for side in ("left", "right"))
    expect(left).to_be_in_viewport(ratio=1)
    expect(right).to_be_in_viewport(ratio=1)
    a, b = left.bounding_box(), right.bounding_box()
    assert a["y"] == pytest.approx(b["y"], abs=2)
    assert a["width"] == pytest.approx(b["width"], abs=2)
    assert a["x"] + a["width"] < b["x"]
    assert a["width"] > 140
