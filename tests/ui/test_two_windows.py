"""Two windows on one library: what one of them says of its own acts, and leaves of the other's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from facecluster.leftovers import Leftovers, sections
from facecluster.service import Service


@pytest.fixture
def other(demo_library) -> Service:
    """The library in another window."""
    return demo_library


def test_the_news_and_its_undo_are_of_ones_own_change_where_another_follows_at_once(app, other, texts, monkeypatch):
    anna, ben = (card.id for card in other.view().people()[:2])
    page = app("person", id=anna)
    confirm = Service.confirm

    def and_another_window_writes(self, *args):
        made = confirm(self, *args)
        other.rename(ben, "Ben")
        return made

    monkeypatch.setattr(Service, "confirm", and_another_window_writes)
    page.button(key="confirm-all").click().run()
    assert "Confirmed " in texts(page)
    assert "“Ben”" not in texts(page)
    page.button(key="fc-news-undo").click().run()
    assert other.view().person(ben).name == "Ben"
    assert other.view().card_of[anna].n_confirmed == 0


def test_a_face_that_another_window_gave_away_stays_there_when_the_rest_are_confirmed(app, other):
    anna, ben = (card.id for card in other.view().people()[:2])
    faces = other.view().ids_of(anna)
    other.confirm(anna, faces[5:])
    page = app("person", id=anna)
    other.move(faces[:1], ben)
    page.button(key="deed-open-confirm").click().run()
    assert other.view().owner(faces[0]) == ben
    assert other.view().card_of[anna].n_confirmed == len(faces) - 1


@pytest.mark.parametrize("button", ["confirm", "reject", "new-person"])
def test_selected_faces_that_another_window_gave_away_stay_there(app, other, texts, button):
    anna, ben = (card.id for card in other.view().people()[:2])
    faces = [face.id for face in other.view().faces_of(anna)[:2]]
    page = app("person", id=anna)
    for face in faces:
        page.checkbox(key=f"pick-faces-{anna}-0-{face}").check()
    page.run()
    other.move(faces, ben)
    revision = other.view().snapshot.revision
    page.button(key=button).click().run()
    assert not page.exception
    assert "Something else was said of these faces meanwhile. Nothing was changed." in texts(page)
    assert other.view().snapshot.revision == revision


@pytest.mark.parametrize("button", ["noise-new", "noise-ignore", "noise-no-face"])
def test_loose_faces_that_another_window_gave_to_somebody_are_not_taken_from_them(app, other, button):
    view = other.view()
    some = [one.face for section in sections(view, Leftovers().groups(view)) for one in section.faces][:2]
    page = app("noise")
    for face in some:
        page.checkbox(key=f"pick-noise-nobody-0-{face}").check()
    page.run()
    ben = other.view().people()[1].id
    other.move(some[:1], ben)
    page.button(key=button).click().run()
    assert not page.exception
    assert other.view().owner(some[0]) == ben
    assert some[1] not in [one.face for one in other.view().noise]


def test_a_heading_on_noise_takes_nothing_from_whom_another_window_gave_it_to(app, other):
    other.publish(other.plan(replace(other.defaults, refine=False)))
    view = other.view()
    section = next(s for s in sections(view, Leftovers().groups(view)) if s.kind == "person" and len(s.faces) > 1)
    page = app("noise")
    ben = next(card.id for card in view.people() if card.id != section.person)
    other.move(section.ids[:1], ben)
    page.button(key=f"deed-{section.id}-all").click().run()
    assert {other.view().owner(face) for face in section.ids[1:]} == {section.person}
    assert other.view().owner(section.ids[0]) == ben


def test_a_run_that_another_window_named_keeps_that_name_until_one_has_seen_it(app, other, texts):
    run = other.view().snapshot.run.id

    def field(page):
        return next(f for f in page.text_input if str(f.key).startswith(f"name-run-{run}-"))

    page = app("history")
    other.name_run(run, "theirs")
    field(page).set_value("mine").run()
    assert not page.exception
    assert "the name of the run" in texts(page)
    assert "is “theirs” now (it was not said, and you said “mine”). Nothing was changed." in texts(page)
    assert other.view().snapshot.facts["run_name", run, ""] == "theirs"
    field(page).set_value("mine").run()  # the page has shown it by now
    assert other.view().snapshot.facts["run_name", run, ""] == "mine"


def test_clicks_that_follow_each_other_stand_on_what_the_first_one_said(app, other):
    run = other.view().snapshot.run.id
    page = app("history")
    for name in ("one", "two", "three"):
        next(f for f in page.text_input if str(f.key).startswith(f"name-run-{run}-")).set_value(name).run()
        assert not page.exception
        assert other.view().snapshot.facts["run_name", run, ""] == name
