"""The use cases, on real files: what a page, the command line or another program may rely on."""

from __future__ import annotations

import multiprocessing
import threading
from dataclasses import replace

import numpy as np
import pytest
import small_library
from small_library import PARAMS, faces, make_library, open_library, write_faces

from facecluster.answers import Asked
from facecluster.errors import InputError, StaleWriteError
from facecluster.hierarchies import Params
from facecluster.model import FaceId, PersonId, Question
from facecluster.plan import refine_words

COARSE = Params(2, 3, 1.0, "eom", 50.0)
ONE_CLUSTER = Params(1, 2, 2.0, "cut", 50.0)
PERSON, NOBODY = PersonId("somebody who is there"), PersonId("p-nobody")


@pytest.fixture
def service(tmp_path):
    return make_library(tmp_path)


@pytest.fixture
def other(service, tmp_path):
    """The same library, opened a second time, as by another process."""
    return open_library(tmp_path / "library")


def people(service):
    return [card.id for card in service.view().cards if card.n_faces]


def faces_of(service, person):
    view = service.view()
    return [view.faces.ids[row] for row in view.rows(person)]


# --- small libraries -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_the_smallest_libraries_can_be_clustered_published_and_shown(tmp_path, n):
    service = open_library(tmp_path / "library")
    if n:
        columns = {key: value[:n] for key, value in faces().items()}
        service.import_files([write_faces(tmp_path / "few.npz", **columns)])
    plan = service.plan(PARAMS)
    assert service.publish(plan) == 1
    view = service.view()
    assert len(view.faces) == n
    assert view.cards == ()
    assert len(view.noise) + len(view.too_blurred) == n
    assert service.plan(PARAMS).is_empty
    assert plan.gauges["noise_share"] in (0, 1)
    assert len(service.epsilon_changes(PARAMS)) < max(n, 1)


def test_two_identical_faces_are_one_person_where_two_are_enough(tmp_path):
    service = open_library(tmp_path / "library")
    vectors = np.tile(faces()["vectors"][:1], (2, 1))
    service.import_files([write_faces(tmp_path / "twins.npz", ids=np.array(["a", "b"]), vectors=vectors)])
    service.publish(service.plan(Params(1, 2, 0.0, "eom", 50.0)))
    assert service.find(Asked(face=FaceId("a"))).faces[0].distance == 0
    assert len(service.view().cards) + len(service.view().noise) > 0


def test_ids_may_hold_quotes_and_any_script(tmp_path):
    service = open_library(tmp_path / "library", user='o\'Neil "😀" ../..')
    ids = np.array(["'; drop table facts; --", '"', "Ünïcode 😀", "a/../b", "%s", "=1+1"])
    vectors = faces()["vectors"][: len(ids)]
    service.import_files([write_faces(tmp_path / "odd.npz", ids=ids, vectors=vectors)])
    made = service.new_person([FaceId(i) for i in ids.tolist()], "Robert'); --")
    assert set(faces_of(service, made)) == set(ids.tolist())
    again = open_library(tmp_path / "library", user='o\'Neil "😀" ../..')
    assert again.view().person(made).name == "Robert'); --"


# --- names -----------------------------------------------------------------------------------------------------------


def test_a_rename_is_seen_by_another_service_at_once(service, other):
    person = people(service)[0]
    other.view()
    service.rename(person, "Anna")
    assert other.view().person(person).name == "Anna"


def test_a_rename_of_what_was_renamed_meanwhile_is_refused_with_both_names(service, other):
    person = people(service)[0]
    service.rename(person, "Anna")
    other.rename(person, "Anne", seen="Anna")
    with pytest.raises(StaleWriteError, match=r"“Anne” .*“Anna”.* “Annika”"):
        service.rename(person, "Annika", seen="Anna")
    assert service.view().person(person).name == "Anne"


def test_the_same_name_typed_by_two_is_no_conflict(service, other):
    person = people(service)[0]
    service.rename(person, "Anna", seen="")
    other.rename(person, "Anna", seen="")
    assert other.view().snapshot.revision == service.view().snapshot.revision


