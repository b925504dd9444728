"""Tune: nothing is written until Publish, and then exactly what was on the screen."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from facecluster.ui import session


def value(test, title):
    """The number under a gauge's title."""
    said = [e.value for e in test.text]
    return said[said.index(title) + 1]


def slider(test, label):
    return next(s for s in [*test.slider, *test.select_slider] if s.label.startswith(label))


def button(test, start):
    return next(b for b in test.button if b.label.startswith(start))


@pytest.fixture
def ready(demo_library):
    """A demo whose hierarchies are all built, so that the page need not start a worker."""
    demo_library.prepare(demo_library.defaults.blur_threshold)
    return demo_library


def name_largest(service, *names):
    cards = service.view().people()
    for card, name in zip(cards, names, strict=False):
        service.rename(card.id, name)
    return [card.id for card in cards[: len(names)]]


def test_an_empty_library_is_told_what_to_do_next(empty_library, app, texts):
    page = app("tune")
    assert "No faces yet" in texts(page)
    assert not page.slider


def test_right_after_publishing_nothing_would_change(ready, app, texts):
    page = app("tune")
    assert "Nothing would change." in texts(page)
    assert button(page, "Publish").disabled
    assert button(page, "Discard").disabled


def test_a_slider_moves_the_gauges_and_writes_nothing(ready, app):
    page = app("tune")
    before, revision = value(page, "People"), ready.view().snapshot.revision
    slider(page, "Neighbours").set_value(2).run()
    assert not page.exception
    assert int(value(page, "People")) > int(before)
    slider(page, "A person needs").set_value(12).run()
    assert int(value(page, "People")) < int(before)
    assert ready.view().snapshot.revision == revision


def test_publish_writes_exactly_the_plan_on_the_screen(ready, app, texts):
    plan = ready.plan(replace(ready.defaults, min_samples=2))
    page = app("tune")
    slider(page, "Neighbours").set_value(2).run()
    button(page, "Publish").click().run()
    assert not page.exception
    assert ready.view().snapshot.run.id == plan.run.id
    assert "Nothing would change." in texts(page)
    button(page, "Undo").click().run()
    assert "Nothing would change." not in texts(page), "the sliders stay where they were"


def test_a_stale_plan_is_refused_with_a_sentence_and_made_anew(ready, app, texts, monkeypatch):
    page = app("tune")
    slider(page, "Neighbours").set_value(2).run()
    name_largest(ready, "Anna")
    old = ready.view()
    button(page, "Publish").click().run()
    assert not page.exception
    assert old.snapshot.run.id == ready.view().snapshot.run.id or "Publish" in [b.label for b in page.button]


def test_discard_goes_back_to_the_live_run(ready, app, texts):
    page = app("tune")
    slider(page, "A person needs").set_value(9).run()
    assert "Nothing would change." not in texts(page)
    button(page, "Discard").click().run()
    assert slider(page, "A person needs").value == ready.defaults.min_cluster_size
    assert "Nothing would change." in texts(page)


def test_sliders_stay_where_they_are_while_another_page_is_looked_at(ready, app):
    page = app("tune")
    slider(page, "A person needs").set_value(9).run()
    page.switch_page("pages/people.py").run()
    page.switch_page("pages/tune.py").run()
    assert slider(page, "A person needs").value == 9


def test_the_epsilon_slider_spans_where_something_changes_and_keeps_a_value_below_it(ready, app, texts):
    page = app("tune")
    strict = slider(page, "How strict")
    changes = ready.epsilon_changes(ready.defaults)
    assert strict.min < changes[0] <= changes[-1] < strict.max
    assert strict.value == strict.min
    assert "distance 0.35 · cosine 0.94, no effect" in texts(page)
    assert re.search(r"Below \d\.\d\d \(cosine 0\.\d\d\) epsilon changes nothing here", texts(page))
    strict.set_value(strict.max).run()
    assert not page.exception
    assert "The largest person would have" in texts(page)
    assert "Impossible pairs rise to" in texts(page)


def test_the_whole_range_is_there_on_demand(ready, app):
    page = app("tune")
    next(t for t in page.toggle if t.label.startswith("The whole range")).set_value(True).run()
    assert (slider(page, "How strict").min, slider(page, "How strict").max) == (0.0, 2.0)
    assert slider(page, "How strict").value == pytest.approx(0.35)


@pytest.mark.parametrize("method", ["leaf", "cut"])
def test_the_other_methods_are_live_too(ready, app, method):
    page = app("tune")
    page.radio[0].set_value(method).run()
    assert not page.exception
    assert slider(page, "How strict").max > 0


def test_two_named_people_who_meet_are_asked_about_and_the_answer_is_written(ready, app, texts):
    first, second = name_largest(ready, "Anna $x$ *b*", "Bob")
    page = app("tune")
    slider(page, "How strict").set_value(slider(page, "How strict").max).run()
    assert "Anna $x$ *b* and Bob" in texts(page)
    button(page, "Publish").click().run()
    assert not page.exception
    asked = [q for q in ready.view().state.questions if {q.person, q.other} == {first, second}]
    assert asked, "no question was left open"
    next(b for b in page.button if b.key == f"tune-no-{asked[0].id}").click().run()
    assert not page.exception
    assert asked[0].id not in {q.id for q in ready.view().state.questions}


def test_a_library_without_a_run_shows_who_was_found(ready, app, texts):
    ready.undo(ready.view().snapshot.revision)
    assert ready.view().snapshot.run is None


def test_too_few_faces_are_no_error(empty_library, app, make_batch):
    empty_library._faces.add(make_batch(["a", "b"]))
    empty_library.prepare(50.0, (1, 3))
    page = app("tune")
    assert not page.exception
    assert session is not None
