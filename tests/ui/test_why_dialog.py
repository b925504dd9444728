"""Why a face is here, one key from its photo, and what came to a person since the last visit."""

from __future__ import annotations

import json

import pytest

from facecluster.model import UserId
from facecluster.service import Service
from facecluster.ui.splitting import tree_of
from facecluster.why import bridges


@pytest.fixture
def anna(demo_library):
    card = demo_library.view().people()[0]
    demo_library.rename(card.id, "Anna")
    return demo_library.view().card_of[card.id]


@pytest.fixture
def colleague(demo_library):
    """Somebody else in the same library."""
    return Service(
        UserId("colleague"), demo_library.settings, demo_library._faces, demo_library._people, demo_library._cache
    )


def bars(test):
    """What the bars of likeness were given."""
    found = [json.loads(e.proto.json) for e in test.get("bidi_component") if "cosine" in (e.proto.json or "")]
    return [row for data in found for row in data["rows"]], [data["cut"] for data in found]


def pick(test, face):
    test.checkbox(key=next(box.key for box in test.checkbox if box.key.endswith(f"-{face}"))).check()
    return test.run()


def test_the_dialog_gives_the_evidence_for_a_face(app, demo_library, anna, texts):
    faces = demo_library.view().faces_of(anna.id)
    demo_library.confirm(anna.id, [face.id for face in faces[-4:]])
    test = app("person", id=anna.id, photo=faces[0].id, why="1")
    rows, cuts = bars(test)
    assert len(rows) == 4  # three of hers, one of somebody else's
    assert all(row["said"].startswith("cosine ") and "distance" in row["said"] for row in rows)
    assert cuts[0] == cuts[1] is not None
    assert "Nearest confirmed faces" in texts(test)
    assert "Nearest of anybody else" in texts(test)
    assert "Joined at" in texts(test)
    assert "What holds the halves of Anna together" in texts(test)


def test_a_face_that_holds_two_halves_together_can_be_set_aside(app, demo_library, anna, texts):
    face = demo_library.view().faces_of(anna.id)[0].id
    test = app("person", id=anna.id, photo=face, why="1")
    bridge = bridges(demo_library.view(), tree_of(anna.id), 2)[0]
    assert f"Without the first, {bridge.n_hanging:,} face" in texts(test) or not bridge.n_hanging
    test.button(key="bridge-aside-0").click().run()
    assert not test.exception
    assert demo_library.view().set_aside == [(bridge.face, "ignored")]
    assert "photo" not in test.query_params
    test.button(key="fc-news-undo").click().run()
    assert demo_library.view().owner(bridge.face) == anna.id


def test_a_click_that_comes_before_the_browser_heard_of_the_closing_opens_nothing_again(app, anna, demo_library):
    face = demo_library.view().faces_of(anna.id)[0].id
    test = app("person", id=anna.id, photo=face, why="1")
    test.button(key="bridge-aside-0").click().run()
    test.query_params.update({"photo": face, "why": "1"})  # the old address, by a browser that lags behind
    test.run()
    assert "photo" not in test.query_params
    assert "photo-show" not in [button.key for button in test.button]
    pick(test, face).button(key="why-of").click().run()
    assert "photo-show" in [button.key for button in test.button]


def test_photo_and_reason_are_two_sides_of_one_dialog(app, demo_library, anna, texts):
    face = demo_library.view().faces_of(anna.id)[0].id
    test = app("person", id=anna.id, photo=face)
    assert "Nearest of anybody else" not in texts(test)
    test.button(key="photo-why").click().run()
    assert "Nearest of anybody else" in texts(test)
    assert test.query_params["why"] == "1"
    test.button(key="photo-show").click().run()
    assert "Nearest of anybody else" not in texts(test)
    assert test.query_params["photo"] == face


def test_a_selected_face_has_both_one_key_away(app, demo_library, anna):
    face = demo_library.view().faces_of(anna.id)[0].id
    test = pick(app("person", id=anna.id), face)
    assert [test.button(key=key).proto.shortcut.lower() for key in ("photo-of", "why-of")] == ["o", "w"]
    test.button(key="why-of").click().run()
    assert test.query_params["photo"] == face
    assert "why-of" not in [button.key for button in test.button]  # the dialog's own keys are the same


def test_a_confirmed_face_is_here_because_somebody_said_so(app, demo_library, anna, texts):
    face = demo_library.view().faces_of(anna.id)[0].id
    demo_library.confirm(anna.id, [face])
    assert "Somebody said that this is Anna" in texts(app("person", id=anna.id, photo=face, why="1"))


def test_somebody_elses_nearer_face_is_said(app, demo_library, anna, texts):
    other = demo_library.view().people()[1]
    demo_library.rename(other.id, "Ben")
    face = demo_library.view().ids_of(other.id)[0]
    demo_library.confirm(anna.id, [face])
    assert "Ben has a face that is at least as near." in texts(app("person", id=anna.id, photo=face, why="1"))


def test_a_face_that_is_nobodys_says_so(app, demo_library, texts):
    face = demo_library.view().noise[0].face
    assert "It is nobody's." in texts(app("noise", photo=face, why="1"))


def test_the_only_face_of_somebody_has_its_reason_too(app, demo_library, texts):
    face = demo_library.view().noise[0].face
    person = demo_library.new_person([face], "Solo")
    test = app("person", id=person, photo=face, why="1")
    assert "Somebody said that this is Solo" in texts(test)
    assert not test.exception


def test_faces_that_came_since_are_marked_and_can_be_shown_alone(app, demo_library, anna, colleague, texts):
    came = [face.id for face in demo_library.view().faces_of(anna.id)[:3]]
    colleague.reject(came, anna.id)
    demo_library.rename(anna.id, "Anna B")
    colleague.undo(colleague.history(2)[1].revision)
    test = app("person", id=anna.id)
    toggle = test.toggle(key=f"came-{anna.id}")
    assert toggle.label == "Only the 3 faces added since your last visit"
    assert texts(test).count("new, strength") == 3
    toggle.set_value(True).run()
    shown = {button.key for button in test.button if button.key.startswith("fc-open-")}
    assert shown == {f"fc-open-{face}" for face in came}
    test.button(key="came-seen").click().run()
    assert not test.toggle
    assert not test.exception


def test_who_was_never_visited_has_nothing_new(app, demo_library):
    assert not app("person", id=demo_library.view().people()[3].id).toggle


def test_a_second_visit_in_one_session_marks_what_came_between(app, demo_library, anna, colleague):
    came = [face.id for face in demo_library.view().faces_of(anna.id)[:2]]
    colleague.reject(came, anna.id)
    test = app("person", id=anna.id)
    assert not test.toggle
    colleague.undo(colleague.history(1)[0].revision)
    test.query_params["id"] = demo_library.view().people()[1].id
    test.run()
    assert not test.toggle
    test.query_params["id"] = anna.id
    test.run()
    assert [toggle.label for toggle in test.toggle] == ["Only the 2 faces added since your last visit"]
    test.toggle[0].set_value(True).run()
    demo_library.confirm(anna.id, came[:1])
    test.run()
    assert test.toggle[0].value
    assert [toggle.label for toggle in test.toggle] == ["Only the 1 face added since your last visit"]
