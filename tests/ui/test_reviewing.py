"""The Review page, on the demo published with mistakes, and on libraries without questions."""

from __future__ import annotations

import re

import numpy as np
import pytest
import streamlit as st
from planted_library import mistaken, publish

from facecluster.demo import demo_truth
from facecluster.review import Review
from facecluster.service import Service


@pytest.fixture
def doubtful(demo_library: Service) -> Service:
    """The demo as a worse clustering would have it."""
    publish(demo_library, mistaken(demo_truth(), 4))
    return demo_library


def first(service: Service):
    return Review().queue(service.view()).asks[0]


def press(page, key: str) -> None:
    (button,) = [b for b in page.button if b.key.startswith(f"review-{key}-")]
    button.click().run()
    assert not page.exception


def until(page, service: Service, kind: str) -> object:
    """Skip to the first question of a kind."""
    asks = Review().queue(service.view()).asks
    at = next(at for at, ask in enumerate(asks) if ask.kind == kind)
    for _ in range(at):
        press(page, "S")
    return asks[at]


def test_an_empty_library_says_what_to_do(app, empty_library: Service, texts):
    assert "No faces yet" in texts(app("review"))


def test_faces_without_a_run_lead_to_tune(app, empty_library: Service, make_batch, texts):
    empty_library._faces.add(make_batch(["a", "b", "c"]))
    assert "Nobody found yet" in texts(app("review"))


def test_where_nothing_is_doubtful_nothing_is_asked(app, empty_library: Service, make_batch, texts):
    one = np.eye(8)[0] + 0.05 * np.eye(8)
    empty_library._faces.add(make_batch(list("abcdefgh"), one / np.linalg.norm(one, axis=1, keepdims=True)))
    publish(empty_library, np.zeros(8, np.int32))
    assert "Nothing to decide" in texts(app("review"))


def test_the_header_says_how_much_is_left(app, doubtful: Service, texts):
    queue = Review().queue(doubtful.view())
    n = queue.answers_for(0.8)
    said = texts(app("review"))
    assert f"{n} answers settle about {int(100 * queue.settled[n - 1])} %" in said
    assert f"{len(queue.asks)} questions in all, about {queue.n_faces} faces" in said
    assert "0 answered in this visit" in said


@pytest.mark.parametrize("key", ["Y", "N"])
@pytest.mark.parametrize("kind", ["same", "belongs", "noise", "split"])
def test_an_answer_is_written_and_undo_takes_it_back(app, doubtful: Service, kind, key, texts):
    page = app("review")
    ask = until(page, doubtful, kind)
    facts = dict(doubtful.view().snapshot.facts)
    press(page, key)
    now = Review().queue(doubtful.view())
    assert ask.id not in now.by_id
    assert doubtful.view().snapshot.facts != facts
    assert "1 answered in this visit" in texts(page)
    press(page, "U")
    assert doubtful.view().snapshot.facts == facts
    assert "0 answered in this visit" in texts(page)


def test_yes_makes_two_people_one_and_says_so_with_its_undo(app, doubtful: Service, texts):
    page = app("review")
    ask = until(page, doubtful, "same")
    n = len(doubtful.view().rows(ask.person)) + len(ask.rows)
    assert f"Yes makes one person of {n} faces" in texts(page)
    press(page, "Y")
    assert len(doubtful.view().rows(ask.person)) == n
    assert "Merged" in texts(page)
    page.button(key="fc-news-undo").click().run()
    assert len(doubtful.view().rows(ask.person)) == n - len(ask.rows)
    assert "0 answered in this visit" in texts(page)


def test_a_button_pressed_twice_answers_once(app, doubtful: Service):
    page = app("review")
    (yes,) = [b for b in page.button if b.key.startswith("review-Y-")]
    yes.click()
    page.run()
    revision = doubtful.view().snapshot.revision
    yes.click()
    page.run()
    assert not page.exception
    assert doubtful.view().snapshot.revision == revision


def test_what_one_is_not_sure_of_waits_for_another_visit(app, doubtful: Service):
    ask = first(doubtful)
    page = app("review")
    press(page, "S")
    assert not [b for b in page.button if b.key == f"review-Y-{ask.id}"]
    press(page, "U")
    assert [b for b in page.button if b.key == f"review-Y-{ask.id}"]
    press(page, "S")
    other = app("review")
    assert [b for b in other.button if b.key == f"review-Y-{ask.id}"]


def test_after_the_last_question_the_page_leads_on_and_asks_again_what_was_left(app, demo_library: Service, texts):
    page = app("review")
    n = len(Review().queue(demo_library.view()).asks)
    assert 0 < n < 10
    for _ in range(n):
        press(page, "S")
    assert "Nothing to decide" in texts(page)
    assert f"You were not sure of {n} questions" in texts(page)
    page.button(key="review-again").click().run()
    assert f"{n} questions in all" in texts(page)


def test_a_name_is_text_in_the_question(app, doubtful: Service, texts):
    ask = next(ask for ask in Review().queue(doubtful.view()).asks if ask.kind == "belongs")
    doubtful.rename(ask.person, "**Zoë** :red[x] <b>")
    page = app("review")
    until(page, doubtful, "belongs")
    (heading,) = [h for h in page.subheader if "belong" in h.value]
    assert re.sub(r"\\(.)", r"\1", heading.value) == "Does this face belong to **Zoë** :red[x] <b>?"
    assert r"\*\*Zoë\*\*" in heading.value


def test_the_photo_of_a_face_is_one_click_away_and_the_keys_wait(app, doubtful: Service):
    page = app("review")
    page.button(key="fc-open-review-left").click().run()
    assert not page.exception
    assert page.query_params["photo"]
    assert all(b.disabled for b in page.button if b.key.startswith(("review-Y-", "review-N-", "review-S-")))


def test_the_queue_is_kept_from_one_run_of_the_page_to_the_next(app, doubtful: Service, monkeypatch):
    page = app("review")

    def refuse(*_):
        raise AssertionError("everything was reckoned anew")

    monkeypatch.setattr("facecluster.review.doubts_of", refuse)
    press(page, "Y")
    press(page, "U")
    st.cache_data.clear()
