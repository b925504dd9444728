"""The Map page, on the demo and on an empty library."""

from __future__ import annotations

import json
from base64 import b64decode

import numpy as np

from facecluster.service import Service


def labels(page) -> list[str]:
    return [button.label for button in page.button]


def drawing(page) -> dict:
    """What the browser is told to draw."""
    found = [json.loads(component.proto.json) for component in page.get("bidi_component") if component.proto.json]
    (data,) = [one for one in found if isinstance(one, dict) and "xy" in one]
    return data


def draw_around(page, faces) -> None:
    """What a shape on the map leaves behind: AppTest cannot draw."""
    page.session_state["fc_note_drawn-map"] = list(faces)
    page.session_state["fc_selected_map"] = dict.fromkeys(faces)
    page.run()
    assert not page.exception


def test_an_empty_library_says_what_to_do(app, empty_library: Service, texts):
    assert "No faces yet" in texts(app("map"))


def test_faces_without_people_lead_to_tune(app, empty_library: Service, make_batch, texts):
    empty_library._faces.add(make_batch([f"face-{i:02d}" for i in range(20)]))
    assert "Nobody found yet" in texts(app("map"))


def test_too_few_faces_are_no_map(app, empty_library: Service, make_batch, texts):
    empty_library._faces.add(make_batch(["a", "b", "c"]))
    assert "A map needs 15 faces; here are 3." in texts(app("map"))


def test_a_missing_map_is_drawn_by_a_worker(app, demo_library: Service, texts, monkeypatch):
    from facecluster.jobs import Jobs

    asked = []

    def start_once(_jobs: Jobs, use_case: str) -> str:
        asked.append(use_case)
        return "map-job"

    monkeypatch.setattr(Jobs, "start_once", start_once)
    page = app("map")
    assert asked == ["map"]
    assert "this is done once for the same faces" in texts(page)


def test_the_map_shows_every_sharp_face(app, demo_library: Service, texts):
    rows, _ = demo_library.map()
    page = app("map")
    assert f"{len(rows):,} faces, alike ones together" in texts(page)
    assert len(np.frombuffer(b64decode(drawing(page)["who"]), "<i4")) == len(rows)


def test_the_map_is_told_nothing_new_when_something_is_drawn_on_it(app, demo_library: Service):
    demo_library.map()
    page = app("map")
    before = drawing(page)
    draw_around(page, [face.id for face in demo_library.view().faces_of(demo_library.view().cards[0].id)])
    assert drawing(page) == before


def test_a_person_is_found_on_the_map(app, demo_library: Service):
    demo_library.map()
    person = demo_library.view().cards[0]
    page = app("map")
    page.selectbox(key="map-person").set_value(person.id).run()
    assert not page.exception
    assert drawing(page)["focus"]["id"] == person.id


def test_what_is_drawn_around_is_compared_by_the_whole_vectors(app, demo_library: Service, texts):
    demo_library.map()
    view = demo_library.view()
    first, second = (view.faces_of(card.id) for card in view.cards[:2])
    page = app("map")
    draw_around(page, [face.id for face in [*first[-4:], *second[-2:]]])
    assert "6 faces" in texts(page)
    assert "4 nearest to an unnamed person" in texts(page)
    assert "2 nearer to an unnamed person" in texts(page)
    assert "Leave them out?" in texts(page)
    assert "With the 6 faces" in texts(page)
    page.button(key="map-leave-out").click().run()
    assert "With the 4 faces" in texts(page)
    page.button(key="map-keep").click().run()
    assert "With the 6 faces" in texts(page)


def test_faces_can_be_listed_and_chosen_one_by_one(app, demo_library: Service, texts):
    demo_library.map()
    view = demo_library.view()
    faces = [face.id for face in view.faces_of(view.cards[0].id)[:3]]
    loose = view.noise[0].face
    page = app("map")
    draw_around(page, [*faces, loose])
    page.button(key="map-all").click().run()
    assert "4 faces in what you drew" in texts(page)
    assert f"3 of {view.cards[0].n_faces} faces" in texts(page)
    assert "In nobody" in texts(page)
    (box,) = [box for box in page.checkbox if box.key.endswith(loose)]
    box.uncheck().run()
    assert "With the 3 faces" in texts(page)
    page.button(key="map-select-none").click().run()
    assert "No face is selected" in texts(page)
    assert "map-new" not in [button.key for button in page.button]


