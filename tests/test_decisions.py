"""What a curator said: names, drafts, merges, and taking things back."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_library import make_library

from facecluster import decisions
from facecluster.decisions import Draft, clean_name, resolve
from facecluster.errors import InputError, StaleWriteError
from facecluster.model import ChangeRecord, FaceId, FaceSet, PeopleSnapshot, PersonId, Question, Run
from facecluster.row_state import owners, row_state

FACES = tuple(FaceId(f"f{i}") for i in range(6))
ANNA, BERT, CLEO = (PersonId(f"p-{name}") for name in ("anna", "bert", "cleo"))


class Log:
    """Facts with their history, folded as the stores do it."""

    def __init__(self, owner=(ANNA, ANNA, BERT, BERT, CLEO, None), questions=()):
        label = np.array([["p-anna", "p-bert", "p-cleo"].index(p) if p else -1 for p in owner], np.int32)
        run = Run("run-1", {}, "-", FACES, tuple(owner), label, np.ones(len(FACES), np.float32), {}, tuple(questions))
        people = {("person", p, ""): "1" for p in {*owner} - {None}}
        self.now = PeopleSnapshot(0, people, run)
        self.records = []

    def apply(self, draft, undoes=None):
        facts = dict(self.now.facts)
        for decision in draft.decisions:
            assert facts.get(decision.key) == decision.before
            facts[decision.key] = decision.value
        facts = {key: value for key, value in facts.items() if value is not None}
        self.now = PeopleSnapshot(self.now.revision + 1, facts, self.now.run)
        record = ChangeRecord(self.now.revision, "2026-01-01", "me", "a change", draft.decisions, undoes)
        self.records.append(record)
        return record

    def tell(self, what, *args):
        draft = Draft(self.now)
        what(draft, *args)
        return self.apply(draft)

    def undo(self, record):
        return self.apply(decisions.undo(self.now, record), undoes=record.revision)

    def owner(self, face):
        return owners(self.now, [face])[0]


def faces_of(log):
    n = len(FACES)
    return FaceSet(
        FACES, np.ones((n, 1), np.float32), ("",) * n, ("",) * n, ("",) * n, ("",) * n,
        np.full(n, np.nan, np.float32), np.full((n, 4), np.nan, np.float32), "-",
    )  # fmt: skip


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("Anna", "Anna"),
        ("  Anna \t  Maria\n", "Anna Maria"),
        ("Ame\u0301lie", "Am\u00e9lie"),  # composed
        ("Anna\x00Bert", "Anna Bert"),
        ("\u202egnp.exe\u202c", "gnp.exe"),  # right-to-left override
        ("An\u200bna\ufeff", "An na"),  # zero-width space, byte order mark
        ("\u2066Anna\u2069", "Anna"),
        ("A\ud800nna", "Anna"),  # half a surrogate pair
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f468\u200d\U0001f469\u200d\U0001f467"),  # a family
        ("\u200d\u200c", ""),
        ("علی\u200cرضا", "علی\u200cرضا"),
        ("nan", "nan"),
        ("=HYPERLINK(1)", "=HYPERLINK(1)"),
        ("", ""),
        ("\x00", ""),
    ],
)
def test_a_name_is_kept_as_it_can_be_shown(typed, kept):
    assert clean_name(typed) == kept


def test_a_name_of_two_hundred_characters_is_kept_and_a_longer_one_is_refused():
    assert len(clean_name("x" * 200)) == 200
    with pytest.raises(InputError, match="10,000"):
        clean_name("x" * 10_000)


@given(st.text(st.characters(exclude_categories=()), max_size=60))
def test_a_clean_name_is_clean(typed):
    name = clean_name(typed)
    assert clean_name(name) == name
    assert unicodedata.is_normalized("NFC", name)
    name.encode("utf-8")
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Co", "Cn") for c in name)


def test_an_empty_name_takes_the_name_away():
    log = Log()
    log.tell(decisions.rename, ANNA, "Anna")
    log.tell(decisions.rename, ANNA, " \u200b ")
    assert ("name", ANNA, "") not in log.now.facts


# --- drafts ----------------------------------------------------------------------------------------------------------


def test_a_draft_holds_what_differs_and_what_was_there_before():
    log = Log()
    log.tell(decisions.rename, ANNA, "Anna")
    draft = Draft(log.now)
    decisions.rename(draft, ANNA, "Bert")
    decisions.rename(draft, ANNA, "Anne")
    decisions.rename(draft, BERT, "")
    (only,) = draft.decisions
    assert (only.value, only.before) == ("Anne", "Anna")
    assert only.inverse().inverse() == only
    decisions.rename(draft, ANNA, "Anna")
    assert draft.decisions == ()


def test_a_change_set_is_based_on_the_revision_of_its_draft():
    log = Log()
    log.tell(decisions.rename, ANNA, "Anna")
    assert Draft(log.now).change("me", "nothing").base_revision == 1


def test_confirming_takes_back_what_was_said_against_it():
    log = Log()
    log.tell(decisions.reject, FACES[:1], ANNA)
    log.tell(decisions.mark, FACES[:1], "ignored")
    assert log.owner(FACES[0]) is None
    log.tell(decisions.confirm, ANNA, FACES[:1])
    assert log.owner(FACES[0]) == ANNA
    assert {kind for kind, _, _ in log.now.facts} == {"person", "pin"}


def test_confirming_takes_back_a_rejection_from_somebody_who_was_merged_since():
    log = Log()
    log.tell(decisions.reject, FACES[4:5], BERT)
    log.tell(decisions.merge, ANNA, BERT, ())
    log.tell(decisions.confirm, ANNA, FACES[4:5])
    assert log.owner(FACES[4]) == ANNA
    assert not [key for key in log.now.facts if key[0] == "not_person"]


def test_rejecting_takes_the_pin_of_this_person_and_no_other():
    log = Log()
    log.tell(decisions.confirm, ANNA, FACES[:1])
    log.tell(decisions.reject, FACES[:1], BERT)
    assert log.owner(FACES[0]) == ANNA
    log.tell(decisions.reject, FACES[:1], ANNA)
    assert log.owner(FACES[0]) is None


def test_rejecting_takes_a_pin_to_somebody_who_was_merged_into_the_person():
    log = Log()
    log.tell(decisions.confirm, BERT, FACES[2:3])
    log.tell(decisions.merge, ANNA, BERT, ())
    log.tell(decisions.reject, FACES[2:3], ANNA)
    assert log.owner(FACES[2]) is None


def test_setting_aside_takes_pins_and_owners():
    log = Log()
    log.tell(decisions.confirm, ANNA, FACES[:1])
    log.tell(decisions.mark, FACES[:2], "not_a_face")
    assert owners(log.now, FACES[:2]) == [None, None]
    log.tell(decisions.mark, FACES[:2], None)
    assert owners(log.now, FACES[:2]) == [ANNA, ANNA]


def test_new_people_of_one_draft_get_different_ids():
    draft = Draft(Log().now)
    made = [decisions.new_person(draft, FACES[0]) for _ in range(3)]
    assert len(set(made)) == 3


# --- merges ----------------------------------------------------------------------------------------------------------


def test_merges_can_be_chained():
    log = Log()
    log.tell(decisions.rename, CLEO, "Cleo")
    log.tell(decisions.merge, BERT, CLEO, FACES[4:5])
    log.tell(decisions.merge, ANNA, BERT, FACES[2:3])
    assert resolve(log.now, CLEO) == ANNA
    assert log.now.people[ANNA].name == "Cleo"
    assert set(owners(log.now, FACES[:5])) == {ANNA}
    assert row_state(log.now, faces_of(log)).people == (ANNA,)


def test_nobody_is_merged_with_themselves():
    with pytest.raises(InputError, match="cannot be merged with itself"):
        decisions.merge(Draft(Log().now), ANNA, ANNA, ())


def test_a_circle_of_merges_ends_somewhere():
    snapshot = PeopleSnapshot(1, {("merged_into", ANNA, ""): BERT, ("merged_into", BERT, ""): ANNA}, None)
    assert resolve(snapshot, ANNA) in (ANNA, BERT)


def test_the_name_of_the_survivor_wins_and_the_other_is_not_forgotten():
    log = Log()
    log.tell(decisions.rename, ANNA, "Anna")
    log.tell(decisions.rename, BERT, "Bert")
    record = log.tell(decisions.merge, ANNA, BERT, ())
    assert log.now.people[ANNA].name == "Anna"
    log.undo(record)
    assert log.now.people[BERT].name == "Bert"
    assert owners(log.now, FACES[2:4]) == [BERT, BERT]


def test_a_merge_takes_back_that_a_face_of_one_is_not_the_other():
    log = Log()
    log.tell(decisions.move, {FACES[0]: ANNA}, BERT)
    log.tell(decisions.tell_apart, ANNA, FACES[1], BERT, FACES[2])
    log.tell(decisions.merge, ANNA, BERT, ())
    assert owners(log.now, FACES[:4]) == [ANNA] * 4
    assert not {kind for kind, _, _ in log.now.facts} & {"not_person", "link"}


def test_a_merge_takes_it_back_also_through_earlier_merges_of_the_same_draft():
    log = Log()
    log.tell(decisions.move, {FACES[4]: CLEO}, BERT)
    draft = Draft(log.now)
    decisions.merge(draft, ANNA, BERT, ())
    decisions.merge(draft, ANNA, CLEO, ())
    log.apply(draft)
    assert log.owner(FACES[4]) == ANNA
    assert not [key for key in log.now.facts if key[0] == "not_person"]


# --- undo ------------------------------------------------------------------------------------------------------------


def test_undo_restores_the_facts_exactly():
    log = Log()
    log.tell(decisions.confirm, ANNA, FACES[:2])
    for what, *args in (
        (decisions.rename, ANNA, "Anna"),
        (decisions.merge, ANNA, BERT, FACES[1:3]),
        (decisions.move, {FACES[0]: ANNA, FACES[5]: None}, CLEO),
        (decisions.reject, FACES[:2], ANNA),
        (decisions.mark, FACES[:3], "ignored"),
        (decisions.tell_apart, ANNA, FACES[0], BERT, FACES[2]),
        (decisions.new_person, FACES[3]),
    ):
        before = dict(log.now.facts)
        record = log.tell(what, *args)
        log.undo(record)
        assert log.now.facts == before


def test_undo_of_an_undo_says_it_again():
    log = Log()
    named = log.tell(decisions.rename, ANNA, "Anna")
    back = log.undo(named)
    assert not log.now.people[ANNA].name
    log.undo(back)
    assert log.now.people[ANNA].name == "Anna"


def test_a_change_is_taken_back_also_when_it_is_not_the_last():
    log = Log()
    named = log.tell(decisions.rename, ANNA, "Anna")
    log.tell(decisions.rename, BERT, "Bert")
    log.undo(named)
    assert [log.now.people[p].name for p in (ANNA, BERT)] == ["", "Bert"]


def test_undo_is_refused_where_something_was_said_anew_since():
    log = Log()
    first = log.tell(decisions.rename, ANNA, "Anna")
    log.tell(decisions.rename, ANNA, "Anne")
    with pytest.raises(StaleWriteError, match=r"became 'Anne' \(it had made it 'Anna'\)"):
        log.undo(first)


def test_undoing_twice_is_refused():
    log = Log()
    record = log.tell(decisions.rename, ANNA, "Anna")
    log.undo(record)
    with pytest.raises(StaleWriteError, match="became None"):
        log.undo(record)


@pytest.mark.parametrize(
    ("what", "args"),
    [
        (decisions.rename, ("NEW", "Dora")),
        (decisions.confirm, ("NEW", FACES[4:5])),
        (decisions.reject, (FACES[4:5], "NEW")),
        (decisions.merge, ("NEW", ANNA, ())),
        (decisions.merge, (ANNA, "NEW", ())),
    ],
)
def test_undo_is_refused_where_it_would_take_away_a_person_of_whom_more_was_said(what, args):
    log = Log()
    made = log.tell(decisions.new_person, FACES[5])
    person = PersonId(made.decisions[0].subject)
    log.tell(what, *(person if arg == "NEW" else arg for arg in args))
    before = dict(log.now.facts)
    with pytest.raises(StaleWriteError, match="cannot be taken back"):
        log.undo(made)
    assert log.now.facts == before


def test_undo_brings_back_somebody_who_went_away_since():
    log = Log()
    log.tell(decisions.rename, ANNA, "Anna")
    unnamed = log.tell(decisions.rename, ANNA, "")
    gone = Draft(log.now)
    gone.set("person", ANNA, None)  # a publishing takes away people of whom nothing is said and who own nothing
    log.apply(gone)
    log.undo(unnamed)
    assert log.now.people[ANNA].name == "Anna"


def test_undo_of_a_withdrawn_pin_brings_its_person_back():
    log = Log()
    pinned = log.tell(decisions.confirm, ANNA, FACES[5:])
    back = log.undo(pinned)
    gone = Draft(log.now)
    gone.set("person", ANNA, None)
    log.apply(gone)
    log.undo(back)
    assert log.owner(FACES[5]) == ANNA
    row_state(log.now, faces_of(log))


def test_undo_never_merges_two_people_into_each_other():
    log = Log()
    there = log.tell(decisions.merge, ANNA, BERT, ())
    and_back = log.undo(there)
    log.tell(decisions.merge, BERT, ANNA, ())
    with pytest.raises(StaleWriteError, match="merged into each other"):
        log.undo(and_back)
    assert row_state(log.now, faces_of(log)).people == (BERT, CLEO)


def test_undo_never_merges_people_of_whom_a_face_was_told_apart_since():
    log = Log()
    undone = log.undo(log.tell(decisions.merge, ANNA, BERT, ()))
    log.tell(decisions.move, {FACES[2]: BERT}, ANNA)
    with pytest.raises(StaleWriteError, match="'f2' would be confirmed and ruled out"):
        log.undo(undone)


def test_a_pin_to_somebody_unknown_does_not_break_the_library():
    snapshot = PeopleSnapshot(1, {("pin", FACES[0], ""): "p-nobody", ("person", ANNA, ""): "1"}, None)
    state = row_state(snapshot, faces_of(None))
    assert (state.owner == -1).all()
    assert (state.pin == -1).all()


# --- facts as row numbers --------------------------------------------------------------------------------------------


def test_facts_about_faces_that_are_gone_are_kept_and_left_out():
    log = Log()
    log.tell(decisions.confirm, ANNA, [FaceId("gone"), FACES[0]])
    log.tell(decisions.reject, [FaceId("gone 2")], BERT)
    log.tell(decisions.mark, [FaceId("gone 3")], "ignored")
    log.tell(decisions.link, FaceId("gone"), FACES[2], "different")
    state = row_state(log.now, faces_of(log))
    assert state.pin.tolist() == [0, -1, -1, -1, -1, -1]
    assert len(state.not_person) == len(state.different) == 0
    assert ("pin", "gone", "") in log.now.facts


def test_row_facts_are_counted_within_the_clustered_rows():
    log = Log()
    log.tell(decisions.confirm, BERT, FACES[2:3])
    log.tell(decisions.reject, FACES[:1], ANNA)
    log.tell(decisions.link, FACES[1], FACES[3], "same")
    facts = row_state(log.now, faces_of(log)).row_facts(np.arange(6, dtype=np.int32), np.array([1, 2, 3]))
    assert facts.pins.tolist() == [[1, 1]]
    assert facts.not_person.tolist() == []
    assert facts.same.tolist() == [[0, 2]]
    assert facts.photo.tolist() == [1, 2, 3]


def test_people_with_a_name_a_fact_or_an_open_question_are_protected_and_no_others():
    question = Question("same", ANNA, CLEO, 2)
    log = Log(questions=[question])
    state = row_state(log.now, faces_of(log))
    assert state.is_protected.tolist() == [True, False, True]
    assert state.questions == (question,)
    log.tell(decisions.tell_apart, ANNA, FACES[0], CLEO, FACES[4])
    log.tell(decisions.rename, BERT, "Bert")
    state = row_state(log.now, faces_of(log))
    assert state.questions == ()
    assert state.is_protected.all()
    assert state.is_named.tolist() == [False, True, False]
    assert state.apart == {(0, 2)}


def test_a_question_follows_its_people_through_merges_and_is_asked_once():
    log = Log(questions=[Question("same", ANNA, BERT, 1), Question("same", CLEO, ANNA, 1)])
    log.tell(decisions.merge, BERT, CLEO, ())
    (question,) = row_state(log.now, faces_of(log)).questions
    assert {question.person, question.other} == {ANNA, BERT}


@pytest.mark.parametrize("id_", ["'; drop table facts; --", '"', "Ünïcode 😀", "a b", "-1", "None"])
def test_any_text_can_be_a_face_id(id_):
    draft = Draft(PeopleSnapshot(0, {}, None))
    person = decisions.new_person(draft, FaceId(id_))
    decisions.confirm(draft, person, [FaceId(id_)])
    assert draft.get("pin", id_) == person


def test_undo_never_leaves_a_face_confirmed_and_set_aside_at_once(tmp_path):
    service = make_library(tmp_path)
    face, person = service.view().faces.ids[0], service.view().people()[0].id
    service.mark([face], "ignored")
    marked = service.view().snapshot.revision
    service.undo(marked)
    service.confirm(person, [face])
    before = dict(service.view().snapshot.facts)
    with pytest.raises(StaleWriteError, match="confirmed and ruled out"):
        service.undo(marked + 1)
    assert dict(service.view().snapshot.facts) == before
