"""Names, ids and folders that try to be more than text, before a real browser: no dialog, no request, no element."""

from __future__ import annotations

import pytest

from facecluster.config import load_settings
from facecluster.wiring import open_service
from trust.names import HOST, hostile_library

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.e2e

STRONG = [
    "<img src=https://{h}/{t}.png onerror=alert(1)>",
    "![{t}](https://{h}/{t}.png)",
    "[{t}](javascript:alert(1))",
    "https://{h}/{t}",
    "<script>alert('{t}')</script>",
    "www.{h}/{t}",
    "1. :red[**{t}**] :material/delete:",
]
HEADINGS = ("People", "Map", "Find", "Review", "Tune", "Noise", "History", "Status")
# What a name could have become: elements that no page of ours holds below its main part.
INJECTED = (
    "a[href*='evil'], a[href^='javascript'], a[href^='mailto'], img[src*='evil'], iframe, object, svg[onload], "
    "[onerror], [onmouseover], .stMain script, .stMain .katex, "
    "[data-testid='stMarkdownContainer'] :is(strong, em, del, code, ol, ul)"
)


@pytest.fixture
def library(tmp_path):
    texts = [one.format(t=f"zq{k}", h=HOST) for k, one in enumerate(STRONG)]
    service = hostile_library(tmp_path, texts)
    service.prepare(service.defaults.blur_threshold)
    service.map()
    return service.settings.library


def test_hostile_names_open_no_dialog_ask_for_nothing_and_add_no_element(page, dashboard):
    dialogs: list[str] = []

    def seen(dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", seen)
    page.goto(dashboard.url)

    def looked(where: str) -> None:
        expect(page.locator('[data-test-script-state="running"]')).to_have_count(0)
        found = page.locator(INJECTED)
        assert found.evaluate_all("all => all.map(one => one.outerHTML)") == [], where

    expect(page.locator(".tile").first).to_be_visible()
    looked("People")
    assert page.get_by_text("zq").count() > 0
    page.locator(".tile .crop").first.click()
    page.wait_for_url("**/person?id=*")
    expect(page.locator(".tile").first).to_be_visible()
    looked("Person")
    for heading in HEADINGS:
        page.get_by_test_id("stSidebarNav").get_by_role("link", name=heading).click()
        expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible()
        looked(heading)
        for box in page.get_by_test_id("stSelectbox").or_(page.get_by_test_id("stMultiSelect")).all()[:2]:
            box.locator("input").click()
            page.wait_for_timeout(300)
            looked(f"{heading}, with a box open")
            page.keyboard.press("Escape")
    assert dialogs == []
    assert not [url for url in dashboard.requested if HOST in url]


def test_the_only_csv_of_an_answer_is_ours(page, dashboard, library):
    view = open_service(load_settings(library=library)).view()
    page.goto(f"{dashboard.url}/find?person={view.cards[0].id}&as=table")
    expect(page.get_by_text("CSV of these")).to_be_visible()
    table = page.locator(".st-key-fc-find-table")
    expect(table).to_be_visible()
    table.hover()
    expect(table.get_by_label("Search")).to_be_visible()
    expect(table.get_by_label("Download as CSV")).to_be_hidden()
    assert table.get_by_label("Download as CSV").count() > 0, "Streamlit calls it something else by now"
