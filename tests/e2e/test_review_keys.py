"""Review by keys alone, in a real browser, on the demo published with mistakes."""

from __future__ import annotations

import re

import pytest
from driving import listening
from planted_library import mistaken, publish

from facecluster.demo import demo_truth

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.e2e


def history(demo) -> list[str]:
    """Titles of what was changed, newest first."""
    return [change.title for change in demo.history()]


@pytest.fixture
def review(page, dashboard, demo):
    """The Review page of the demo, with mistakes of every kind in it."""
    publish(demo, mistaken(demo_truth(), 4))
    page.goto(f"{dashboard.url}/review")
    expect(page.locator(".st-key-fc-review-card")).to_be_visible()
    return page


def said(page) -> str:
    return page.locator(".st-key-fc-review-then").inner_text()


def press(page, key: str, seen: str) -> None:
    """One key, once the page hears it; the page says so, and has nothing more to draw."""
    expect(page.locator('[class*="st-key-review-Y-"]')).to_have_count(1)
    listening(page)
    page.keyboard.press(key)
    expect(page.locator(".st-key-fc-review-foot")).to_contain_text(seen)
    listening(page)


def test_questions_are_answered_and_taken_back_with_keys_alone(review, demo):
    n = int(re.search(r"(\d+) questions in all", review.locator(".st-key-fc-review-foot").inner_text())[1])
    first = said(review)
    press(review, "s", f"{n - 1} questions in all")
    second = said(review)
    assert "Yes makes" in second
    press(review, "y", "1 answered in this visit")
    press(review, "n", "2 answered in this visit")
    before = history(demo)
    press(review, "u", "1 answered in this visit")
    press(review, "u", "0 answered in this visit")
    assert said(review) == second
    press(review, "u", f"{n} questions in all")
    assert said(review) == first
    now = history(demo)
    assert now[2:] == before
    assert all(title.startswith("Undid") for title in now[:2])


def test_an_answer_stays_given_after_a_reload(review):
    before = said(review)
    press(review, "y", "1 answered in this visit")
    after = said(review)
    assert after != before
    review.reload()
    expect(review.locator(".st-key-fc-review-then")).to_contain_text(after)
    expect(review.get_by_text("0 answered in this visit")).to_be_visible()


@pytest.mark.parametrize("width", [1400, 900, 390])
def test_both_faces_and_all_keys_are_seen_without_scrolling(review, width):
    review.set_viewport_size({"width": width, "height": 844 if width == 390 else 900})
    for name in ("Yes", "No", "Not sure", "Undo"):
        button = review.locator(".st-key-fc-review-keys").get_by_role("button", name=re.compile(f"^{name}"))
        expect(button.first).to_be_in_viewport(ratio=1)
    left, right = (review.locator(f".st-key-fc-tile-review-{side} img") for side in ("left", "right"))
    for picture in (left, right):
        expect(picture).to_have_js_property("complete", True)
    expect(left).to_be_in_viewport(ratio=1)
    expect(right).to_be_in_viewport(ratio=1)
    a, b = left.bounding_box(), right.bounding_box()
    assert a["y"] == pytest.approx(b["y"], abs=2)
    assert a["width"] == pytest.approx(b["width"], abs=2)
    assert a["x"] + a["width"] < b["x"]
    assert a["width"] > 140
