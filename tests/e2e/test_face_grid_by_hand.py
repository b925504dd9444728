"""The face grid under a curator's hands: names by keyboard, selections, drags, and what crosses the wire."""

from __future__ import annotations

import re
import urllib.error
import urllib.request

import pytest
from driving import listening, tab, until

from facecluster.config import load_settings
from facecluster.view import PersonCard
from facecluster.wiring import demo_settings, open_service

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.e2e


def people_of(library) -> list[PersonCard]:
    """As another process sees the demo library, most faces first."""
    return list(open_service(demo_settings(load_settings(library=library))).view().people())


def names_of(library) -> list[str]:
    return sorted(person.name for person in people_of(library) if person.name)


def tile(page, at: int):
    return page.locator(f'.tile[aria-posinset="{at + 1}"]')


def opened(page, dashboard) -> None:
    page.goto(dashboard.url)
    expect(tile(page, 0)).to_be_visible()


def said(page, text: str) -> None:
    expect(page.get_by_text(text).first).to_be_visible()


def selected(page) -> list[str]:
    return page.locator('.tile[aria-selected="true"]').evaluate_all("all => all.map(one => one.ariaPosInSet)")


def test_people_are_named_by_keyboard_alone(page, dashboard):
    opened(page, dashboard)
    tile(page, 0).focus()
    page.keyboard.press("F2")
    page.keyboard.type("Anna")
    page.keyboard.press("Enter")
    said(page, "“Anna”")
    expect(tile(page, 0)).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.type("Ben")
    page.keyboard.press("Tab")
    page.keyboard.type("Zoë Müller")
    page.keyboard.press("Tab")
    page.keyboard.type("nobody")
    page.keyboard.press("Escape")
    said(page, "“Zoë Müller”")
    expect(tile(page, 3)).to_be_focused()
    expect(tile(page, 3).locator(".name")).to_have_text("Add name")
    assert names_of(dashboard.library) == ["Anna", "Ben", "Zoë Müller"]


def test_names_typed_as_fast_as_can_be_are_all_kept(page, dashboard):
    opened(page, dashboard)
    tile(page, 0).locator(".name").click()
    names = [f"Person {at:02}" for at in range(12)]
    for name in names:
        page.keyboard.type(name)
        page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    said(page, "“Person 11”")
    until(lambda: len(names_of(dashboard.library)) == len(names))
    assert names_of(dashboard.library) == names


def test_tab_passes_over_people_who_have_a_name(page, dashboard):
    opened(page, dashboard)
    tile(page, 1).locator(".name").click()
    page.keyboard.type("Ben")
    page.keyboard.press("Enter")
    said(page, "“Ben”")
    tile(page, 0).locator(".name").click()
    page.keyboard.type("Anna")
    page.keyboard.press("Tab")
    page.keyboard.type("Clara")
    page.keyboard.press("Enter")
    said(page, "“Clara”")
    expect(tile(page, 2).locator(".name")).to_have_text("Clara")
    assert names_of(dashboard.library) == ["Anna", "Ben", "Clara"]


def test_a_name_with_markup_is_text_in_the_grid_and_in_its_suggestions(page, dashboard):
    opened(page, dashboard)
    name = "<img src=x onerror=alert(1)> *b*"
    tile(page, 0).locator(".name").click()
    page.locator(".editor input").fill(name)
    page.keyboard.press("Enter")
    expect(tile(page, 0).locator(".name")).to_have_text(name)
    said(page, name)
    tile(page, 1).locator(".name").click()
    page.keyboard.type("<im")
    expect(page.locator(".menu .option")).to_contain_text(name)
    assert page.locator(".menu .text img").count() == 0
    page.keyboard.press("Escape")


def test_a_suggested_name_asks_whether_the_two_are_one_and_cancel_changes_nothing(page, dashboard):
    opened(page, dashboard)
    tile(page, 0).locator(".name").click()
    page.keyboard.type("Anna Maria")
    page.keyboard.press("Enter")
    said(page, "“Anna Maria”")
    tile(page, 1).focus()
    page.keyboard.type("mar")
    expect(page.locator(".menu .option")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name=re.compile("Cancel")).click()
    expect(dialog).not_to_be_visible()
    expect(tile(page, 1).locator(".name")).to_have_text("Add name")
    assert names_of(dashboard.library) == ["Anna Maria"]


def test_a_name_that_is_refused_gives_way_to_the_one_there_was(page, dashboard):
    opened(page, dashboard)
    tile(page, 0).locator(".name").click()
    page.locator(".editor input").fill("x" * 300)
    page.keyboard.press("Enter")
    said(page, "A name may have 200 characters")
    expect(tile(page, 0).locator(".name")).to_have_text("Add name")