def test_a_name_of_ten_thousand_characters_is_refused_and_nothing_changes(service):
    person = people(service)[0]
    for do in (
        lambda: service.rename(person, "x" * 10_000),
        lambda: service.new_person([FaceId("face-000")], "x" * 999),
    ):
        with pytest.raises(InputError, match="200 characters"):
            do()
    assert service.view().snapshot.revision == 1


def test_a_new_person_may_be_called_by_what_no_file_can_hold(service):
    made = service.new_person([FaceId("face-000")], "A\ud800\x00nna\u202e")
    assert service.view().person(made).name == "A nna"
    assert service.history(1)[0].title == "Made “A nna” of 1 face"


def test_saying_the_same_again_writes_nothing(service):
    person = people(service)[0]
    service.rename(person, "Anna", confirm=True)
    revision = service.view().snapshot.revision
    assert service.rename(person, "Anna", confirm=True) == revision
    assert service.confirm(person) == revision


def with_person(arg, person):
    if isinstance(arg, Question):
        return replace(arg, person=with_person(arg.person, person))
    return [person] if arg == [PERSON] else person if arg == PERSON else arg


@pytest.mark.parametrize(
    ("do", "args"),
    [
        ("rename", [NOBODY, "Anna"]),
        ("confirm", [NOBODY, [FaceId("face-000")]]),
        ("merge", [PERSON, [NOBODY]]),
        ("merge", [NOBODY, [PERSON]]),
        ("merge", [PERSON, [PERSON]]),
        ("move", [[FaceId("face-000")], NOBODY]),
        ("move", [[FaceId("no such")], PERSON]),
        ("move", [[], PERSON]),
        ("new_person", [[]]),
        ("reject", [[FaceId("no such")], PERSON]),
        ("mark", [[FaceId("no such")], "ignored"]),
        ("hide", [[NOBODY]]),
        ("set_cover", [PERSON, FaceId("no such")]),
        ("set_cover", [NOBODY, None]),
        ("undo", [99]),
        ("undo", [0]),
        ("restore", ["run-none"]),
        ("find", [Asked()]),
        ("find", [Asked(FaceId("no such"))]),
        ("find", [Asked(None, NOBODY)]),
        ("answer", [Question("same", PERSON, None, 1), True]),
        ("answer", [Question("same", PERSON, NOBODY, 1), True]),
        ("answer", [Question("keep", PERSON, None, 1), True]),
        ("answer", [Question("keep", NOBODY, None, 1), False]),
    ],
)
def test_what_makes_no_sense_is_a_sentence_and_changes_nothing(service, do, args):
    person = people(service)[0]
    before = service.view().snapshot
    with pytest.raises(InputError, match=r"\."):
        getattr(service, do)(*(with_person(arg, person) for arg in args))
    assert service.view().snapshot is before


# --- people ----------------------------------------------------------------------------------------------------------


def test_somebody_merged_away_cannot_be_named_any_more(service):
    into, other, *_ = people(service)
    service.merge(into, [other])
    with pytest.raises(InputError, match="merged"):
        service.rename(other, "Anna")
    assert service.view().survivor(other) == into


def test_several_people_can_be_merged_at_once_and_taken_apart_again(service):
    into, *others = people(service)[:4]
    before = dict(service.view().snapshot.facts)
    held = {face for person in (into, *others) for face in faces_of(service, person)}
    revision = service.merge(into, others)
    assert set(faces_of(service, into)) == held
    service.undo(revision)
    assert dict(service.view().snapshot.facts) == before


def test_a_merge_holds_through_every_re_clustering(service):
    # HDBSCAN alone: the second layer takes out faces that share a photo, and these do by chance.
    service.publish(service.plan(replace(PARAMS, refine=False)))
    into, other = people(service)[:2]
    held = {*faces_of(service, into), *faces_of(service, other)}
    service.rename(into, "Anna")
    service.merge(into, [other])
    for how in (PARAMS, COARSE, PARAMS, Params(1, 3, 0.0, "leaf", 50.0), PARAMS):
        service.publish(service.plan(replace(how, refine=False)))
        assert held <= set(faces_of(service, into))


