"""The queue of questions: that it asks what is doubtful, never twice, and that its figures come true."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from planted_library import Planted, planted, publish

from facecluster.config import load_settings
from facecluster.decisions import Draft
from facecluster.doubts import chance_by_best, chance_of_one, doubts_after, doubts_of, n_together
from facecluster.evidence import evidence, most_alike
from facecluster.model import FaceBatch, Question, Run
from facecluster.review import Queue, Review, queue_of
from facecluster.service import Service
from facecluster.ui.reviewing import say
from facecluster.wiring import open_service

KINDS = ("same", "keep", "belongs", "noise", "split")


@pytest.fixture
def library(tmp_path) -> Planted:
    return planted(tmp_path)


def queue(library: Planted) -> Queue:
    return queue_of(doubts_of(library.view))


def ids(found: Queue) -> list[str]:
    return [ask.id for ask in found.asks]


# --- the queue -------------------------------------------------------------------------------------------------------


def test_every_planted_mistake_of_each_kind_is_asked_about(library):
    found = queue(library)
    counts = Counter(ask.kind for ask in found.asks)
    assert {"same", "belongs", "noise", "split"} <= counts.keys()
    asked = np.unique(np.concatenate([ask.rows for ask in found.asks]))
    wrong = np.flatnonzero(~library.is_right(range(len(library.truth))))
    assert np.isin(wrong, asked).mean() > 0.9


def test_what_settles_most_comes_first(library):
    gains = [ask.gain for ask in queue(library).asks]
    assert gains == sorted(gains, reverse=True)
    assert gains[0] == pytest.approx(len(queue(library).asks[0].rows) * queue(library).asks[0].chance)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_as_many_answers_as_the_header_says_settle_as_much_as_it_says(tmp_path, seed):
    library = planted(tmp_path, 1500, seed)
    review = Review()
    before = review.queue(library.view)
    in_doubt = np.unique(np.concatenate([ask.rows for ask in before.asks]))
    was_right = library.is_right(in_doubt)
    n = before.answers_for(0.8)
    said = before.settled[n - 1]
    for _ in range(n):
        ask = review.queue(library.view).asks[0]
        say(library.service, ask, library.is_yes(ask))
    left = review.queue(library.view)
    still = np.unique(np.concatenate([ask.rows for ask in left.asks]))
    settled = ~np.isin(in_doubt, still)
    # A yes answers more than its own question where others were about the same faces.
    assert -0.05 < settled.mean() - said < 0.1
    is_right = library.is_right(in_doubt)
    assert is_right[settled].mean() > 0.97
    assert is_right.mean() > was_right.mean() + 0.2


def test_true_answers_to_everything_leave_nearly_nothing_wrong(library):
    review = Review()
    everybody = range(len(library.truth))
    before = library.is_right(everybody).mean()
    for _ in range(1000):
        asks = review.queue(library.view).asks
        if not asks:
            break
        say(library.service, asks[0], library.is_yes(asks[0]))
    assert not review.queue(library.view).asks
    assert before < 0.965
    assert library.is_right(everybody).mean() > 0.985


@pytest.mark.parametrize("seed", range(4))
def test_no_question_returns_after_its_answer(tmp_path, seed):
    library = planted(tmp_path, 700, seed)
    rng = np.random.default_rng(seed)
    review, answered = Review(), set()
    for _ in range(60):
        found = review.queue(library.view)
        assert answered.isdisjoint(ids(found))
        assert set(ids(found)) == set(ids(queue(library))), "what was carried on is what is reckoned anew"
        if not found.asks:
            break
        ask = found.asks[int(rng.integers(len(found.asks)))]
        say(library.service, ask, bool(rng.random() < 0.5))
        answered.add(ask.id)
    assert len(answered) > 20


def test_what_is_carried_on_is_what_is_reckoned_anew_whatever_else_was_done(library):
    service, rng = library.service, np.random.default_rng(1)
    doubts = doubts_of(library.view)
    for step in range(24):
        view = library.view
        some = [view.faces.ids[row] for row in rng.choice(len(view.faces), 3, replace=False)]
        one, other = (view.cards[at].id for at in rng.choice(len(view.cards), 2, replace=False))
        acts = (
            lambda some=some, one=one: service.move(some, one),
            lambda some=some: service.mark(some, "ignored"),
            lambda some=some: service.new_person(some),
            lambda one=one, other=other: service.merge(one, [other]),
            lambda one=one: service.confirm(one),
            lambda some=some, one=one: service.reject(some, one),
            lambda: service.undo(service.history(1)[0].revision),
            lambda one=one: service.hide([one]),
        )
        acts[step % len(acts)]()
        doubts, anew = doubts_after(doubts, library.view), doubts_of(library.view)
        np.testing.assert_allclose(doubts.centre, anew.centre, atol=1e-6)
        np.testing.assert_allclose(doubts.own, anew.own, atol=1e-6)
        np.testing.assert_array_equal(doubts.rival, anew.rival)
        np.testing.assert_allclose(doubts.likeness, anew.likeness, atol=1e-6)
        np.testing.assert_array_equal(doubts.clashes, anew.clashes)
        assert doubts.pairs.keys() == anew.pairs.keys()
        assert doubts.halves.keys() == anew.halves.keys()
        assert ids(queue_of(doubts)) == ids(queue_of(anew))


def test_several_acts_may_lie_between_two_looks(library):
    """A face whose person went into another, and that was set aside, before anybody looked."""
    doubts = doubts_of(library.view)
    into, gone = (card.id for card in library.view.cards[:2])
    face = library.view.ids_of(gone)[0]
    library.service.merge(into, [gone])
    library.service.mark([face], "ignored")
    doubts, anew = doubts_after(doubts, library.view), doubts_of(library.view)
    np.testing.assert_allclose(doubts.own, anew.own, atol=1e-6)


@pytest.mark.parametrize("is_yes", [True, False])
@pytest.mark.parametrize("kind", ["same", "belongs", "noise", "split"])
def test_undo_asks_again(library, kind, is_yes):
    review = Review()
    before = ids(review.queue(library.view))
    ask = next(ask for ask in review.queue(library.view).asks if ask.kind == kind)
    say(library.service, ask, is_yes)
    assert ask.id not in ids(review.queue(library.view))
    library.service.undo(library.service.history(1)[0].revision)
    assert ids(review.queue(library.view)) == before


def test_new_faces_are_asked_about_too(library):
    review = Review()
    review.queue(library.view)
    person = library.view.cards[0].id
    like = library.view.centre(person)[None]
    nothing = (("",), ("",), ("",), np.full(1, 200.0, np.float32), np.full((1, 4), np.nan, np.float32), (b"",), ("",))
    library.service._faces.add(FaceBatch(("aaa-new",), like, *nothing))
    assert f"noise:{person}:aaa-new" in ids(review.queue(library.view))


def test_nothing_is_asked_before_anything_was_published(tmp_path, make_batch):
    service = open_service(load_settings(library=tmp_path / "library"))
    assert queue_of(doubts_of(service.view())).asks == ()
    assert queue_of(doubts_of(service.view())).answers_for(0.8) == 0
    service._faces.add(make_batch(["a", "b"]))
    assert queue_of(doubts_of(service.view())).asks == ()


# --- what is not asked -----------------------------------------------------------------------------------------------


def test_two_people_of_one_photo_are_not_taken_for_one(library):
    view = library.view
    for ask in queue(library).asks:
        if ask.kind == "same":
            assert n_together(view, view.rows(ask.person), view.rows(ask.other)) == 0


def test_a_loose_face_is_never_offered_to_somebody_who_is_in_its_photo(library):
    view = library.view
    photo = view.faces.photo_number
    noise = [ask for ask in queue(library).asks if ask.kind == "noise"]
    assert noise
    assert all(photo[ask.rows[0]] not in photo[view.rows(ask.person)] for ask in noise)


def test_a_confirmed_face_is_not_doubted(library):
    ask = next(ask for ask in queue(library).asks if ask.kind == "belongs")
    library.service.confirm(ask.person, ask.faces)
    assert all(ask.faces != other.faces for other in queue(library).asks if other.kind == "belongs")


def test_hidden_people_are_left_alone(library):
    hidden = {ask.person for ask in queue(library).asks[:20] if ask.kind != "split"}
    library.service.hide(sorted(hidden))
    assert not any({ask.person, ask.other} & hidden for ask in queue(library).asks if ask.kind in ("same", "noise"))


def test_what_a_question_about_many_faces_settles_is_not_asked_face_by_face(library):
    found = queue(library)
    in_halves = np.concatenate([ask.rows for ask in found.asks if ask.kind == "split"])
    single = np.concatenate([ask.rows for ask in found.asks if ask.kind == "belongs"])
    assert not np.isin(single, in_halves).any()


# --- what reconcile asks ---------------------------------------------------------------------------------------------


def test_what_reconcile_could_not_settle_is_asked_however_unlike(tmp_path):
    def questions(first):
        return [Question("same", first[0], first[1], 3)]

    library = planted(tmp_path, questions=questions)
    view = library.view
    (asked,) = view.state.questions
    (ask,) = [ask for ask in queue(library).asks if {ask.person, ask.other} == {asked.person, asked.other}]
    say(library.service, ask, is_yes=False)
    assert ask.id not in ids(queue(library))


@pytest.mark.parametrize("is_yes", [True, False])
def test_faces_that_clustering_let_go_are_asked_about_together(tmp_path, is_yes):
    library = planted(tmp_path)
    view = library.view
    person = view.cards[0].id
    rows = view.rows(person)
    run = view.snapshot.run
    label = run.label.copy()
    label[rows[:4]] = -1
    draft = Draft(view.snapshot)
    draft.set("live_run", "", "run-2")
    question = Question("keep", person, None, 4)
    again = Run("run-2", {}, run.fingerprint, run.faces, run.owner, label, run.strength, {}, (question,))
    library.service._people.apply(draft.change("setup", "Published", again))
    (ask,) = [ask for ask in queue(library).asks if ask.kind == "keep"]
    assert ask.person == person
    assert ask.faces == tuple(view.faces.ids[row] for row in rows[:4])
    say(library.service, ask, is_yes)
    assert not [ask for ask in queue(library).asks if ask.kind == "keep"]
    assert {library.view.owner(face) for face in ask.faces} == {person if is_yes else None}


# --- two faces of one photo, two halves ------------------------------------------------------------------------------


def small(folder: Path, vectors, label, photo=None) -> Service:
    n = len(label)
    service = open_service(load_settings(library=folder / "library"))
    columns = (photo or tuple(f"photo {row}" for row in range(n)), ("",) * n, ("",) * n, np.full(n, 200.0, np.float32))
    vectors = np.asarray(vectors, np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    boxes = np.full((n, 4), np.nan, np.float32)
    service._faces.add(FaceBatch(tuple("abcdefghijklmnop"[:n]), vectors, *columns, boxes, (b"",) * n, ("",) * n))
    publish(service, np.array(label, np.int32))
    return service


def test_of_two_faces_of_one_photo_the_one_less_like_the_person_is_asked_about(tmp_path):
    vectors = [[1, 0, 0], [1, 0.05, 0], [1, 0, 0.05], [1, 0.4, 0]]
    service = small(tmp_path, vectors, [0, 0, 0, 0], ("one", "two", "three", "one"))
    (ask,) = queue_of(doubts_of(service.view())).asks
    assert (ask.kind, ask.faces) == ("belongs", ("d",))
    shown = evidence(service.view(), ask)
    assert shown.n_together == 1
    service.confirm(ask.person, ask.faces)
    (other,) = queue_of(doubts_of(service.view())).asks
    assert other.faces == ("a",)
    service.confirm(ask.person, ["a"])
    assert not queue_of(doubts_of(service.view())).asks, "a mirror: the curator has said that both are"


def test_a_person_of_two_halves_is_asked_about_and_no_confirms_what_was_shown(tmp_path):
    vectors = [[1, 0, 0.1 * i] for i in range(5)] + [[0, 1, 0.1 * i] for i in range(4)]
    service = small(tmp_path, vectors, [0] * 9)
    (ask,) = queue_of(doubts_of(service.view())).asks
    assert ask.kind == "split"
    assert sorted(ask.faces) == list("fghi")
    say(service, ask, is_yes=False)
    assert {card.n_confirmed for card in service.view().cards} == {8}
    assert not queue_of(doubts_of(service.view())).asks


def test_two_people_in_one_become_two_who_are_not_asked_about_again(tmp_path):
    vectors = [[1, 0, 0.1 * i] for i in range(5)] + [[0, 1, 0.1 * i] for i in range(4)]
    service = small(tmp_path, vectors, [0] * 9)
    (person,) = service.view().cards
    service.rename(person.id, "Anna")
    service.confirm(person.id, ["g"])
    (ask,) = queue_of(doubts_of(service.view())).asks
    assert sorted(ask.faces) == list("abcde"), "whoever has the confirmed faces keeps the name"
    say(service, ask, is_yes=True)
    assert {(card.name, card.n_faces) for card in service.view().cards} == {("Anna", 4), ("", 5)}
    assert not queue_of(doubts_of(service.view())).asks


def test_an_unnamed_crowd_goes_to_the_few_who_have_the_name(tmp_path):
    vectors = [[1, 0.02 * i, 0] for i in range(8)]
    service = small(tmp_path, vectors, [0, 0, 0, 0, 0, 1, 1, 1])
    named = service.view().owner("g")
    service.rename(named, "Anna")
    (ask,) = queue_of(doubts_of(service.view())).asks
    assert (ask.kind, ask.person, len(ask.rows)) == ("same", named, 5)


# --- figures ---------------------------------------------------------------------------------------------------------


def test_chances_grow_with_likeness_and_small_groups_need_more():
    assert chance_of_one(0.2, 100) < 0.1 < chance_of_one(0.28, 100) < 0.9 < chance_of_one(0.36, 100)
    assert chance_of_one(0.3, 2) < chance_of_one(0.3, 20)
    assert chance_by_best(0.3) < 0.01 < 0.9 < chance_by_best(0.6)


def test_settled_counts_a_face_when_the_last_question_about_it_is_answered(library):
    found = queue(library)
    twice = Queue((found.asks[0], found.asks[1], found.asks[0]))
    n = len(found.asks[0].rows) + len(found.asks[1].rows)
    assert twice.settled.tolist() == pytest.approx([0.0, len(found.asks[1].rows) / n, 1.0])
    assert (twice.answers_for(0.01), twice.answers_for(1.0)) == (2, 3)
    assert found.settled[-1] == 1.0


def test_what_was_skipped_is_not_counted(library):
    found = queue(library)
    left = found.without({found.asks[0].id})
    assert ids(left) == ids(found)[1:]
    assert left.n_faces <= found.n_faces


@pytest.mark.parametrize("kind", ["same", "belongs", "noise", "split"])
def test_the_evidence_shows_the_faces_it_speaks_of(library, kind):
    view = library.view
    for ask in [ask for ask in queue(library).asks if ask.kind == kind][:10]:
        found = evidence(view, ask)
        assert found.cosine == pytest.approx(1 - found.distance**2 / 2)
        assert set(found.right.faces) <= set(view.ids_of(ask.other if kind == "same" else ask.person))
        assert not set(found.left.faces) & set(found.right.faces)
        if kind in ("belongs", "noise"):
            assert found.left.faces == ask.faces
        if kind == "split":
            assert (*found.left.faces, *found.right.faces) == ask.shown


def test_the_large_pair_is_the_most_alike_of_all():
    vectors = np.random.default_rng(0).standard_normal((30, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    left, right = most_alike(vectors, np.arange(12), np.arange(12, 30))
    score = vectors[:12] @ vectors[12:].T
    assert score[left[0], right[0] - 12] == score.max()
    assert len(set(left)) == len(set(right)) == 4