def test_a_selection_is_made_by_corner_shift_and_keys_and_survives_a_search(page, dashboard):
    opened(page, dashboard)
    tile(page, 4).locator(".name").click()
    page.keyboard.type("Anna")
    page.keyboard.press("Enter")
    said(page, "“Anna”")
    tile(page, 1).locator(".crop").click(position={"x": 15, "y": 15})
    tile(page, 3).locator(".crop").click(modifiers=["Shift"])
    tile(page, 5).locator(".crop").click(modifiers=["ControlOrMeta"])
    tile(page, 2).locator(".crop").click(modifiers=["ControlOrMeta"])
    assert selected(page) == ["2", "4", "6"]
    said(page, "3 people selected")
    page.get_by_placeholder("Search names").fill("anna")
    expect(page.locator(".tile")).to_have_count(1)
    said(page, "3 people selected")
    page.get_by_placeholder("Search names").fill("")
    expect(tile(page, 5)).to_be_visible()
    assert selected(page) == ["2", "4", "6"]
    tile(page, 0).focus()
    page.keyboard.press("ControlOrMeta+a")
    said(page, f"{len(people_of(dashboard.library))} people selected")
    page.keyboard.press("Escape")
    expect(page.get_by_text("people selected")).to_have_count(0)
    assert selected(page) == []
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowRight")
    assert selected(page) == ["1", "2"]
    page.get_by_role("button", name="Clear").click()
    expect(page.locator('.tile[aria-selected="true"]')).to_have_count(0)


def test_while_people_are_selected_letters_are_what_the_buttons_say(page, dashboard):
    opened(page, dashboard)
    before = people_of(dashboard.library)
    tile(page, 0).focus()
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowRight")
    said(page, "2 people selected")
    expect(page.get_by_role("button", name="Merge into the largest")).to_be_enabled()
    listening(page)
    page.keyboard.press("m")
    said(page, "Merged")
    assert page.locator(".editor").count() == 0
    expect(page.locator('.tile[aria-selected="true"]')).to_have_count(0)
    assert len(people_of(dashboard.library)) == len(before) - 1


def merged_by_hand(page, one: int, into: int, name: str) -> None:
    listening(page)
    start, end = tile(page, one).locator(".crop").bounding_box(), tile(page, into).locator(".crop").bounding_box()
    page.mouse.move(start["x"] + 60, start["y"] + 60)
    page.mouse.down()
    page.mouse.move(end["x"] + 80, end["y"] + 80, steps=8)
    expect(page.locator(".ghost")).to_contain_text(f"Merge into {name}")
    page.mouse.up()
    said(page, "Merged")


def test_dragging_a_person_onto_another_merges_them_and_undo_parts_them(page, dashboard):
    opened(page, dashboard)
    before = people_of(dashboard.library)
    tile(page, 0).locator(".name").click()
    page.keyboard.type("Anna")
    page.keyboard.press("Enter")
    said(page, "“Anna”")
    merged_by_hand(page, 2, 0, "Anna")
    expect(tile(page, 0).locator(".line")).to_contain_text(str(before[0].n_faces + before[2].n_faces) + " faces")
    assert len(people_of(dashboard.library)) == len(before) - 1
    page.get_by_role("button", name="Undo").click()
    said(page, "Undid")
    assert len(people_of(dashboard.library)) == len(before)


def test_the_name_of_who_became_somebody_else_is_suggested_no_more(page, dashboard, demo):
    people = people_of(dashboard.library)
    demo.rename(people[0].id, "Anna")
    demo.rename(people[2].id, "Annabel")  # before the list is made, so that it holds both names
    opened(page, dashboard)
    tile(page, 1).focus()
    page.keyboard.type("ann")
    expect(page.locator(".menu .option")).to_have_count(2)
    page.keyboard.press("Escape")
    merged_by_hand(page, 2, 0, "Anna")
    tile(page, 1).focus()
    page.keyboard.type("ann")
    expect(page.locator(".menu .option")).to_have_count(1)
    page.keyboard.press("Escape")


def test_a_click_opens_the_person_and_going_back_finds_the_place_again(page, dashboard):
    opened(page, dashboard)
    tile(page, 0).focus()
    page.keyboard.press("End")
    last = len(people_of(dashboard.library))
    expect(tile(page, last - 1)).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("[class*=st-key-fc-who]").first).to_be_visible()
    page.get_by_role("link", name="People").click()
    expect(tile(page, last - 1)).to_be_in_viewport()


def test_only_what_is_in_sight_is_drawn_and_nothing_stands_out_on_a_phone(browser, page, dashboard):
    opened(page, dashboard)
    n_people = len(people_of(dashboard.library))
    assert page.locator(".tile").count() < n_people
    with tab(browser, dashboard, viewport={"width": 390, "height": 844}) as phone:
        opened(phone, dashboard)
        boxes = [tile(phone, at).bounding_box() for at in range(3)]
        assert len({box["y"] for box in boxes}) == 1, "three to a row"
        assert all(box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in boxes)
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_rename_sends_less_than_ten_kilobytes(page, dashboard):
    frames: list[int] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(len(frame))))
    opened(page, dashboard)
    page.wait_for_timeout(1000)
    frames.clear()
    tile(page, 0).locator(".name").click()
    page.keyboard.type("Anna")
    page.keyboard.press("Enter")
    said(page, "“Anna”")
    page.wait_for_timeout(1000)
    assert sum(frames) < 10_000


