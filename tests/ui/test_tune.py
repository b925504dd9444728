"""Tune: nothing is written until Publish, and then exactly what was on the screen."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace

import numpy as np
import pytest

from facecluster.demo import demo_faces, synthetic_faces
from facecluster.ui import crops, plan_diff, stability, tuning


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
    """A demo whose hierarchies are all built, so that the page need not start a worker; of HDBSCAN alone.

    The second layer evens out most of what a slider does to the demo's people, and the sliders are what is tested.
    """
    demo_library.prepare(demo_library.defaults.blur_threshold)
    demo_library.publish(demo_library.plan(replace(demo_library.defaults, refine=False)))
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


def test_one_switch_shows_hdbscan_alone_and_what_is_mended_is_said(ready, app, texts):
    page = app("tune")
    switch = next(t for t in page.toggle if t.label == "Mend what HDBSCAN finds")
    assert not switch.value
    assert "Over HDBSCAN's clusters" not in texts(page)
    alone = value(page, "People")
    switch.set_value(True).run()
    assert not page.exception
    assert "Over HDBSCAN's clusters: " in texts(page)
    assert value(page, "People") != alone


def test_what_was_shown_of_another_moment_is_let_go(ready, app):
    page = app("tune")
    slider(page, "A person needs").set_value(12).run()
    kept = tuning._benches()._found
    assert len(kept) == 2
    ready.rename(ready.view().people()[0].id, "Anna")
    page.run()
    assert [ready.view().version in key for key in kept] == [True]


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
    plan = ready.plan(replace(ready.defaults, min_samples=2, refine=False))
    page = app("tune")
    slider(page, "Neighbours").set_value(2).run()
    button(page, "Publish").click().run()
    assert not page.exception
    assert ready.view().snapshot.run.id == plan.run.id
    assert "Nothing would change." in texts(page)
    button(page, "Undo").click().run()
    assert "Nothing would change." not in texts(page), "the sliders stay where they were"


def test_a_plan_that_somebody_overtook_is_refused_with_a_sentence_and_made_anew(ready, app, texts):
    page = app("tune")
    slider(page, "Neighbours").set_value(2).run()
    name_largest(ready, "Anna")
    live = ready.view().snapshot.run.id
    button(page, "Publish").click().run()
    assert not page.exception
    assert ready.view().snapshot.run.id == live
    assert "changed" in texts(page).split("Nothing is written")[1].split("People")[0], "no sentence says why"
    button(page, "Publish").click().run()
    assert ready.view().snapshot.run.id != live


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


def test_what_publishing_leaves_open_is_asked_and_the_answer_is_written(ready, app, texts):
    named = set(name_largest(ready, "Anna $x$ *b*", "Bob"))
    page = app("tune")
    slider(page, "How strict").set_value(slider(page, "How strict").max).run()
    assert "Anna $x$ *b* and Bob, the first two named people, would merge" in texts(page)
    assert any(e.label.startswith("After publishing you will be asked") for e in page.expander)
    button(page, "Publish").click().run()
    asked = ready.view().state.questions
    assert all({q.person, q.other} & named for q in asked)
    assert f"{len(asked)} questions for you" in texts(page)
    next(b for b in page.button if b.key == f"tune-no-{asked[0].id}").click().run()
    assert asked[0].id not in {q.id for q in ready.view().state.questions}
    next(b for b in page.button if b.key == f"tune-yes-{asked[1].id}").click().run()
    assert not page.exception
    assert asked[1].other not in ready.view().number or asked[1].person not in ready.view().number


def lines_of(page):
    """The lines of the plan as the browser has them."""
    sent = [json.loads(e.proto.json) for e in page.get("bidi_component") if e.proto.json]
    return next(one for one in sent if isinstance(one, dict) and "lines" in one)


def name_whoever_changes(service, name):
    """Name somebody who has faces today and loses some with one neighbour, but not all."""
    plan = service.plan(replace(service.defaults, min_samples=1, refine=False))
    line = next(one for one in plan.lines if one.after > len(one.gained) and len(one.lost))
    service.rename(line.person, name)
    return line.person


def test_lines_of_the_plan_go_to_the_browser_with_addresses_and_no_pictures(ready, app, monkeypatch):
    monkeypatch.setattr(crops, "_served", True)
    name_whoever_changes(ready, "<b>Anna</b>")
    page = app("tune")
    slider(page, "Neighbours").set_value(1).run()
    assert not page.exception
    sent = lines_of(page)
    assert sent["lines"][0]["title"].startswith("<b>Anna</b>"), "a name is data"
    assert all(strip["pictures"] and strip["label"] for line in sent["lines"] for strip in line["strips"])
    assert len(json.dumps(sent)) < 600 * len(sent["lines"]) + 500


def test_a_long_plan_is_sent_in_parts_and_shortened_when_a_slider_moves(ready, app, monkeypatch):
    monkeypatch.setattr(crops, "_served", True)
    monkeypatch.setattr(plan_diff, "LINES", 1)
    monkeypatch.setattr(plan_diff, "MORE", 1)
    page = app("tune")
    slider(page, "Neighbours").set_value(1).run()
    assert len(lines_of(page)["lines"]) == 1
    button(page, "Show 1 more of ").click().run()
    assert len(lines_of(page)["lines"]) == 2
    slider(page, "A person needs").set_value(4).run()
    assert len(lines_of(page)["lines"]) == 1


def test_a_line_opens_all_its_faces_and_follows_the_slider(ready, app, texts):
    person = name_whoever_changes(ready, "Anna *b*")
    page = app("tune")
    slider(page, "Neighbours").set_value(1).run()
    next(b for b in page.button if b.key == "tune-lines-open-0").click().run()
    assert not page.exception
    assert "Stay with Anna *b*" in texts(page)
    stay = [b for b in page.button if b.key.startswith("fc-open-")]
    assert stay
    slider(page, "Neighbours").set_value(3).run()
    slider(page, "A person needs").set_value(20).run()
    assert not page.exception
    button(page, "← All changes").click().run()
    assert "What would change" in texts(page)
    assert ready.view().card_of[person].name == "Anna *b*"


def test_selected_faces_of_a_line_are_confirmed_where_they_are(ready, app):
    person = name_whoever_changes(ready, "Anna")
    page = app("tune")
    slider(page, "Neighbours").set_value(1).run()
    next(b for b in page.button if b.key == "tune-lines-open-0").click().run()
    hers = set(ready.view().ids_of(person))
    box = next(box for box in page.checkbox if box.key.startswith("pick-") and box.key.rpartition("-0-")[2] in hers)
    box.check().run()
    button(page, "Confirm 1 as Anna").click().run()
    assert not page.exception
    assert ready.view().card_of[person].n_confirmed == 1


def test_a_face_of_a_line_opens_its_photo(ready, app, texts):
    page = app("tune")
    slider(page, "Neighbours").set_value(1).run()
    next(b for b in page.button if b.key == "tune-lines-open-0").click().run()
    next(b for b in page.button if b.key.startswith("fc-open-")).click().run()
    assert not page.exception
    assert "Blur score" in texts(page)


def test_impossible_pairs_are_red_with_a_word_and_drawn_when_asked_for(ready, app, texts):
    page = app("tune")
    slider(page, "How strict").set_value(slider(page, "How strict").max).run()
    said = [e.value for e in page.text]
    assert said[said.index("Impossible pairs") + 2].startswith("Stop and look: people twice in one photo")
    assert said[said.index("People") + 2].startswith("Stop and look: people fall together")
    assert "twice in photo" not in texts(page)


def test_the_first_time_shows_who_was_found(empty_library, app, texts):
    empty_library._faces.add(demo_faces())
    empty_library.prepare(empty_library.defaults.blur_threshold)
    n = int(empty_library.plan(empty_library.defaults).gauges["people"])
    page = app("tune")
    assert f"{n} people found" in texts(page)
    assert "Nobody yet" in texts(page)
    button(page, f"Publish {n} people").click().run()
    assert len(empty_library.view().people()) == n
    assert "Nothing would change." in texts(page)


def test_one_person_alone_is_said_to_be_one(empty_library, app, texts, make_batch):
    drawn = np.random.default_rng(1).normal(size=(5, 64)) * 0.05 + np.eye(64)[0]
    vectors = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    empty_library._faces.add(make_batch([f"f{i}" for i in range(5)], vectors))
    empty_library.prepare(empty_library.defaults.blur_threshold)
    assert "HDBSCAN found no two groups" in texts(app("tune"))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_faces_are_no_error(empty_library, app, texts, make_batch, n):
    empty_library._faces.add(make_batch([f"f{i}" for i in range(n)]))
    empty_library.prepare(empty_library.defaults.blur_threshold, (1, 2, 3, 4, 5))
    assert "Nobody would be found" in texts(app("tune"))


def test_an_unbuilt_hierarchy_is_built_by_a_worker_that_can_be_cancelled(demo_library, app, texts):
    page = app("tune")
    assert not page.slider
    assert "Comparing" in texts(page)
    assert button(page, "Cancel")
    wait = time.monotonic() + 60
    while not all(demo_library.is_ready(replace(demo_library.defaults, min_samples=k)) for k in range(1, 6)):
        assert time.monotonic() < wait
        time.sleep(0.2)


def test_another_blur_threshold_says_what_it_leaves_out_and_rebuilds(ready, app, texts):
    page = app("tune")
    page.number_input[0].set_value(100.0).run()
    rebuild = button(page, "Rebuild")
    n = int((ready.view().faces.blur_score < 100.0).sum())
    assert rebuild.label == f"Rebuild ({n} faces would be left out)"
    rebuild.click().run()
    assert "Comparing" in texts(page)
    button(page, "Keep the blur threshold at 50").click().run()
    assert slider(page, "Neighbours")


# --- where little changes ------------------------------------------------------------------------------------------


def picture(page):
    """The map of settings as the browser has it: the cells, and where the marks are."""
    sent = [json.loads(e.proto.json) for e in page.get("bidi_component") if e.proto.json]
    mine = [one for one in sent if isinstance(one, dict) and one.get("key") == "tune-steady"]
    return {name: value for one in mine for name, value in one.items()}


def suggested(page):
    return next((b for b in page.button if b.key == "tune-suggested"), None)


def test_the_map_of_settings_shows_where_one_is_and_what_is_suggested(ready, app, texts):
    page = app("tune")
    drawn, grid = picture(page), ready.stability(ready.defaults)
    heat = np.array([field["heat"] for field in drawn["fields"]])
    assert heat.shape == grid.shape
    assert np.array_equal(heat < 0, grid.is_empty)
    steady = grid.is_good
    assert heat[steady].max() < heat[grid.is_safe & ~steady].min(), "what is steady is fainter"
    assert drawn["here"] == drawn["there"] == list(grid.cell(ready.defaults.setting))
    assert "Where little changes" in texts(page)
    assert "You are in the safe zone" in texts(page)
    assert "You are in the safe zone" in drawn["label"]
    assert re.search(r"distance 1\.\d+ to 1\.\d+, cosine 0\.\d\d to 0\.\d\d", texts(page))
    button = suggested(page)
    assert button.label == "Use suggested: at least 3 faces, 3 neighbours, distance 0.35 (cosine 0.94)"
    assert button.disabled, "the sliders are there already"
    assert "You are at the suggested setting." in texts(page)


def test_the_current_point_moves_with_the_sliders_and_an_unsafe_one_is_said_to_be(ready, app, texts):
    page = app("tune")
    drawn = picture(page)
    home, version = drawn["here"], drawn["version"]
    slider(page, "A person needs").set_value(6).run()
    field, up, right = picture(page)["here"]
    assert [field, right] == [home[0], home[2]]
    assert up > home[1]
    slider(page, "How strict").set_value(slider(page, "How strict").max).run()
    assert not page.exception
    assert picture(page)["here"][2] > right
    assert picture(page)["there"] == home
    assert picture(page)["version"] == version, "the map itself is not sent again"
    assert "Not safe: here people fall together and stand in one photo twice." in texts(page)
    assert not suggested(page).disabled


def test_use_suggested_sets_exactly_what_it_says_and_writes_nothing(ready, app, texts):
    page = app("tune")
    revision = ready.view().snapshot.revision
    slider(page, "A person needs").set_value(12).run()
    slider(page, "Neighbours").set_value(1).run()
    slider(page, "How strict").set_value(slider(page, "How strict").max).run()
    suggested(page).click().run()
    assert not page.exception
    assert slider(page, "A person needs").value == 3
    assert slider(page, "Neighbours").value == 3
    assert "distance 0.35 · cosine 0.94" in texts(page)
    assert "Set: at least 3 faces, 3 neighbours, distance 0.35 (cosine 0.94)" in texts(page)
    assert "Nothing would change." in texts(page)
    assert ready.view().snapshot.revision == revision
    slider(page, "A person needs").set_value(4).run()
    assert "Set: " not in texts(page), "it is said while it is so"


def test_for_a_plain_cut_something_else_is_suggested_and_set(empty_library, app, texts, make_batch):
    faces = synthetic_faces(1_000, seed=3)
    photos = [f"p{number}" for number in faces.photo]
    empty_library._faces.add(make_batch([f"f{i:04}" for i in range(1_000)], faces.vectors, photo=photos))
    empty_library.prepare(empty_library.defaults.blur_threshold)
    page = app("tune")
    page.radio[0].set_value("cut").run()
    label = suggested(page).label
    found = float(re.search(r"distance (\d[.\d]*)", label)[1])
    assert 0.9 < found < 1.2
    suggested(page).click().run()
    assert not page.exception
    assert f"distance {found:.3g} ·" in texts(page)
    assert page.radio[0].value == "cut"
    assert "You are in the safe zone" in texts(page)


def test_a_hierarchy_that_is_not_on_the_map_is_said_to_be_missing(demo_library, app, texts):
    demo_library.prepare(demo_library.defaults.blur_threshold, (7,))
    demo_library.publish(demo_library.plan(replace(demo_library.defaults, min_samples=7)))
    demo_library.prepare(demo_library.defaults.blur_threshold)
    page = app("tune")
    assert slider(page, "Neighbours").value == 7
    assert "7 neighbours are not on this map." in texts(page)
    assert picture(page)["here"] is None
    suggested(page).click().run()
    assert slider(page, "Neighbours").value == 3


def test_a_map_of_many_faces_is_made_by_a_worker_while_the_page_goes_on(ready, app, texts, monkeypatch):
    monkeypatch.setattr(stability, "MOST_AT_ONCE", 100)
    page = app("tune")
    page.radio[0].set_value("leaf").run()  # not saved yet
    assert not page.exception
    assert "Every setting of the sliders is tried once" in texts(page)
    assert value(page, "People")
    wait = time.monotonic() + 60
    while not ready.has_stability(replace(ready.defaults, method="leaf")):
        assert time.monotonic() < wait
        time.sleep(0.2)
    page = app("tune")
    page.radio[0].set_value("leaf").run()
    assert picture(page)["fields"]
