"""The map in a real browser: hover, draw around faces, act in place, look closer, save; by mouse and by keyboard."""

from __future__ import annotations

import math
import re

import pytest

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.e2e

CARD = ".st-key-fc-map-act"
NEWS = ".st-key-fc-news"
# Where a point of the at-th drawn person is on the screen, and how far from it their others lie.
HEAP = """
(person) => {
  const plot = document.querySelector(".fc-map-plot");
  let at = plot;
  while (!at.faceMap) at = at.parentElement;
  const map = at.faceMap;
  const box = plot.getBoundingClientRect(), { xaxis, yaxis } = plot._fullLayout, found = [];
  map.who.forEach((who, i) => {
    if (who === person) found.push([box.left + xaxis.l2p(map.xy[2 * i]), box.top + yaxis.l2p(map.xy[2 * i + 1])]);
  });
  return found;
}
"""
LARGEST = """
() => {
  const plot = document.querySelector(".fc-map-plot");
  let at = plot;
  while (!at.faceMap) at = at.parentElement;
  const map = at.faceMap;
  return map.data.people.reduce((most, person, i, all) => (person[1] > all[most][1] ? i : most), 0);
}
"""
RANGE = "() => document.querySelector('.fc-map-plot')._fullLayout.xaxis.range"


def open_map(page, dashboard) -> None:
    page.goto(f"{dashboard.url}/map")
    page.locator(".fc-map-plot[data-drawn]").wait_for()


def around(page, points, room=14):
    """A ring around some points."""
    x, y = (sum(p[axis] for p in points) / len(points) for axis in (0, 1))
    reach = max(math.dist((x, y), p) for p in points) + room
    return [
        (x + reach * math.cos(turn / 16 * math.tau), y + reach * math.sin(turn / 16 * math.tau)) for turn in range(16)
    ]


def draw(page, corners) -> None:
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in corners[1:]:
        page.mouse.move(*corner)
    page.mouse.up()


def test_faces_are_drawn_around_named_in_place_and_taken_back(page, dashboard):
    open_map(page, dashboard)
    person = page.evaluate(LARGEST)
    heap = page.evaluate(HEAP, person)

    page.mouse.move(*heap[0])
    card = page.locator(".card")
    expect(card).to_be_visible()
    expect(card.locator("img")).to_have_attribute("src", re.compile("^(data:image|/|http)"))
    expect(card).to_contain_text(f"{len(heap)} faces")

    page.locator("[data-do=in]").click()
    zoomed = page.evaluate(RANGE)
    page.locator("[data-do=whole]").click()
    draw(page, around(page, heap))
    expect(page.locator(CARD).get_by_text(re.compile(r"\d+ nearest to an unnamed person"))).to_be_visible()
    chosen = page.evaluate(RANGE)
    assert chosen != zoomed
    name = page.locator(".st-key-map-name input")
    name.fill("Anna")
    name.press("Enter")
    expect(page.locator(NEWS)).to_contain_text("“Anna”")
    expect(page.locator(CARD)).to_have_count(0)
    assert page.evaluate(RANGE) == chosen, "an act moved the map"
    expect(page.locator(".fc-map-plot .annotation-text", has_text="Anna")).to_be_visible()
    page.locator(NEWS).get_by_role("button", name="Undo").click()
    expect(page.locator(NEWS)).to_contain_text("Undid")


def test_a_click_on_a_face_opens_its_person(page, dashboard):
    open_map(page, dashboard)
    page.mouse.click(*page.evaluate(HEAP, page.evaluate(LARGEST))[0])
    page.wait_for_url(re.compile("/person\\?id="))
    expect(page.get_by_role("button", name=re.compile("Confirm all"))).to_be_visible()


def test_without_a_mouse_what_is_in_view_is_selected_listed_and_given_up(page, dashboard):
    open_map(page, dashboard)
    plot = page.locator(".fc-map-plot")
    plot.focus()
    for key in ("+", "+", "ArrowLeft"):
        page.keyboard.press(key)
    plot.press("Enter")
    head = page.locator(f"{CARD} h3")
    expect(head).to_have_text(re.compile(r"^[\d,]+ faces?$"))
    page.get_by_role("button", name=re.compile("^List all")).press("Enter")
    expect(page.get_by_role("listbox", name="Faces in what you drew").get_by_role("option").first).to_be_visible()
    plot.press("Escape")
    expect(page.locator(CARD)).to_have_count(0)


def test_the_map_is_saved_as_a_picture_and_offers_nothing_to_a_server(page, dashboard):
    open_map(page, dashboard)
    context = page.evaluate("() => document.querySelector('.fc-map-plot')._context")
    assert (context["showSendToCloud"], context["plotlyServerURL"], context["displaylogo"]) == (False, "", False)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save picture").click()
    assert saved.value.suggested_filename == "face map.png"
    assert f"{dashboard.url}/plotly.min.js" in {url.split("?")[0] for url in dashboard.requested}
