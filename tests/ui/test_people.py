"""The People page on the demo library and on an empty one."""

from __future__ import annotations

import pytest

from facecluster.errors import StoreUnavailableError
from facecluster.service import Service
from facecluster.ui import session


def names(app) -> list[str]:
    return [field.value for field in app.text_input if str(field.key).startswith("name-") and field.value]


def name_fields(app):
    return [field for field in app.text_input if str(field.key).startswith("name-")]


def test_an_empty_library_leads_on_to_the_next_step(empty_library, app):
    page = app("people")
    assert not page.exception
    assert any("import" in text.value for text in page.text)


def test_a_name_typed_under_a_face_is_kept(demo_library, app):
    page = app("people")
    first = name_fields(page)[0]
    first.set_value("Grace Hopper").run()
    assert not page.exception
    assert [card.name for card in demo_library.view().cards if card.name] == ["Grace Hopper"]
    assert "Grace Hopper" in names(page)


def test_undo_takes_the_name_back(demo_library, app):
    page = app("people")
    name_fields(page)[0].set_value("Ada").run()
    next(button for button in page.button if button.key == "fc-news-undo").click().run()
    assert [card.name for card in demo_library.view().cards if card.name] == []


@pytest.mark.parametrize("name", ["*bold* _x_ :red[y] $z$", "<img src=x onerror=alert(1)>", "![x](http://a.b/c)"])
def test_a_name_with_markup_is_text_everywhere(demo_library, app, name):
    page = app("people")
    name_fields(page)[0].set_value(name).run()
    assert not page.exception
    assert name in names(page)
    assert all(name not in element.value for element in page.markdown)


def test_too_long_a_name_is_refused_in_a_sentence_and_nothing_is_lost(demo_library, app):
    page = app("people")
    name_fields(page)[0].set_value("Anna").run()
    field = next(field for field in name_fields(page) if field.value == "Anna")
    field.set_value("x" * 10_000).run()
    assert not page.exception
    assert any("10,000" in text.value for text in page.text)
    assert [card.name for card in demo_library.view().cards if card.name] == ["Anna"]


def test_search_shows_only_people_of_that_name(demo_library, app):
    page = app("people")
    name_fields(page)[3].set_value("Zoë Müller").run()
    page.text_input(key="people-search").set_value("zoë").run()
    assert names(page) == ["Zoë Müller"]
    assert len(name_fields(page)) == 1


def test_selected_people_are_merged_into_the_one_with_a_name(demo_library, app):
    page = app("people")
    cards = demo_library.view().people()
    name_fields(page)[2].set_value("Mei").run()
    for card in (cards[2], cards[4]):
        next(box for box in page.checkbox if box.key == session.checkbox_key("people", card.id, 0)).check().run()
    next(button for button in page.button if button.key == "merge-selected").click().run()
    assert not page.exception
    merged = demo_library.view().card_of[cards[2].id]
    assert (merged.name, merged.n_faces) == ("Mei", cards[2].n_faces + cards[4].n_faces)


def test_a_hidden_person_leaves_the_grid_and_comes_back_on_demand(demo_library, app):
    page = app("people")
    card = demo_library.view().people()[0]
    next(box for box in page.checkbox if box.key == session.checkbox_key("people", card.id, 0)).check().run()
    next(button for button in page.button if button.key == "hide-selected").click().run()
    assert card.id not in [c.id for c in demo_library.view().people()]
    page.toggle(key="people-hidden").set_value(True).run()
    assert any(str(field.key).startswith(f"name-{card.id}") for field in name_fields(page))


def test_selected_people_who_are_told_apart_are_never_asked_about_or_joined(demo_library, app):
    some = [card.id for card in demo_library.view().people()[:3]]
    page = app("people")
    for person in some:
        box = next(box for box in page.checkbox if str(box.key).endswith(person))
        box.check()
        page.run()
    page.button(key="apart-selected").click().run()
    assert not page.exception
    state = demo_library.view().state
    numbers = {demo_library.view().number[person] for person in some}
    assert len([pair for pair in state.apart if set(map(int, pair)) <= numbers]) == 3
    page.button(key="fc-news-undo").click().run()
    assert not len(demo_library.view().state.apart)


def test_what_is_selected_stays_where_it_could_not_be_merged(app, demo_library, texts, monkeypatch):
    def is_away(*_):
        raise StoreUnavailableError("Supabase did not answer. Nothing was changed. Try again.")

    page = app("people")
    some = [card.id for card in demo_library.view().people()[:2]]
    for person in some:
        page.checkbox(key=f"pick-people-0-{person}").check()
    page.run()
    monkeypatch.setattr(Service, "merge", is_away)
    page.button(key="merge-selected").click().run()
    assert "Supabase did not answer" in texts(page)
    assert [page.checkbox(key=f"pick-people-0-{person}").value for person in some] == [True, True]