def test_a_merge_takes_no_face_from_a_third_person(service):
    anna, bert, cleo = people(service)[:3]
    face = faces_of(service, anna)[0]
    service.set_cover(anna, face)
    service.move([face], bert)
    assert service.view().card_of[anna].cover != face  # it would show Bert
    service.merge(anna, [cleo])
    assert service.view().owner(face) == bert


def test_a_cover_must_be_one_of_the_persons_faces(service):
    anna, bert = people(service)[:2]
    with pytest.raises(InputError, match="Choose one of theirs"):
        service.set_cover(anna, faces_of(service, bert)[0])
    face = faces_of(service, anna)[-1]
    service.set_cover(anna, face)
    assert service.view().card_of[anna].cover == face
    service.set_cover(anna, None)
    assert ("cover", anna, "") not in service.view().snapshot.facts


def test_hidden_people_are_shown_on_request_only(service):
    person = people(service)[0]
    service.hide([person])
    assert person not in [card.id for card in service.view().people()]
    assert person in [card.id for card in service.view().people(show_hidden=True)]


def test_a_face_set_aside_waits_for_a_rebuild_and_leaves_the_hierarchy_with_it(service):
    face = faces_of(service, people(service)[0])[0]
    service.mark([face], "not_a_face")
    assert service.view().set_aside == [(face, "not_a_face")]
    assert service.waiting_for_rebuild == 1
    service.prepare(50.0, (2,), rebuild=True)
    assert service.waiting_for_rebuild == 0
    assert service.view().row(face) not in service.extracted(PARAMS)[0]
    service.publish(service.plan(PARAMS))
    assert service.view().owner(face) is None


# --- questions -------------------------------------------------------------------------------------------------------


@pytest.fixture
def asked(service):
    """A question between two named people who met."""
    named = people(service)
    for person in named:
        service.rename(person, f"Person {person}")
    service.publish(service.plan(ONE_CLUSTER))
    return next(q for q in service.view().state.questions if {q.person, q.other} <= set(named))


def test_yes_makes_one_person_and_the_question_is_gone(service, asked):
    service.answer(asked, True)
    assert asked.id not in {q.id for q in service.view().state.questions}
    with pytest.raises(InputError, match="no longer there"):
        service.answer(asked, True)
    with pytest.raises(InputError, match="no longer there"):
        service.answer(asked, False)


def test_no_is_never_asked_again_whatever_is_re_clustered(service, asked):
    service.answer(asked, False)
    revision = service.view().snapshot.revision
    assert service.answer(asked, False) == revision  # said already
    for how in (PARAMS, COARSE, ONE_CLUSTER, Params(3, 5, 0.5, "leaf", 0.0)):
        plan = service.plan(how)
        assert asked.id not in {q.id for q in plan.questions}
        service.publish(plan)
    assert all(service.view().person(p).name == f"Person {p}" for p in (asked.person, asked.other))


def test_a_question_of_a_plan_that_was_not_published_needs_the_new_person_first(service):
    anna = people(service)[0]
    service.rename(anna, "Anna")
    for how in (Params(1, 2, 0.0, "leaf", 50.0), COARSE):
        for question in service.plan(how).questions:
            if question.other is not None and question.other not in service.view().number:
                with pytest.raises(InputError, match="Publish the plan first"):
                    service.answer(question, False)
                return
    pytest.fail("no plan made a new person with a question")


def test_hierarchies_of_the_same_faces_share_lists_and_the_faces_themselves_are_not_copied(other):
    kept, view, blur = other._hierarchies, other.view(), PARAMS.blur_threshold
    other.plan(replace(PARAMS, blur_threshold=0.0))
    assert not kept._vectors[0]  # nothing was picked out
    rows, _ = kept.get(view, blur, PARAMS.min_samples)
    assert len(rows) < len(view.faces)
    other.plan(PARAMS)
    assert np.array_equal(kept._vectors[1], view.faces.vectors[rows])
    other.prepare(blur, (1, 2, 3))
    lists = kept.get(view, blur, 1)[1].knn
    assert all(kept.get(view, blur, k)[1].knn is lists for k in (2, 3))
    assert kept.get(view, 0.0, 1)[1].knn is not lists


