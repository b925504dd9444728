"""Find in a real browser: photos by who is in them, an uploaded vector, a table that goes along, keys."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest

from facecluster.answers import Asked
from facecluster.config import load_settings
from facecluster.wiring import demo_settings, open_service

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.e2e
TILE = ".tile"
WAIT = 60_000


@pytest.fixture
def service(dashboard):
    """The demo, with Anna and Ben, who are in photos together."""
    made = open_service(demo_settings(load_settings(library=dashboard.library)))
    made.open_demo()
    view = made.view()

    def photos(card):
        return set(view.faces.photo_number[view.rows(card.id)].tolist())

    anna, *others = view.people()
    ben = max(others, key=lambda card: len(photos(card) & photos(anna)))
    made.rename(anna.id, "Anna")
    made.rename(ben.id, "Ben")
    return made


def person(service, name: str):
    return next(card.id for card in service.view().people() if card.name == name)


def choose(page, label: str, name: str) -> None:
    field = page.get_by_label(label, exact=True)
    field.click()
    field.press_sequentially(name)
    page.get_by_role("option", name=re.compile(name)).click()


def test_photos_with_anna_and_ben_then_without_ben(page, dashboard, service):
    anna, ben = person(service, "Anna"), person(service, "Ben")
    page.goto(f"{dashboard.url}/find?all={anna}")
    every = service.find(Asked(all_of=(anna,)))
    expect(page.get_by_text(f"in {every.n_photos} photos, the surest of {every.n_photos_there}")).to_be_visible(
        timeout=WAIT
    )
    choose(page, "All of them", "Ben")
    both = service.find(Asked(all_of=(anna, ben)))
    expect(page.get_by_text(f"{len(both.faces)} faces in {both.n_photos} photos", exact=True)).to_be_visible(
        timeout=WAIT
    )
    expect(page).to_have_url(re.compile(f"all={anna}&all={ben}"), timeout=WAIT)
    page.reload()
    expect(page.get_by_text(f"{len(both.faces)} faces in {both.n_photos} photos", exact=True)).to_be_visible(
        timeout=WAIT
    )
    page.goto(f"{dashboard.url}/find?all={anna}&without={ben}&most=200")
    alone = service.find(Asked(all_of=(anna,), without=(ben,), most=200))
    expect(page.get_by_text(f"{len(alone.faces)} faces in {alone.n_photos} photos", exact=True)).to_be_visible(
        timeout=WAIT
    )
    assert alone.n_photos == every.n_photos_there - both.n_photos


def test_an_uploaded_vector_is_narrowed_by_keys_and_its_table_goes_along(page, dashboard, service, tmp_path):
    view = service.view()
    vector = view.faces.vectors[view.rows(person(service, "Anna"))[4]]
    np.save(tmp_path / "mine.npy", vector * 3)
    page.goto(f"{dashboard.url}/find?by=vector")
    page.locator("input[type=file]").set_input_files(tmp_path / "mine.npy")
    expect(page.locator(TILE).first).to_contain_text("direct 1.00", timeout=WAIT)
    slider = page.get_by_role("slider", name=re.compile("However alike"))
    slider.focus()
    for step in range(1, 4):  # the slider keeps the focus from one answer to the next
        page.keyboard.press("PageUp")
        expect(page).to_have_url(re.compile(rf"least=0\.{step}"), timeout=WAIT)
    least = float(re.search(r"least=([\d.]+)", page.url)[1])
    found = service.find(Asked(vector=vector, least=least)).faces
    page.get_by_text("Table", exact=True).click()
    with page.expect_download() as started:
        page.get_by_role("button", name=f"CSV of these {len(found)} faces").click()
    with open(started.value.path(), newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["face"] for row in rows] == [one.face for one in found]
    assert all(float(row["cosine"]) >= least for row in rows)


def test_a_found_face_is_searched_by_with_a_key_and_back_goes_back(page, dashboard, service):
    anna = person(service, "Anna")
    page.goto(f"{dashboard.url}/find?person={anna}")
    first = service.find(Asked(person=anna)).faces[0].face
    expect(page.locator(TILE).first).to_contain_text("direct", timeout=WAIT)
    page.locator(TILE).first.focus()
    page.keyboard.press("f")
    expect(page).to_have_url(re.compile(f"face={first}"), timeout=WAIT)
    expect(page.locator(TILE).first).to_contain_text("direct", timeout=WAIT)
    expect(page.get_by_role("heading", name="Anna")).to_have_count(0, timeout=WAIT)
    page.go_back()
    expect(page.get_by_role("heading", name="Anna")).to_be_visible(timeout=WAIT)
    assert f"person={anna}" in page.url
