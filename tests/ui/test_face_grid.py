"""What the face grid sends to the browser, and what it does with what comes back; the browser's half is in e2e."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from facecluster.ui import crops, face_grid, face_lists

SCOPE = "people"


@pytest.fixture(autouse=True)
def _served(monkeypatch):
    """As on a server with the route of the crops."""
    monkeypatch.setattr(crops, "_served", True)


def parts(test: AppTest, scope: str = SCOPE) -> dict[str, dict]:
    """The list, the order and what changed, as the browser gets them."""
    protos = [element.proto for element in test.get("bidi_component")]
    found = [json.loads(proto.bytes or proto.json) for proto in protos if proto.bytes or proto.json]
    return {sent.get("part", "list"): sent.get("value", sent) for sent in found if sent.get("key") == scope}


def shown(test: AppTest) -> list[str]:
    sent = parts(test)
    rows = sent["order"]["rows"]
    return sent["list"]["ids"] if rows is None else [sent["list"]["ids"][row] for row in rows]


def test_the_list_holds_everybody_most_faces_first(demo_library, app):
    sent = parts(app("people"))
    cards = demo_library.view().people()
    assert sent["list"]["ids"] == [card.id for card in cards]
    assert sent["list"]["counts"] == [card.n_faces for card in cards]
    assert sent["list"]["lines"][0] == f"{cards[0].n_faces} faces"
    assert sent["order"]["rows"] is None
    assert all(sent["list"]["pictures"])


def test_a_name_changes_what_is_told_of_one_and_never_the_list(demo_library, app):
    page = app("people")
    before = parts(page)
    person = before["list"]["ids"][3]
    demo_library.rename(person, "Zoë")
    page.run()
    after = parts(page)
    assert after["list"] == before["list"]
    told = ["Zoë", before["list"]["lines"][3], "", None, before["list"]["pictures"][3]]
    assert after["now"]["changed"] == {person: told}
    assert len(json.dumps(after["now"])) < 1000


def test_who_became_somebody_else_is_left_out_of_the_order_and_the_list_stays(demo_library, app):
    page = app("people")
    before, cards = parts(page), demo_library.view().people()
    demo_library.merge(cards[5].id, [cards[2].id])
    page.run()
    after = parts(page)
    assert after["list"]["version"] == before["list"]["version"]
    assert shown(page) == [card.id for card in demo_library.view().people()]
    assert after["now"]["gone"] == [cards[2].id]
    assert after["now"]["changed"][cards[5].id][1].startswith(f"{cards[5].n_faces + cards[2].n_faces} faces")
    assert parts(app("people"))["list"]["version"] == before["list"]["version"], "who comes now has it too"


def test_a_cover_is_told_and_the_list_stays(demo_library, app):
    page = app("people")
    before, view = parts(page), demo_library.view()
    card = view.people()[0]
    face = next(face for face in view.ids_of(card.id) if face != card.cover)
    demo_library.set_cover(card.id, face)
    page.run()
    after = parts(page)
    assert after["list"]["version"] == before["list"]["version"]
    assert after["now"]["changed"][card.id][4] == view.faces.picture_marks[view.row(face)]


def test_two_sessions_have_one_list(demo_library, app, monkeypatch):
    made = []
    monkeypatch.setattr(face_lists, "_data", lambda *args, do=face_lists._data: made.append(args[2]) or do(*args))
    first, second = app("people"), app("people")
    demo_library.rename(demo_library.view().people()[0].id, "Anna")
    first.run()
    third = app("people")
    lists = [parts(test)["list"]["version"] for test in (first, second, third)]
    assert made.count(SCOPE) == 1
    assert lists == lists[:1] * 3
    assert [row[0] for row in parts(third)["now"]["changed"].values()] == ["Anna"]


def test_a_list_serves_no_other_library(demo_library, app):
    """The same tiles of other faces, or under other addresses, are another list."""
    face_lists._shared.clear()  # of other tests' libraries
    app("people")
    (held, *_) = face_lists._shared
    faces = held.faces()
    assert held.serves(held.rows, held.shape, faces)
    assert not held.serves(held.rows, held.shape + 1, faces)
    assert not held.serves(held.rows, held.shape, replace(faces))


def test_the_list_is_made_anew_once_many_names_are_others(demo_library, app, monkeypatch):
    monkeypatch.setattr(face_lists, "_MOST_CHANGED", 2)
    page = app("people")
    before = parts(page)
    for i, person in enumerate(before["list"]["ids"][:3]):
        demo_library.rename(person, f"Name {i}")
    page.run()
    after = parts(page)
    assert after["list"]["names"][:3] == ["Name 0", "Name 1", "Name 2"]
    assert after["now"]["changed"] == {}
    assert after["order"]["version"] == after["list"]["version"] != before["list"]["version"]


def test_who_was_named_stays_in_sight_until_something_else_is_asked_for(demo_library, app):
    page = app("people")
    page.toggle(key="people-unnamed").set_value(True).run()
    everybody = shown(page)
    demo_library.rename(everybody[0], "Anna")
    page.run()
    assert shown(page) == everybody
    page.toggle(key="people-unnamed").set_value(False).run()
    page.toggle(key="people-unnamed").set_value(True).run()
    assert shown(page) == everybody[1:]


def test_a_search_sends_places_and_not_the_list_again(demo_library, app):
    page = app("people")
    before = parts(page)
    demo_library.rename(before["list"]["ids"][5], "Zoë Müller")
    page.text_input(key="people-search").set_value("zoë").run()
    after = parts(page)
    assert after["list"] == before["list"]
    assert after["order"]["rows"] == [5]
    page.text_input(key="people-search").set_value("nobody of this name").run()
    assert shown(page) == []


def test_a_hidden_person_leaves_the_grid(demo_library, app):
    page = app("people")
    first, *others = shown(page)
    demo_library.hide([first])
    page.run()
    assert shown(page) == others


def test_a_selection_made_by_the_page_is_told_to_the_browser(demo_library, app):
    page = app("people")
    told = parts(page)["now"]
    chosen = shown(page)[:2]
    page.session_state["people-grid"] = {"selected": chosen}
    page.session_state[f"fc_selected_{SCOPE}"] = dict.fromkeys(chosen)
    page.session_state[f"fc_generation_{SCOPE}"] = told["turn"] + 1
    page.run()
    now = parts(page)["now"]
    assert (now["selected"], now["isEcho"], now["turn"]) == (chosen, False, told["turn"] + 1)
    next(button for button in page.button if button.key == "clear-people").click().run()
    assert parts(page)["now"]["selected"] == []


def test_faces_that_are_given_away_leave_the_list_as_it_was(demo_library, app):
    person, other, *_ = demo_library.view().people()
    page = app("person", id=person.id)
    before = parts(page, f"faces-{person.id}")
    demo_library.move(before["list"]["ids"][:3], other.id)
    page.run()
    after = parts(page, f"faces-{person.id}")
    assert after["list"] == before["list"]
    assert after["order"]["rows"] == list(range(3, person.n_faces))


def test_pictures_that_an_import_replaced_are_told_to_an_open_page(demo_library, app, tmp_path):
    page = app("people")
    before = parts(page)
    cover = demo_library.view().card_of[before["list"]["ids"][0]].cover
    row, crop = demo_library.view().row(cover), demo_library.crop(demo_library.view().cards[1].cover)
    np.savez(
        tmp_path / "again.npz", ids=[cover], vectors=demo_library.view().faces.vectors[[row]],
        crops=np.frombuffer(crop, np.uint8), crop_offsets=[0, len(crop)],
    )  # fmt: skip
    demo_library.import_files([tmp_path / "again.npz"])
    page.run()
    after = parts(page)
    view = demo_library.view()
    assert after["list"]["pictures"] == [crops.name_of(view, view.card_of[p].cover, ()) for p in after["list"]["ids"]]
    assert after["list"]["pictures"] != before["list"]["pictures"]


def test_headings_divide_the_faces_among_them(demo_library, app):
    person = demo_library.view().people()[0]
    faces = demo_library.view().faces_of(person.id)
    demo_library.confirm(person.id, [face.id for face in faces[:2]])
    page = app("person", id=person.id)
    heads = parts(page, f"faces-{person.id}")["order"]["sections"]
    assert [(head["title"], head["n"]) for head in heads] == [("Not confirmed", person.n_faces - 2), ("Confirmed", 2)]
    assert heads[0]["deeds"] == [["confirm", f"Confirm these {person.n_faces - 2}"]]
    page.segmented_control(key="person-order").set_value("folder").run()
    heads = parts(page, f"faces-{person.id}")["order"]["sections"]
    assert sum(head["n"] for head in heads) == person.n_faces
    assert {head["title"] for head in heads} == {face.folder for face in faces}


def test_the_button_of_a_heading_does_what_it_says(demo_library, app, monkeypatch):
    monkeypatch.setattr(crops, "_served", False)  # Streamlit's own widgets have the same buttons
    person = demo_library.view().people()[0]
    faces = demo_library.view().faces_of(person.id)
    demo_library.confirm(person.id, [face.id for face in faces[:2]])
    page = app("person", id=person.id)
    page.button(key="deed-open-confirm").click().run()
    assert demo_library.view().card_of[person.id].n_confirmed == person.n_faces


class BrokenOffError(BaseException):
    """What Streamlit raises in a callback when the browser has something newer to say is no Exception either."""


def acting(acts: list[list[dict]], deed: Callable[[str], None]) -> None:
    """Lets one grid hear acts in a session of its own, one telling after the other; a broken one is followed up."""

    def script() -> None:
        import streamlit as st

        from facecluster.ui import face_grid

        deeds = face_grid.Deeds(
            open=st.session_state["deed"], rename=lambda person, name, seen: st.session_state["deed"](name)
        )
        for acts in st.session_state["told"]:
            st.session_state["g-grid"] = {"acts": acts}
            try:
                face_grid._acted("g", deeds, ())
            except st.session_state["broken off"]:
                face_grid._acted("g", deeds, ())

    test = AppTest.from_function(script)
    test.session_state["told"] = acts
    test.session_state["broken off"] = BrokenOffError
    test.session_state["deed"] = deed
    test.run()
    assert not test.exception


def rename(n: int, name: str, mount: str = "m") -> dict:
    return {"n": n, "mount": mount, "kind": "rename", "id": "p", "name": name, "seen": ""}


def test_an_act_that_comes_twice_is_done_once():
    done: list[str] = []
    first, second = rename(1, "Anna"), rename(2, "Ben")
    acting([[first], [first, second], [first, second]], done.append)
    assert done == ["Anna", "Ben"]


def test_acts_of_a_page_that_was_loaded_again_count_from_one():
    done: list[str] = []
    acting([[rename(1, "Anna"), rename(2, "Ben")], [rename(1, "Clara", "other")]], done.append)
    assert done == ["Anna", "Ben", "Clara"]


def test_an_act_that_was_broken_off_is_done_when_it_comes_again():
    done: list[str] = []
    tried: list[str] = []

    def breaks_off_once(name: str) -> None:
        tried.append(name)
        if tried == ["Anna", "Ben"]:
            raise BrokenOffError
        done.append(name)

    acting([[rename(1, "Anna"), rename(2, "Ben"), rename(3, "Clara")]], breaks_off_once)
    assert done == ["Anna", "Ben", "Clara"]


def test_drops_headings_and_letters_are_acts_like_any_other():
    done: list[str] = []

    def script() -> None:
        import streamlit as st

        from facecluster.ui import face_grid

        said = st.session_state["said"]
        deeds = face_grid.Deeds(
            open=said.append,
            section=lambda section, deed: said.append(f"{section} {deed}"),
            keys={"n": said.append},
            drop=lambda ids, onto: said.append(f"{' '.join(ids)} onto {onto}"),
        )
        acts = [
            {"n": 1, "mount": "m", "kind": "section", "id": "s", "deed": "confirm", "label": "Confirm 12"},
            {"n": 2, "mount": "m", "kind": "section", "id": "s", "deed": "confirm", "label": "Confirm 3"},
            {"n": 3, "mount": "m", "kind": "key", "key": "n", "id": "face"},
            {"n": 4, "mount": "m", "kind": "key", "key": "q", "id": "other"},
            {"n": 5, "mount": "m", "kind": "drop", "ids": ["a", "b"], "onto": "p"},
        ]
        st.session_state["g-grid"] = {"acts": acts}
        face_grid._acted("g", deeds, [face_grid.Section("s", "Not confirmed", 12, deeds=[("confirm", "Confirm 12")])])

    test = AppTest.from_function(script)
    test.session_state["said"] = done
    test.run()
    assert not test.exception
    assert done == ["s confirm", "face", "a b onto p"], "what a button said before is not done to other faces"


@pytest.mark.parametrize("name", ["face_grid.js", "face_grid_sections.js", "face_grid_names.js", "face_grid_drag.js"])
def test_names_never_reach_the_page_as_markup(name):
    assert "innerHTML" not in face_grid._read(name)
    assert "insertAdjacentHTML" not in face_grid._read(name)
