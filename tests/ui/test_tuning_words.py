"""What Tune says: a plan in plain words, and an epsilon slider that does not lie."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from facecluster.clustering import NOISE
from facecluster.config import load_settings
from facecluster.model import PersonId, Question
from facecluster.reconcile import reconcile
from facecluster.ui import gauge_words, plan_faces, plan_words, strictness
from facecluster.ui.gauge_words import Counts
from facecluster.ui.strictness import Span, span_of, span_words, strict_words
from facecluster.wiring import open_service

REAL = np.array([1.1003, 1.1163, 1.1257, 1.1905, 1.2312])


# --- the slider ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [REAL, [0.2], [0.89, 1.27], [0.001, 1.9], [1.1, 1.1000001]])
def test_the_span_holds_every_change_strictly_inside_on_whole_steps(changes):
    span = span_of(np.array(changes))
    assert 0 <= span.low < changes[0]
    assert changes[-1] < span.high
    assert (span.high - span.low) / span.step == pytest.approx(round((span.high - span.low) / span.step))
    assert (span.high - span.low) / span.step <= 130


def test_without_changes_the_slider_is_the_whole_range():
    assert span_of(np.empty(0)) == Span(0.0, 2.0, 0.01) == span_of(REAL, is_whole=True)


@pytest.mark.parametrize("epsilon", [0.0, 0.35, 1.2345, 1.9])
def test_a_value_survives_the_slider_while_nobody_moves_it(epsilon):
    span = span_of(REAL)
    position = span.position(epsilon)
    assert span.low <= position <= span.high
    assert span.epsilon(position, epsilon) == epsilon


def test_moving_the_slider_away_and_back_to_its_end_gives_the_live_value_again():
    span = span_of(REAL)
    assert span.epsilon(1.15, 0.35) == 1.15
    assert span.epsilon(span.low, 1.15, 0.35) == 0.35
    assert span.epsilon(span.high, 1.15, 0.35) == span.high


@pytest.mark.parametrize("step", range(0, 12))
def test_every_position_is_its_own(step):
    span = span_of(REAL)
    position = round(span.low + step * span.step, 4)
    assert span.position(position) == position


def test_the_value_is_shown_in_both_measures_and_says_when_it_does_nothing():
    assert strict_words(0.35, REAL) == "distance 0.35 · cosine 0.94, no effect"
    assert strict_words(1.15, REAL) == "distance 1.15 · cosine 0.34"
    assert strict_words(1.0, np.empty(0)) == "distance 1 · cosine 0.50, no effect"


def test_the_sentence_rounds_so_that_it_stays_true():
    words = span_words(REAL, (1.1555, "Anna", "Bob"), 2)
    assert words == (
        "Below 1.10 (cosine 0.39) epsilon changes nothing here; "
        "at 1.16 (cosine 0.33) Anna and Bob, the first two named people, would merge."
    )
    assert "above 1.24 (cosine 0.23) nothing is left to merge" in span_words(REAL, None, 1)
    assert "no two named people merge at any value" in span_words(REAL, None, 5)
    assert "at any value" in span_words(np.empty(0), None, 5)


def test_the_rug_stays_within_its_picture():
    drawn = strictness.rug(REAL, span_of(REAL), 1.19)
    assert drawn.startswith("<svg")
    assert drawn.count("<path") == len(REAL) + 1


# --- where the first two named people meet -------------------------------------------------------------------------


def lumps(make_batch, centres, n=6, seed=0):
    """Faces around some centres, so tight that only epsilon can join them."""
    rng = np.random.default_rng(seed)
    rows = np.concatenate([c + 0.03 * rng.normal(size=(n, 16)) for c in np.asarray(centres)])
    vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return make_batch([f"f{i:03}" for i in range(len(vectors))], vectors)


@pytest.fixture
def lumpy(make_batch):
    eye = np.eye(16)
    centres = [eye[0], eye[0] + 0.6 * eye[1], eye[2], eye[2] + 0.9 * eye[3]]
    service = open_service(load_settings())
    service._faces.add(lumps(make_batch, centres))
    service.publish(service.plan(replace(service.defaults, epsilon=0.0)))
    return service


def test_the_meeting_is_the_least_change_at_which_named_people_share_a_cluster(lumpy):
    people = lumpy.view().people()
    assert len(people) == 4
    for card, name in zip(people, "ABCD", strict=True):
        lumpy.rename(card.id, name)
    changes = lumpy.epsilon_changes(lumpy.defaults)
    met = strictness.first_meeting(lumpy, lumpy.defaults, changes)
    assert met is not None
    at_once = lumpy.plan(replace(lumpy.defaults, epsilon=met.epsilon))
    just_below = lumpy.plan(replace(lumpy.defaults, epsilon=float(np.nextafter(met.epsilon, 0))))
    assert set(met.people) <= set(at_once.names_at_risk)
    assert not just_below.names_at_risk


def test_with_fewer_than_two_names_nobody_meets(lumpy):
    changes = lumpy.epsilon_changes(lumpy.defaults)
    assert strictness.first_meeting(lumpy, lumpy.defaults, changes) is None


# --- a plan in words -----------------------------------------------------------------------------------------------


class Library:
    """Ten faces of one's own choosing: publish who has which, then ask for the words of something else."""

    def __init__(self, service, batch):
        self.service = service
        service._faces.add(batch)

    def plan(self, label):
        view = self.service.view()
        given = np.asarray(label, np.int32)
        params = {"blur_threshold": 0.0, "label": str(label)}
        return reconcile(view.faces, given, np.ones(len(given), np.float32), view.snapshot, view.state, params)

    def publish(self, label):
        self.service.publish(self.plan(label))

    def name(self, face, name):
        self.service.rename(self.service.view().owner(face), name)

    def told(self, label):
        return plan_words.stories(self.plan(label), self.service.view())


