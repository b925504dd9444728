"""The Map page, on the demo and on an empty library."""

from __future__ import annotations

import json

from facecluster.service import Service


def labels(page) -> list[str]:
    return [button.label for button in page.button]


def draw_around(page, faces) -> None:
    """What the chart's callback leaves behind: AppTest cannot draw."""
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
    assert not page.get("plotly_chart")
    assert "this is done once for the same faces" in texts(page)


def test_the_map_shows_every_sharp_face_and_nothing_of_another_server(app, demo_library: Service, texts):
    rows, _ = demo_library.map()
    page = app("map")
    assert f"{len(rows):,} faces, alike ones together" in texts(page)
    (chart,) = page.get("plotly_chart")
    config = json.loads(chart.proto.config)
    assert config["showSendToCloud"] is False
    assert config["plotlyServerURL"] == ""
    spec = json.loads(chart.proto.spec)
    assert {trace["type"] for trace in spec["data"]} == {"scattergl"}
    assert sum(len(trace["hovertext"]) for trace in spec["data"]) == len(rows)


def test_a_person_is_found_on_the_map(app, demo_library: Service):
    demo_library.map()
    person = demo_library.view().cards[0]
    page = app("map")
    page.selectbox(key="map-person").set_value(person.id).run()
    assert not page.exception
    spec = json.loads(page.get("plotly_chart")[0].proto.spec)
    assert len(spec["data"]) == 3
    assert len(spec["data"][2]["hovertext"]) == person.n_faces


def test_what_is_drawn_around_is_listed_by_owner_and_compared_by_the_whole_vectors(app, demo_library: Service, texts):
    demo_library.map()
    view = demo_library.view()
    first, second = (view.faces_of(card.id) for card in view.cards[:2])
    page = app("map")
    draw_around(page, [face.id for face in [*first[:4], *second[:2]]])
    assert "6 faces in what you drew" in texts(page)
    assert f"4 of {len(first):,} faces" in texts(page)
    assert "of 6 are nearest to" in texts(page)
    page.button(key="map-leave-out").click().run()
    assert "4 faces selected" in texts(page)


def test_the_lasso_makes_a_new_person_and_undo_takes_it_back(app, demo_library: Service, texts):
    demo_library.map()
    loose = [one.face for one in demo_library.view().noise[:3]]
    page = app("map")
    draw_around(page, loose)
    assert {"New person from 3", "Ignore 3", "Not a face: 3", "Move 3 to…", "Clear"} <= set(labels(page))
    page.button(key="map-new").click().run()
    owners = {demo_library.view().owner(face) for face in loose}
    assert len(owners) == 1
    assert None not in owners
    assert "in what you drew" not in texts(page)
    page.button(key="fc-news-undo").click().run()
    assert {demo_library.view().owner(face) for face in loose} == {None}


def test_the_lasso_moves_faces_to_somebody_chosen_in_a_dialog(app, demo_library: Service):
    demo_library.map()
    person = demo_library.view().cards[0]
    loose = [one.face for one in demo_library.view().noise[:2]]
    page = app("map")
    draw_around(page, loose)
    page.button(key="map-move").click().run()
    page.selectbox(key="give-to").set_value(person.id).run()
    page.button(key="give-now").click().run()
    assert not page.exception
    assert {demo_library.view().owner(face) for face in loose} == {person.id}


def test_an_empty_lasso_says_so(app, demo_library: Service, texts):
    demo_library.map()
    page = app("map")
    draw_around(page, [])
    assert "No face in what you drew" in texts(page)