# --- plans, publishing, history --------------------------------------------------------------------------------------


def test_a_plan_writes_nothing_that_people_see(service):
    before = service.view().snapshot
    service.plan(COARSE)
    assert service.view().snapshot is before
    assert len(service.history()) == 1


def test_names_stay_on_their_faces_while_other_people_change(service):
    named = people(service)[:3]
    held = {person: set(faces_of(service, person)) for person in named}
    for name, person in zip(("Anna", "Bert", "Cleo"), named, strict=True):
        service.rename(person, name)
    plan = service.plan(COARSE)
    service.publish(plan)
    assert not plan.is_empty
    for name, person in zip(("Anna", "Bert", "Cleo"), named, strict=True):
        assert service.view().person(person).name == name
        assert held[person] <= set(faces_of(service, person))


def test_a_plan_after_another_name_is_the_same_as_one_made_anew(service, other):
    first, second, third = people(service)[:3]
    one_for_all = replace(ONE_CLUSTER, refine=False)
    for person, name in ((first, "Anna"), (second, "Bert"), (first, "Ada"), (second, "")):
        service.plan(one_for_all)
        service.rename(person, name)
        assert_same_plan(service.plan(one_for_all), open_library(service.settings.library).plan(one_for_all))
    service.rename(second, "Bert")
    before = service.plan(COARSE)
    other.rename(first, "Zoe")
    assert service.plan(COARSE).after is before.after  # only its names are different
    service.plan(one_for_all)
    service.hide([third], True)
    assert_same_plan(service.plan(one_for_all), open_library(service.settings.library).plan(one_for_all))
    service.publish(service.plan(COARSE))
    assert [service.view().person(person).name for person in (first, second)] == ["Zoe", "Bert"]


def assert_same_plan(one, other):
    assert np.array_equal(one.after, other.after)
    assert (one.people, one.questions, one.names_at_risk) == (other.people, other.questions, other.names_at_risk)
    assert one.gauges == other.gauges
    assert [line[:5] for line in one.lines] == [line[:5] for line in other.lines]
    assert one.change.base_revision == other.change.base_revision
    assert one.change.decisions == other.change.decisions
    assert one.run.id == other.run.id


def test_a_stale_plan_is_refused_and_nothing_of_it_is_written(service, other):
    plan = service.plan(COARSE)
    other.rename(people(other)[0], "Anna")
    before = dict(other.view().snapshot.facts)
    with pytest.raises(StaleWriteError, match="“Named somebody “Anna””"):
        service.publish(plan)
    assert dict(service.view().snapshot.facts) == before
    assert [run.id for run in service.runs()] == [before["live_run", "", ""]]


def test_publishing_twice_is_refused_the_second_time(service):
    plan = service.plan(COARSE)
    service.publish(plan)
    with pytest.raises(StaleWriteError):
        service.publish(plan)


def publish_in_a_process(folder, start, results):
    service = open_library(folder)
    plan = service.plan(COARSE)
    start.wait()
    try:
        results.put(service.publish(plan))
    except StaleWriteError as exc:
        results.put(str(exc))


def test_of_two_processes_that_publish_at_once_one_wins_and_the_other_is_told(service, tmp_path):
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(2), context.Queue()
    args = (tmp_path / "library", start, results)
    workers = [context.Process(target=publish_in_a_process, args=args) for _ in range(2)]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    (refused,) = [result for result in found if isinstance(result, str)]
    assert "Nothing was written" in refused
    assert service.view().snapshot.revision == 2