@pytest.fixture
def library(make_batch):
    photo = ["p1", "p2", "p3", "p4", "p5", "p6", "p7", "p1", "p2", "p9"]
    return Library(open_service(load_settings()), make_batch([f"f{i}" for i in range(10)], photo=photo))


def lines(told):
    return [(story.kind, story.title, story.detail) for story in told]


def test_a_first_run_makes_new_people(library):
    told = library.told([0, 0, 0, 0, 1, 1, 1, -1, -1, -1])
    assert lines(told) == [
        ("new", "A new person, 4 faces", "They belong to nobody today"),
        ("new", "A new person, 3 faces", "They belong to nobody today"),
    ]
    words, comfort = plan_words.summary(library.plan([0, 0, 0, 0, 1, 1, 1, -1, -1, -1]), told)
    assert words == "Publishing writes 7 faces into 2 people."
    assert comfort == "It can be undone."


def test_a_named_person_grows(library):
    library.publish([0, 0, 0, 0, -1, -1, -1, -1, -1, -1])
    library.name("f0", "Anna")
    after = [0, 0, 0, 0, 0, 0, -1, -1, -1, -1]
    assert lines(library.told(after)) == [("grown", "Anna 4 → 6", "+2 faces")]
    assert plan_words.summary(library.plan(after), library.told(after)) == (
        "Publishing writes 2 faces into 1 person.",
        "No name is lost, and it can be undone.",
    )


def test_a_named_person_shrinks(library):
    library.publish([0] * 10)
    library.name("f0", "Anna")
    after = [0] * 9 + [-1]
    assert lines(library.told(after)) == [("shrunk", "Anna 10 → 9", "−1 face: 1 to nobody")]
    assert plan_words.summary(library.plan(after), library.told(after))[0] == "Publishing leaves 1 face to nobody."


def test_a_named_person_splits(library):
    library.publish([0] * 10)
    library.name("f0", "Bob")
    after = [0, 0, 0, 0, 0, 0, 1, 1, 1, -1]
    told = library.told(after)
    assert lines(told)[0] == (
        "split",
        "Bob would split in 2",
        "6 keep the name, 4 leave: 3 to a new person and 1 to nobody",
    )
    assert len(told[0].context) == 6
    assert "splits Bob" in plan_words.summary(library.plan(after), told)[0]


def test_an_unnamed_person_is_taken_in_and_a_shared_photo_is_an_alarm(library):
    library.publish([0, 0, 0, 0, 0, 0, 0, 1, 1, 1])
    library.name("f0", "Jonas")
    story = library.told([0] * 10)[0]
    assert (story.kind, story.title, story.detail) == (
        "merged",
        "Jonas would take in an unnamed person",
        "7 → 10, +3 faces",
    )
    assert story.alarm == "Together in 2 photos: hardly one person"
    words, _ = plan_words.summary(library.plan([0] * 10), [story])
    assert words == "Publishing writes 3 faces into 1 person and adds 1 person to Jonas."


