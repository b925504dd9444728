"""What the face map is told, what it tells back, and where it gets plotly.js from."""

from __future__ import annotations

import gzip
from base64 import b64decode
from importlib.resources import files

import numpy as np
import pytest
import streamlit as st
from starlette.requests import Request

from facecluster import lasso
from facecluster.lasso import FaceMap
from facecluster.service import Service
from facecluster.ui import face_map, session


@pytest.fixture
def points(demo_library: Service) -> FaceMap:
    view = demo_library.view()
    rows = np.arange(len(view.faces))
    places = np.random.default_rng(0).normal(size=(len(rows), 2)).astype(np.float32)
    return FaceMap.of(view, rows, places)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, demo_library: Service, points: FaceMap):
    """Do what is done on the map: `told({"points": [...]})` in place of a browser."""
    said: dict[str, object] = {}
    monkeypatch.setattr(session, "drawn_on", lambda key: said)
    monkeypatch.setattr(face_map, "points", lambda: points)
    st.session_state.clear()

    def tell(what, heard=face_map.taken):
        said.clear()
        said.update(what)
        heard()

    yield tell
    st.session_state.clear()


def numbers(text: str, kind: str):
    return np.frombuffer(b64decode(text), kind)


def test_the_browser_gets_the_places_and_whose_they_are(demo_library: Service, points: FaceMap):
    view = demo_library.view()
    data = face_map.drawing(view, points, "moment")
    xy, who = numbers(data["xy"], "<f4").reshape(-1, 2), numbers(data["who"], "<i4")
    assert np.array_equal(xy, points.xy)
    assert (who < 0).sum() == (points.owner < 0).sum()
    sizes = [data["people"][person][1] for person in who[who >= 0]]
    assert sizes == [len(view.rows(view.state.people[p])) for p in points.owner[points.owner >= 0]]
    assert data["isWhole"] is True
    assert data["focus"] is None


def test_of_more_faces_than_are_drawn_every_person_is_there(
    demo_library: Service, points: FaceMap, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lasso.FaceMap.to_draw, "__defaults__", (None, 300, -1))
    data = face_map.drawing(demo_library.view(), points, "few")
    assert len(numbers(data["who"], "<i4")) == 300
    assert data["isWhole"] is False
    assert len(data["people"]) == len(np.unique(points.owner[points.owner >= 0]))


def test_somebody_looked_for_is_brought_near_and_alone_is_named(demo_library: Service, points: FaceMap):
    view = demo_library.view()
    person = view.cards[3].id
    data = face_map.drawing(view, points, "moment", None, person)
    left, bottom, right, top = data["focus"]["frame"]
    assert data["focus"]["id"] == person
    assert left < right
    assert bottom < top
    assert (numbers(data["who"], "<i4") == data["focus"]["person"]).sum() == view.cards[3].n_faces
    assert [label[2] for label in data["labels"]] == [f"{view.cards[3].n_faces} faces"]


def test_a_name_goes_to_the_browser_as_it_is_and_is_never_markup_there(demo_library: Service, points: FaceMap):
    name = "<a href='http://x'>B</a> & Co"
    demo_library.rename(demo_library.view().cards[0].id, name)
    data = face_map.drawing(demo_library.view(), points, "named")
    assert name[:23] in data["labels"][0][2]
    assert any(person[0] == name for person in data["people"])
    scripts = [files("facecluster.ui").joinpath(f).read_text("utf-8") for f in ("face_map.js", "face_map_card.js")]
    assert not [script for script in scripts if "innerHTML" in script or "insertAdjacentHTML" in script]
    assert "text: plain(text)" in scripts[0]


def test_labels_follow_the_part_that_is_looked_at(demo_library: Service, points: FaceMap):
    everywhere = face_map.drawing(demo_library.view(), points, "moment")["labels"]
    corner = face_map.drawing(demo_library.view(), points, "moment", (1.5, 1.5, 9.0, 9.0))["labels"]
    assert len(everywhere) == face_map.N_LABELS
    assert corner != everywhere


def test_people_beside_each_other_have_different_hues_that_depend_on_who_they_are():
    people = [f"p-{i}" for i in range(400)]
    centres = np.random.default_rng(0).uniform(size=(400, 2))
    found = face_map.hues(people, centres)
    assert set(found.tolist()) == set(range(face_map.N_HUES))
    for i in range(1, 400):
        away = ((centres - centres[i]) ** 2).sum(axis=1)
        beside = [j for j in np.argsort(away)[1:6] if j < i]
        assert found[i] not in found[beside]
    assert face_map.hues(people[:1], centres[:1])[0] == face_map.hues(people[:1], centres[5:6])[0]
    assert len(face_map.hues([], np.empty((0, 2)))) == 0


def test_a_shape_selects_the_faces_inside_it_and_a_new_one_replaces_them(told, demo_library: Service, points: FaceMap):
    told({"lasso": [{"x": [0, 9, 9, 0], "y": [0, 0, 9, 9]}]})
    ids = demo_library.view().faces.ids
    inside = [ids[row] for row in points.row[(points.xy > 0).all(axis=1)]]
    assert session.selected("map") == session.recall("drawn-map") == inside
    told({"lasso": [{"x": [50, 60, 60], "y": [50, 50, 60]}]})
    assert session.recall("drawn-map") == []
    told({"close": True})
    assert session.recall("drawn-map") is None
    assert session.recall("map-turn") == 1


def test_a_click_opens_the_person_and_lists_a_face_of_nobody(told, demo_library: Service, points: FaceMap):
    owned = int(np.flatnonzero(points.owner >= 0)[7])
    told({"points": [{"x": float(points.xy[owned, 0]), "y": float(points.xy[owned, 1])}]})
    person = demo_library.view().state.people[points.owner[owned]]
    assert st.session_state["fc_go"] == ("pages/person.py", {"id": person})
    assert face_map.leaves() is True
    assert face_map.leaves() is False
    loose = int(np.flatnonzero(points.owner < 0)[3])
    told({"points": [{"x": float(points.xy[loose, 0]), "y": float(points.xy[loose, 1])}]})
    assert session.recall("drawn-map") == [demo_library.view().faces.ids[points.row[loose]]]


def test_a_look_closer_is_remembered_and_a_look_at_all_forgets_it(told):
    told({"view": [0, 1, 2, 3]}, face_map._looked)
    assert session.recall("map-window") == (0, 1, 2, 3)
    told({"view": None}, face_map._looked)
    assert session.recall("map-window") is None


def test_many_faces_are_compared_only_when_that_was_asked_for(told, demo_library: Service):
    faces = demo_library.view().faces.ids[: face_map.COMPARED_AT_ONCE + 1]
    assert face_map.whom(faces[:-1]) is not None
    assert face_map.whom(faces) is None
    session.remember("map-compare", True)
    assert face_map.whom(faces) is not None


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_plotly_comes_from_this_machine_and_once_only(encoding):
    asked = Request({"type": "http", "method": "GET", "headers": [(b"accept-encoding", encoding.encode())]})
    answer = face_map.plotly_js(asked)
    assert answer.headers["content-type"].startswith("text/javascript")
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers.get("content-encoding", "identity") == encoding
    body = gzip.decompress(answer.body) if encoding == "gzip" else answer.body
    assert body == files("plotly").joinpath("package_data", "plotly.min.js").read_bytes()


def test_nothing_of_the_map_is_offered_to_anybody_elses_server():
    script = files("facecluster.ui").joinpath("face_map.js").read_text("utf-8")
    assert "showSendToCloud: false" in script
    assert 'plotlyServerURL: ""' in script
    assert "http" not in script
