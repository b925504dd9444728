"""Find in a real browser: photos by who is in them, an uploaded vector, a table that goes along, keys."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest

from facecluster.answers import Asked

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.e2e
TILE = ".tile"


@pytest.fixture
def service(demo):
    """The demo, with Anna and Ben, who are in photos together."""
    view = demo.view()

    def photos(card):
        return set(view.faces.photo_number[view.rows(card.id)].tolist())

    anna, *others = view.people()
    ben = max(others, key=lambda card: len(photos(card) & photos(anna)))
    demo.rename(anna.id, "Anna")
    demo.rename(ben.id, "Ben")
    return demo


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
    expect(page.get_by_text(f"in {every.n_photos} photos, the surest of {every.n_photos_there}")).to_be_visible()
    choose(page, "All of them", "Ben")
    both = service.find(Asked(all_of=(anna, ben)))
    expect(page.get_by_text(f"{len(both.faces)} faces in {both.n_photos} photos", exact=True)).to_be_visible()
    expect(page).to_have_url(re.compile(f"all={anna}&all={ben}"))
    page.reload()
    expect(page.get_by_text(f"{len(both.faces)} faces in {both.n_photos} photos", exact=True)).to_be_visible()
    page.goto(f"{dashboard.url}/find?all={anna}&without={ben}&most=200")
    alone = service.find(Asked(all_of=(anna,), without=(ben,), most=200))
    expect(page.get_by_text(f"{len(alone.faces)} faces in {alone.n_photos} photos", exact=True)).to_be_visible()
    assert alone.n_photos == every.n_photos_there - both.n_photos


def test_an_uploaded_vector_is_narrowed_by_keys_and_its_table_goes_along(page, dashboard, service, tmp_path):
    view = service.view()
    vector = view.faces.vectors[view.rows(person(service, "Anna"))[4]]
    np.save(tmp_path / "mine.npy", vector * 3)
    page.goto(f"{dashboard.url}/find?by=vector")
    page.locator("input[type=file]").set_input_files(tmp_path / "mine.npy")
    expect(page.locator(TILE).first).to_contain_text("direct 1.00")
    slider = page.get_by_role("slider", name=re.compile("However alike"))
    slider.focus()
    for step in range(1, 4):  # the slider keeps the focus from one answer to the next
        page.keyboard.press("PageUp")
        expect(page).to_have_url(re.compile(rf"least=0\.{step}"))
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
    expect(page.locator(TILE).first).to_contain_text("direct")
    page.locator(TILE).first.focus()
    page.keyboard.press("f")
    expect(page).to_have_url(re.compile(f"face={first}"))
    asked = page.locator(".st-key-fc-who").get_by_role("heading")
    expect(asked).to_have_text(re.compile("^(One face of|Nobody)"))
    page.go_back()
    expect(asked).to_have_text("Anna")
    assert f"person={anna}" in page.url
