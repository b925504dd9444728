"""The whole job in a real browser, on the demo library."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from driving import tab

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.e2e

PAGES = {
    "": "People",
    "map": "Map",
    "find": "Find",
    "review": "Review",
    "tune": "Tune",
    "noise": "Noise",
    "history": "History",
    "status": "Status",
}
TILE = ".tile"


def exported(library) -> dict:
    """What another program sees of the demo library."""
    command = [sys.executable, "-m", "facecluster", "export", "--json"]
    demo = {"FACECLUSTER_LIBRARY": f"{library}-demo", "FACECLUSTER_USER": "demo"}
    done = subprocess.run(command, env={**os.environ, **demo}, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def faces_by_name(library) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for face in exported(library)["faces"]:
        if face["name"]:
            found.setdefault(face["name"], set()).add(face["id"])
    return found


def type_name(page, at: int, name: str) -> None:
    """In place, under the at-th face."""
    page.locator(TILE).nth(at).locator(".name").click()
    field = page.locator(".editor input")
    field.fill(name)
    field.press("Enter")


def name_person(page, at: int, name: str) -> None:
    type_name(page, at, name)
    expect(page.get_by_text(f"“{name}”").first).to_be_visible()


def shown_name(page, at: int):
    return page.locator(TILE).nth(at).locator(".name")


def test_names_stay_on_their_faces_when_people_are_found_anew(page, dashboard):
    page.goto(dashboard.url)
    expect(page.locator(TILE).first).to_be_visible()
    for at, name in enumerate(["Anna", "Ben", "Zoë Müller"]):
        name_person(page, at, name)
    named = faces_by_name(dashboard.library)
    assert set(named) == {"Anna", "Ben", "Zoë Müller"}
    before = {face["id"]: face["cluster_id"] for face in exported(dashboard.library)["faces"]}

    page.get_by_role("link", name="Tune").click()
    size = page.get_by_role("slider", name=re.compile("needs at least"))
    expect(size).to_be_visible()
    for _ in range(4):
        size.press("ArrowRight")
    publish = page.get_by_role("button", name=re.compile(r"^Publish \d"))
    expect(publish).to_be_enabled()
    publish.click()
    expect(page.get_by_text(re.compile("Published")).first).to_be_visible()

    after = exported(dashboard.library)
    now = faces_by_name(dashboard.library)
    assert set(now) == set(named)
    for name, faces in named.items():
        assert len(now[name] & faces) > 0.9 * len(faces), f"{name} is on other faces"
    changed = [face for face in after["faces"] if face["cluster_id"] != before[face["id"]]]
    assert changed, "other people did change"
    page.get_by_role("link", name="People").click()
    expect(page.locator(TILE).get_by_text("Anna", exact=True)).to_be_visible()


def test_a_rename_can_be_undone_and_survives_a_reload(page, dashboard):
    page.goto(dashboard.url)
    expect(page.locator(TILE).first).to_be_visible()
    name_person(page, 0, "Grace Hopper")
    page.reload()
    expect(shown_name(page, 0)).to_have_text("Grace Hopper")
    name_person(page, 0, "Ada")
    page.get_by_role("button", name="Undo").click()
    expect(shown_name(page, 0)).to_have_text("Grace Hopper")


def test_a_name_that_exists_is_asked_about_before_anything_is_written(page, dashboard):
    page.goto(dashboard.url)
    expect(page.locator(TILE).first).to_be_visible()
    name_person(page, 0, "Anna")
    type_name(page, 1, "anna")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    assert [p["name"] for p in exported(dashboard.library)["people"] if p["name"]] == ["Anna"]
    dialog.get_by_role("button", name=re.compile("Merge")).click()
    expect(dialog).not_to_be_visible()
    expect(page.get_by_text("Merged").first).to_be_visible()
    people = exported(dashboard.library)["people"]
    assert [p["name"] for p in people if p["name"]] == ["Anna"]
    assert people[0]["face_count"] > 81


def test_every_page_is_reached_by_its_own_address_on_a_fresh_server(page, dashboard, demo):
    person = demo.view().people()[1].id
    face = demo.view().noise[0].face
    demo.rename(person, "Anna")
    links = {
        f"person?id={person}": page.get_by_role("textbox", name="Name of Anna"),
        f"find?person={person}": page.get_by_role("heading", name="Anna", exact=True),
        f"find?face={face}": page.get_by_role("heading", name="Nobody's face", exact=True),
    } | {path: page.get_by_role("heading", name=title, exact=True) for path, title in PAGES.items()}
    for path, seen in links.items():
        page.goto(f"{dashboard.url}/{path}")
        expect(seen).to_be_visible()
        expect(page.get_by_test_id("stSidebarNavLink").first).to_contain_text("People")
        expect(page.get_by_test_id("stException")).to_have_count(0)
        assert path.split("?")[-1] in page.url


def test_two_windows_that_name_one_person_do_not_overwrite_each_other(browser, page, dashboard):
    page.goto(dashboard.url)
    expect(page.locator(TILE).first).to_be_visible()
    with tab(browser, dashboard) as second:
        second.goto(dashboard.url)
        expect(second.locator(TILE).first).to_be_visible()
        name_person(page, 0, "Anna")
        type_name(second, 0, "Bert")
        expect(second.get_by_text(re.compile("Meanwhile.*“Anna”.*“Bert”"))).to_be_visible()
        assert set(faces_by_name(dashboard.library)) == {"Anna"}