def test_unnamed_people_who_become_one_are_told_once(library):
    library.publish([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    told = library.told([0] * 10)
    assert [story.title for story in told] == ["3 unnamed people would become one"]
    assert told[0].n_people == 3
    assert "joins 3 unnamed people into 1" in plan_words.summary(library.plan([0] * 10), told)[0]


def test_an_unnamed_person_falls_apart(library):
    library.publish([0, 0, 0, 0, 1, 1, 1, -1, -1, -1])
    after = [0, 0, 0, 0, -1, -1, -1, -1, -1, -1]
    assert lines(library.told(after)) == [("gone", "An unnamed person would fall apart", "3 faces: 3 to nobody")]


def test_names_come_first_and_are_shown_as_they_are(library):
    library.publish([0, 0, 0, 0, 1, 1, 1, -1, -1, -1])
    library.name("f4", "**Zoë** $x$")
    told = library.told([0, 0, 0, 0, 1, 1, 1, 0, 0, 1])
    assert [story.title for story in told] == ["**Zoë** $x$ 3 → 4", "An unnamed person 4 → 6"]


def test_little_things_are_told_together():
    story = plan_words.Story("grown", "", "An unnamed person 3 → 4", "+1 face", False, n_faces=1)
    ones = [story._replace(key=f"grown-{i}", strips=(np.array([i], np.int32),)) for i in range(5)]
    anna = story._replace(key="grown-a", title="Anna 3 → 4", is_named=True)
    told = plan_words.gathered([anna, *ones])
    assert [s.title for s in told] == ["Anna 3 → 4", "5 unnamed people grow by one face each"]
    assert told[1].n_people == 5
    assert told[1].strips[0].tolist() == [0, 1, 2, 3, 4]


def test_new_people_are_told_together():
    new = plan_words.Story("new", "", "", "", False, n_faces=4, strips=(np.arange(3, dtype=np.int32),))
    told = plan_words.gathered([new._replace(key=f"new-{i}") for i in range(3)])
    assert [(s.title, s.detail) for s in told] == [("3 new people", "12 faces")]


# --- all faces of a line -------------------------------------------------------------------------------------------


def grouped(library, label, at=0):
    plan = library.plan(label)
    story = plan_words.gathered(plan_words.stories(plan, library.service.view()))[at]
    return [(group.title, sorted(group.rows.tolist())) for group in plan_faces.groups(plan, story)]


def test_a_split_shows_where_each_face_goes_and_who_stays(library):
    library.publish([0] * 10)
    library.name("f0", "Bob")
    assert grouped(library, [0, 0, 0, 0, 0, 0, 1, 1, 1, -1]) == [
        ("Leave to a new person", [6, 7, 8]),
        ("Leave to nobody", [9]),
        ("Stay with Bob", [0, 1, 2, 3, 4, 5]),
    ]


def test_whoever_is_taken_in_is_shown_by_whom_they_come_from(library):
    library.publish([0, 0, 0, 0, 0, 1, 1, 1, -1, -1])
    library.name("f0", "Jonas")
    assert grouped(library, [0] * 10) == [
        ("Come from an unnamed person", [5, 6, 7]),
        ("Come from nobody", [8, 9]),
        ("Stay with Jonas", [0, 1, 2, 3, 4]),
    ]


def test_every_face_of_a_line_stands_under_one_heading(library):
    library.publish([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    for label in ([0] * 10, [0, 0, 1, 1, 2, 2, 3, 3, -1, -1], [-1] * 10, [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]):
        plan = library.plan(label)
        told = plan_words.stories(plan, library.service.view())
        for story in [*told, *plan_words.gathered(told)]:
            rows = [row for group in plan_faces.groups(plan, story) for row in group.rows.tolist()]
            assert len(rows) == len(set(rows)) > 0
            assert set(np.concatenate(story.strips).tolist()) <= set(rows)


def test_new_people_told_together_have_a_heading_each(library):
    found = grouped(library, [0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    assert found == [("A new person", [0, 1, 2, 3]), ("A new person", [4, 5, 6]), ("A new person", [7, 8, 9])]


# --- gauges --------------------------------------------------------------------------------------------------------


def test_warnings_come_from_the_data():
    calm = Counts(people=50, not_sure=10, share=0.1, impossible_pairs=4, largest=40, faces=1000)
    assert gauge_words.warnings(calm, calm, calm) == []
    assert gauge_words.warnings(replace(calm, largest=79, impossible_pairs=8), calm, calm) == []
    both = gauge_words.warnings(replace(calm, largest=80, impossible_pairs=9), calm, calm)
    assert [one.text for one in both] == [
        "The largest person would have 80 faces, against 40 today: groups of different people are falling together.",
        "Impossible pairs rise to 9, against 4 today: these are people joined with somebody from the same photo.",
    ]
    assert [one.level for one in both] == ["stop", "look"]
    assert gauge_words.warnings(replace(calm, impossible_pairs=10), calm, calm)[0].level == "stop"
    first = gauge_words.warnings(replace(calm, largest=80), None, calm)
    assert first[0].text.startswith("The largest person would have 80 faces, against 40 without epsilon")


def gauge_levels(library, label):
    view, plan = library.service.view(), library.plan(label)
    then, today = gauge_words.plan_counts(plan, view), gauge_words.live_counts(view)
    warned = gauge_words.warnings(then, today, None)
    return gauge_words.gauge_row(plan, view, then, today, warned)


def test_gauges_compare_with_today_and_a_colour_comes_with_a_word_why(library):
    library.publish([0, 0, 0, 0, 0, 0, 0, -1, -1, -1])
    people, not_sure, pairs, names = gauge_levels(library, [0] * 10)
    assert (people.value, people.words, people.level) == ("1", "1 today", "fine")
    assert (not_sure.value, not_sure.words) == ("0 faces", "0.0%, 3 faces today")
    assert (pairs.value, pairs.level) == ("2", "stop")
    assert pairs.words == "Stop and look: people twice in one photo, 0 today"
    assert (names.value, names.level) == ("None", "fine")


def test_people_who_fall_together_are_red_and_faces_that_nobody_has_any_more_amber(library):
    library.publish([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    together, fewer, *_ = gauge_levels(library, [0] * 10)
    assert together.words == "Stop and look: people fall together, 10 faces in one"
    assert fewer.level == "fine"
    _, fewer, *_ = gauge_levels(library, [0, 0, 0, 0, -1, -1, -1, -1, -1, -1])
    assert (fewer.level, fewer.words) == ("look", "Look at it: 60.0%, 0 faces today")


def test_a_name_at_risk_is_red_and_says_whose(library):
    library.publish([0, 0, 0, 0, 1, 1, 1, -1, -1, -1])
    library.name("f0", "Anna")
    library.name("f4", "Bob")
    *_, names = gauge_levels(library, [0] * 7 + [-1] * 3)
    assert (names.value, names.level) == ("2", "stop")
    assert names.words == "Stop and look: Anna and Bob would be mixed up or fall apart"


def test_contradictions_are_said_only_when_there_are_some():
    calm = {"contradicted_pins": 0, "contradicted_not_persons": 0, "churn": 0.031, "blurred": 65}
    assert gauge_words.aside(calm) == [
        ("3.1% of the faces change hands", False),
        ("65 faces too blurred to sort", False),
    ]
    mended = gauge_words.aside({**calm, "attached": 1037, "taken_out": 5})
    assert ("Over HDBSCAN's clusters: 1,037 attached, 5 taken out", False) in mended
    wrong = gauge_words.aside({**calm, "contradicted_pins": 2, "contradicted_not_persons": 1})[0]
    assert wrong == ("The clusters contradict 2 confirmations and 1 rejection of yours; yours hold", True)


def test_noise_is_counted_as_not_sure():
    label = np.array([0, 0, NOISE, -2], np.int32)
    owner = np.array([0, 0, -1, -1], np.int32)
    found = gauge_words.counts_of(owner, label, np.zeros(4, np.bool_), np.full(4, -1, np.int32))
    assert found == Counts(people=1, not_sure=1, share=pytest.approx(1 / 3), impossible_pairs=0, largest=2, faces=3)


def test_a_question_starts_with_the_name_that_is_known(library):
    library.publish([0, 0, 0, 0, 1, 1, 1, -1, -1, -1])
    library.name("f4", "Bob")
    view = library.service.view()
    unnamed, bob = view.owner("f0"), view.owner("f4")
    ask = lambda *q: plan_words.question_words(Question(*q), view)  # noqa: E731
    assert ask("same", unnamed, bob, 4) == "Are Bob and an unnamed person the same person?"
    assert ask("keep", bob, None, 2) == "Do these 2 faces still belong to Bob?"
    assert ask("same", unnamed, PersonId("not there yet"), 4) == "Are these two unnamed people the same person?"