def test_pictures_come_from_signed_addresses_only(page, dashboard):
    opened(page, dashboard)
    address = tile(page, 0).locator("img").evaluate("one => one.src")
    with urllib.request.urlopen(address) as answer:  # noqa: S310  (localhost)
        assert answer.headers["Cache-Control"].startswith("private")
        assert answer.headers["Content-Type"] == "image/jpeg"
    folder, token, picture = address.rsplit("/", 2)
    for wrong in (f"{folder}/{token[:-1]}x/{picture}", f"{folder}/x/{picture}", address.replace("s=", "s=9")):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(wrong)  # noqa: S310


def test_faces_are_walked_through_with_keys_and_given_to_somebody(page, dashboard):
    opened(page, dashboard)
    tile(page, 1).locator(".name").click()
    page.keyboard.type("Ben")
    page.keyboard.press("Enter")
    said(page, "“Ben”")
    person = people_of(dashboard.library)[0]
    tile(page, 0).locator(".crop").click()
    page.wait_for_url(re.compile("/person\\?id="))
    expect(page.locator(".stage").get_by_role("listbox", name="Faces of Unnamed")).to_be_visible()

    tile(page, 0).focus()
    for key in ("x", "F2"):
        page.keyboard.press(key)
    assert page.locator(".editor").count() == 0
    page.keyboard.press("n")
    page.keyboard.press("y")  # at once: it is about the next face
    said(page, "Confirmed 1 face")
    heading = page.locator(".heading")
    expect(heading).to_have_text([re.compile("^Not confirmed")])
    page.keyboard.press("w")
    expect(page.get_by_role("dialog").get_by_text("Why is this face here?")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)

    n_open = person.n_faces - 2
    tile(page, 0).focus()
    page.keyboard.press("End")
    expect(tile(page, n_open)).to_be_focused()
    expect(heading.last).to_have_text(re.compile("^Confirmed"))
    page.keyboard.press("ArrowUp")  # into the last row of the section above
    assert page.evaluate("document.activeElement.shadowRoot.activeElement.at") < n_open
    page.keyboard.press("ArrowDown")
    expect(tile(page, n_open)).to_be_focused()
    page.keyboard.press("Home")

    tile(page, 0).locator(".crop").click(position={"x": 12, "y": 12})
    tile(page, 3).locator(".crop").click(modifiers=["Shift"])
    said(page, "4 faces selected")
    listening(page)
    start = tile(page, 1).locator(".crop").bounding_box()
    page.mouse.move(start["x"] + 60, start["y"] + 60)
    page.mouse.down()
    page.mouse.move(start["x"] + 90, start["y"] + 160, steps=4)
    expect(page.locator(".target")).to_have_text(["Ben"])
    end = page.locator(".target").bounding_box()
    page.mouse.move(end["x"] + 30, end["y"] + 30, steps=8)
    expect(page.locator(".ghost")).to_contain_text("Give 4 faces to Ben")
    page.mouse.up()
    said(page, "Gave 4 faces to “Ben”")
    expect(page.locator('.tile[aria-selected="true"]')).to_have_count(0)
    heading.get_by_role("button", name=f"Confirm these {n_open - 4}").click()
    said(page, f"Confirmed {n_open - 4} faces")
    assert people_of(dashboard.library)[0].n_faces == person.n_faces - 5


def test_headings_keep_their_order_and_their_buttons_the_focus(page, dashboard, demo):
    card = demo.view().people()[0]
    page.goto(f"{dashboard.url}/person?id={card.id}")
    page.get_by_text("Folder", exact=True).click()
    expect(page.locator(".heading").first).to_be_visible()
    titles = sorted({face.folder for face in demo.view().faces_of(card.id)})
    tile(page, 0).focus()
    page.keyboard.press("End")
    expect(page.locator(".heading .title").last).to_have_text(titles[-1])
    page.mouse.move(700, 500)
    for _ in range(6):
        page.mouse.wheel(0, -250)
        listening(page)
        shown = page.locator(".heading .title").all_text_contents()
        assert shown == sorted(shown), "who goes through them by keys meets them from above to below"

    page.goto(f"{dashboard.url}/noise")
    buttons = page.locator(".heading button.deed")
    expect(buttons.first).to_be_visible()
    listening(page)
    button = buttons.nth(1)
    words = button.text_content()
    page.locator(".tile").first.locator(".crop").click(position={"x": 12, "y": 12})
    button.focus()
    said(page, "1 face selected")
    listening(page)
    expect(button).to_be_focused()
    expect(button).to_have_text(words)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    listening(page)
    where = "document.activeElement.shadowRoot?.activeElement?.className ?? document.activeElement.tagName"
    assert "tile" in page.evaluate(where) or "deed" in page.evaluate(where), "the keys go on in the grid"