def test_many_threads_and_two_services_lose_no_edit(service, other):
    chosen = people(service)[:6]

    def rename(one, person, name):
        one.rename(person, name)

    threads = [
        threading.Thread(target=rename, args=(one, person, f"{i} by {which}"))
        for which, one in (("first", service), ("second", other))
        for i, person in enumerate(chosen[:3] if which == "first" else chosen[3:])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(service.view().person(p).name[0] for p in chosen) == ["0", "0", "1", "1", "2", "2"]
    assert service.view().snapshot.revision == 7


def test_undo_of_a_publish_brings_the_old_people_back_exactly(service):
    before = dict(service.view().snapshot.facts)
    owners = service.view().state.owner.tolist()
    revision = service.publish(service.plan(COARSE))
    service.undo(revision)
    assert dict(service.view().snapshot.facts) == before
    assert service.view().state.owner.tolist() == owners


def test_undo_of_a_publish_that_made_people_who_were_named_since_is_refused(service):
    before = set(service.view().number)
    revision = service.publish(service.plan(Params(1, 2, 0.0, "leaf", 0.0)))
    made = sorted(set(people(service)) - before)
    service.rename(made[0], "Newcomer")
    with pytest.raises(StaleWriteError, match="the name was set for a person whom it added"):
        service.undo(revision)
    assert service.view().person(made[0]).name == "Newcomer"


def test_the_last_change_can_be_undone_also_where_a_new_person_took_confirmed_faces(service):
    anna = people(service)[0]
    service.confirm(anna)
    before = dict(service.view().snapshot.facts)
    service.new_person(faces_of(service, anna)[:2], "Berta")
    service.undo(service.view().snapshot.revision)
    assert dict(service.view().snapshot.facts) == before


def test_undo_twice_and_undo_of_undo(service):
    person = people(service)[0]
    revision = service.rename(person, "Anna")
    undone = service.undo(revision)
    with pytest.raises(StaleWriteError):
        service.undo(revision)
    service.undo(undone)
    assert service.view().person(person).name == "Anna"
    assert [record.undoes for record in service.history(3)] == [undone, revision, None]


def test_a_restored_run_shows_its_people_and_keeps_names_and_pins(service):
    first = service.view().snapshot.run.id
    anna = people(service)[0]
    owners = service.view().state.owner.tolist()
    service.publish(service.plan(COARSE))
    service.rename(anna, "Anna", confirm=True)
    pinned = set(faces_of(service, anna))
    service.restore(first)
    assert service.view().snapshot.run.id == first
    assert service.view().person(anna).name == "Anna"
    assert pinned <= set(faces_of(service, anna))
    service.undo(service.view().snapshot.revision - 1)
    assert service.view().state.owner.tolist() == owners


def test_history_is_read_in_pieces(service):
    person = people(service)[0]
    for i in range(5):
        service.rename(person, f"Name {i}")
    assert [r.revision for r in service.history(2)] == [6, 5]
    assert [r.revision for r in service.history(2, before=5)] == [4, 3]


# --- faces that come and change --------------------------------------------------------------------------------------


def test_new_faces_are_counted_as_new_until_the_next_run(service, tmp_path):
    few = {key: value[:4] for key, value in faces(seed=9, prefix="new").items()}
    service.import_files([write_faces(tmp_path / "new.npz", **few)])
    assert service.view().n_new == 4
    assert not service.is_ready(PARAMS)
    service.publish(service.plan(PARAMS))
    assert service.view().n_new == 0
    assert service.is_ready(PARAMS)


def test_faces_that_come_while_a_plan_is_made_neither_mix_nor_poison_what_is_saved(service, other, tmp_path):
    few = {key: value[:9] for key, value in faces(seed=9, prefix="aaa").items()}  # they come first, so rows move
    path = write_faces(tmp_path / "new.npz", **few)
    came = []

    def progress(_fraction, _message):
        if not came:
            came.append(other.import_files([path]))

    how = Params(4, 3, 0.0, "eom", 50.0)
    plan = service.plan(how, progress)
    assert came
    assert len(plan.run.faces) == 60
    fresh = open_library(tmp_path / "library")
    after = fresh.plan(how)
    assert len(after.run.faces) == 69
    clean = make_library(tmp_path / "clean", publish=False)
    clean.import_files([path])
    assert clean.plan(how).label.tolist() == after.label.tolist()


def test_a_plan_of_the_same_clusters_is_not_made_again_and_says_its_own_parameters(service, other):
    first = service.plan(replace(PARAMS, epsilon=0.2))
    for params in (
        replace(PARAMS, epsilon=0.21),
        replace(PARAMS, epsilon=0.2, refine=False),
        replace(PARAMS, epsilon=1.0),
    ):
        again, fresh = service.plan(params, author="anna"), other.plan(params, author="anna")
        assert again.change.decisions == fresh.change.decisions
        assert (again.run.id, again.run.owner, again.run.reason) == (fresh.run.id, fresh.run.owner, fresh.run.reason)
        assert again.gauges == fresh.gauges
        assert again.run.params["epsilon"] == params.epsilon
    assert service.plan(replace(PARAMS, epsilon=0.21)).lines is first.lines
    assert first.run.params["epsilon"] == 0.2
    service.rename(people(service)[0], "Anna")
    assert service.plan(replace(PARAMS, epsilon=0.2)).lines is not first.lines


def test_why_faces_were_moved_is_counted_and_stays_in_the_run(service):
    plan = service.plan(replace(PARAMS, min_cluster_size=2))
    gauges = plan.gauges
    n_moved = sum(gauges[kind] for kind in ("attached", "taken_out", "split_off", "moved", "in_new_people"))
    assert n_moved == len(plan.run.reason) > 0
    assert refine_words(gauges)
    service.publish(plan)
    assert service.view().snapshot.run.reason == plan.run.reason
    alone = service.plan(replace(PARAMS, refine=False))
    assert not alone.run.reason
    assert refine_words(alone.gauges) == ""
    assert alone.gauges["kept_together"] == 1.0


def test_a_not_person_reaches_the_second_layer(service):
    anna = people(service)[0]
    face = faces_of(service, anna)[0]
    service.confirm(anna, faces_of(service, anna)[1:])
    service.reject([face], anna)
    label = service.plan(PARAMS).label
    rows = [service.view().row(one) for one in faces_of(service, anna)]
    assert label[service.view().row(face)] not in {int(label[row]) for row in rows if label[row] >= 0}


def test_gauges_count_what_clusters_contradict(service):
    service.publish(service.plan(replace(PARAMS, refine=False)))
    anna, bert = people(service)[:2]
    service.move(faces_of(service, anna)[:1], bert)
    for person in (anna, bert):
        service.confirm(person)
    gauges = service.plan(replace(PARAMS, refine=False)).gauges
    assert gauges["contradicted_pins"] == 1
    assert gauges["faces"] == 60
    assert gauges["people"] == len(people(service))
    assert gauges["names_at_risk"] == 0
    assert gauges["churn"] == 0


def test_find_by_a_face_and_by_a_person(service):
    anna = people(service)[0]
    row = service.view().row(faces_of(service, anna)[0])
    face, own = service.view().faces.ids[row], set(faces_of(service, anna))
    found = [one.face for one in service.find(Asked(face=face, most=3)).faces]
    assert face not in found
    assert set(found) >= own - {face}
    assert not {one.face for one in service.find(Asked(person=anna)).faces} & own


def test_a_person_without_faces_has_nothing_to_search_by(service):
    person = people(service)[0]
    service.rename(person, "Anna")
    service.mark(faces_of(service, person), "ignored")
    assert [card.id for card in service.view().without_faces] == [person]
    with pytest.raises(InputError, match="no faces at present"):
        service.find(Asked(person=person))


def test_the_view_stays_the_same_object_until_something_changes(service):
    view = service.view()
    assert service.view() is view
    service.rename(people(service)[0], "Anna")
    assert service.view() is not view
    assert service.view().faces is view.faces


def test_users_of_one_library_never_see_each_other(service, tmp_path):
    stranger = small_library.open_library(tmp_path / "library", user="somebody else")
    assert len(stranger.view().faces) == 0
    assert stranger.view().cards == ()