def test_the_lasso_makes_a_new_person_and_undo_takes_it_back(app, demo_library: Service, texts):
    demo_library.map()
    loose = [one.face for one in demo_library.view().noise[:3]]
    page = app("map")
    draw_around(page, loose)
    assert {"New person", "Ignore", "No faces", "Move to…", "Close"} <= set(labels(page))
    page.button(key="map-new").click().run()
    owners = {demo_library.view().owner(face) for face in loose}
    assert len(owners) == 1
    assert None not in owners
    assert "With the" not in texts(page)
    page.button(key="fc-news-undo").click().run()
    assert {demo_library.view().owner(face) for face in loose} == {None}


def test_the_lasso_gives_faces_to_whom_most_of_them_are_nearest(app, demo_library: Service):
    demo_library.map()
    person = demo_library.view().cards[0].id
    demo_library.rename(person, "Anna")
    faces = demo_library.view().ids_of(person)[:4]
    page = app("map")
    draw_around(page, faces)
    (button,) = [button for button in page.button if button.key == "map-yes"]
    assert button.label == "Are Anna"
    button.click().run()
    assert demo_library.view().card_of[person].n_confirmed == 4


def test_the_lasso_says_of_faces_that_they_are_not_who_they_were_given_to(app, demo_library: Service):
    demo_library.map()
    view = demo_library.view()
    person, faces = view.cards[0].id, view.ids_of(view.cards[0].id)[:2]
    loose = view.noise[0].face
    page = app("map")
    draw_around(page, [*faces, loose])
    button = page.button(key="map-reject")
    assert button.label == "2 not theirs"
    button.click().run()
    assert person not in {demo_library.view().owner(face) for face in faces}
    assert len(demo_library.view().rows(person)) == view.cards[0].n_faces - 2


def test_faces_are_ignored_and_said_to_be_none(app, demo_library: Service):
    demo_library.map()
    first, second = (one.face for one in demo_library.view().noise[:2])
    page = app("map")
    draw_around(page, [first])
    page.button(key="map-ignore").click().run()
    draw_around(page, [second])
    assert "Not a face" in labels(page)
    page.button(key="map-no-face").click().run()
    assert dict(demo_library.view().set_aside) == {first: "ignored", second: "not_a_face"}


def test_a_name_makes_a_person_of_what_was_drawn_around(app, demo_library: Service):
    demo_library.map()
    loose = [one.face for one in demo_library.view().noise[:3]]
    page = app("map")
    draw_around(page, loose)
    page.text_input(key="map-name").set_value("Zoë").run()
    view = demo_library.view()
    (person,) = {view.owner(face) for face in loose}
    assert view.person(person).name == "Zoë"


def test_a_name_names_the_person_whose_faces_they_all_are(app, demo_library: Service):
    demo_library.map()
    person = demo_library.view().cards[5].id
    page = app("map")
    draw_around(page, demo_library.view().ids_of(person))
    page.text_input(key="map-name").set_value("Ben").run()
    assert demo_library.view().person(person).name == "Ben"


def test_a_name_that_somebody_has_is_asked_about(app, demo_library: Service, texts):
    demo_library.map()
    person = demo_library.view().cards[0].id
    demo_library.rename(person, "Anna")
    loose = [one.face for one in demo_library.view().noise[:2]]
    page = app("map")
    draw_around(page, loose)
    page.text_input(key="map-name").set_value("Anna").run()
    assert "“Anna” is there already." in texts(page)
    assert {demo_library.view().owner(face) for face in loose} == {None}
    page.button(key="map-name-0").click().run()
    assert {demo_library.view().owner(face) for face in loose} == {person}


def test_the_lasso_moves_faces_to_somebody_chosen_in_a_dialog(app, demo_library: Service):
    demo_library.map()
    person = demo_library.view().cards[0].id
    loose = [one.face for one in demo_library.view().noise[:2]]
    page = app("map")
    draw_around(page, loose)
    page.button(key="map-move").click().run()
    page.selectbox(key="give-to").set_value(person).run()
    page.button(key="give-now").click().run()
    assert not page.exception
    assert {demo_library.view().owner(face) for face in loose} == {person}


def test_an_empty_lasso_says_so(app, demo_library: Service, texts):
    demo_library.map()
    page = app("map")
    draw_around(page, [])
    assert "No face in what you drew" in texts(page)
