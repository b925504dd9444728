"""The laws of reconcile, each for random clusters, owners and facts, and the cases that a curator meets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from facecluster import decisions
from facecluster.clustering import NOISE
from facecluster.decisions import Draft, resolve
from facecluster.model import BLURRED, FaceId, FaceSet, PeopleSnapshot, Question
from facecluster.reconcile import reconcile
from facecluster.row_state import live_labels, owners, row_state

LAW = settings(max_examples=100, deadline=None)

# --- a small world ---------------------------------------------------------------------------------------------------


def face_set(n):
    ids = tuple(FaceId(f"f{i:03d}") for i in range(n))
    nothing = ("",) * n
    unknown = np.full(n, np.nan, np.float32)
    vectors = np.tile(np.array([1, 0], np.float32), (n, 1))
    return FaceSet(ids, vectors, nothing, nothing, nothing, nothing, unknown, np.full((n, 4), np.nan, np.float32), "-")


def told(snapshot, draft, run=None):
    """The snapshot after a draft was applied, as the store folds it."""
    facts = dict(snapshot.facts)
    for decision in draft.decisions if isinstance(draft, Draft) else draft:
        assert facts.get(decision.key) == decision.before
        facts[decision.key] = decision.value
    facts = {key: value for key, value in facts.items() if value is not None}
    return PeopleSnapshot(snapshot.revision + 1, facts, run or snapshot.run)


def plan_for(faces, label, snapshot):
    strength = np.zeros(len(faces), np.float32)
    return reconcile(faces, np.array(label, np.int32), strength, snapshot, row_state(snapshot, faces), {"epsilon": 0.3})


def publish(faces, label, snapshot):
    plan = plan_for(faces, label, snapshot)
    return told(snapshot, plan.change.decisions, plan.run)


def owner_list(plan):
    return [plan.people[p] if p >= 0 else None for p in plan.after.tolist()]


def faces_of(snapshot, faces, person):
    return [face for face, owner in zip(faces.ids, owners(snapshot, faces.ids), strict=True) if owner == person]


def anchors(snapshot, faces, person):
    """One face of each live cluster, confirmed ones first: what Service pins when it merges."""
    label = live_labels(snapshot, faces)
    mine = sorted(faces_of(snapshot, faces, person), key=lambda face: ("pin", face, "") not in snapshot.facts)
    return list({int(label[faces.row[face]]): face for face in reversed(mine)}.values())[::-1]


def merged(snapshot, faces, into, other):
    draft = Draft(snapshot)
    decisions.merge(draft, into, other, anchors(snapshot, faces, into) + anchors(snapshot, faces, other))
    return told(snapshot, draft)


def answered(snapshot, faces, question, is_yes):
    """What Service.answer says."""
    draft = Draft(snapshot)
    if question.kind == "keep":
        label = live_labels(snapshot, faces)
        mine = faces_of(snapshot, faces, question.person)
        fallen = [f for f in mine if label[faces.row[f]] in (NOISE, BLURRED) and ("pin", f, "") not in snapshot.facts]
        if is_yes:
            decisions.confirm(draft, question.person, fallen)
        else:
            decisions.reject(draft, fallen, question.person)
    elif is_yes:
        both = sorted((question.person, question.other), key=lambda person: ("name", person, "") not in snapshot.facts)
        return merged(snapshot, faces, *both)
    else:
        a, b = (anchors(snapshot, faces, person)[0] for person in (question.person, question.other))
        decisions.tell_apart(draft, question.person, a, question.other, b)
    return told(snapshot, draft)


def say(snapshot, faces, what, i, j, k):
    """One fact, chosen by three numbers; nothing where there is nobody to speak of."""
    state = row_state(snapshot, faces)
    asked = state.questions + state.keeps
    if what == "answer":
        return answered(snapshot, faces, asked[i % len(asked)], j % 2 == 0) if asked else snapshot
    chosen = [faces.ids[at % len(faces)] for at in (j, j + k)] if len(faces) else []
    draft = Draft(snapshot)
    owner = dict(zip(faces.ids, owners(snapshot, faces.ids), strict=True))
    person = state.people[i % len(state.people)] if state.people else None
    if what == "merge" and len(state.people) > 1:
        return merged(snapshot, faces, person, state.people[(i + 1 + j % (len(state.people) - 1)) % len(state.people)])
    if chosen:
        say_of_faces(draft, what, chosen, owner, k)
    if person is not None:
        say_of_a_person(draft, what, person, owner, (chosen, j, k))
    return told(snapshot, draft)


def say_of_faces(draft, what, chosen, owner, k):
    if what == "mark":
        decisions.mark(draft, chosen, ("ignored", "not_a_face", None)[k % 3])
    elif what == "link":
        decisions.link(draft, chosen[0], chosen[-1], "different")
    elif what == "new person":
        decisions.move(draft, {face: owner[face] for face in chosen}, decisions.new_person(draft, min(chosen)))


def say_of_a_person(draft, what, person, owner, how):
    chosen, j, k = how
    mine = [face for face, who in owner.items() if who == person]
    if what == "name":
        decisions.rename(draft, person, ("Anna", "Bert", "Cleo", "")[j % 4])
    elif what == "confirm":
        decisions.confirm(draft, person, mine[: 1 + k])
    elif what == "reject":
        decisions.reject(draft, mine[: 1 + k] if j % 2 else chosen, person)
    elif what == "move":
        decisions.move(draft, {face: owner[face] for face in chosen}, person)
    elif what == "hide":
        draft.set("hidden", person, "1")


SAID = ("name", "name", "confirm", "reject", "move", "merge", "mark", "new person", "link", "hide", "answer", "answer")
numbers = st.integers(0, 99)
clusters = st.sampled_from([0, 1, 2, 3, 4, NOISE])
# Where a person's faces go: most to one cluster, a share in tenths of them to another.
ways = st.lists(st.tuples(clusters, clusters, st.integers(0, 6)), min_size=6, max_size=6)
strays = st.lists(st.tuples(numbers, st.sampled_from([0, 1, 2, NOISE, BLURRED])), max_size=6)
re_clusterings = st.tuples(ways, strays)
facts = st.lists(st.tuples(st.sampled_from(SAID), numbers, numbers, st.integers(0, 3)), max_size=8)


def re_clustered(snapshot, faces, way, stray):
    label = np.full(len(faces), NOISE, np.int32)
    owner = owners(snapshot, faces.ids)
    people = sorted({p for p in owner if p is not None})
    for i, person in enumerate([*people, None]):
        rows = np.flatnonzero([o == person for o in owner])
        most, other, tenths = way[i % len(way)]
        label[rows] = most
        label[rows[: len(rows) * tenths // 10]] = other
    for at, to in stray:
        if len(faces):
            label[at % len(faces)] = to
    label[row_state(snapshot, faces).is_masked] = NOISE
    return label


@st.composite
def worlds(draw, said=facts):
    """Faces, what was published and said of them, and new clusters."""
    sizes = draw(st.lists(st.integers(1, 14), max_size=6).filter(lambda s: sum(s) <= 60))
    faces = face_set(sum(sizes))
    snapshot = publish(faces, np.repeat(np.arange(len(sizes)), sizes), PeopleSnapshot(0, {}, None))
    for told_now, again in draw(st.lists(st.tuples(said, re_clusterings), max_size=3)):
        for fact in told_now:
            snapshot = say(snapshot, faces, *fact)
        snapshot = publish(faces, re_clustered(snapshot, faces, *again), snapshot)
    for fact in draw(said):
        snapshot = say(snapshot, faces, *fact)
    return faces, snapshot, re_clustered(snapshot, faces, *draw(re_clusterings))


# --- the laws --------------------------------------------------------------------------------------------------------


@LAW
@given(worlds())
def test_a_name_is_never_lost(world):
    faces, snapshot, label = world
    plan = plan_for(faces, label, snapshot)
    after = told(snapshot, plan.change.decisions, plan.run)
    before, now = set(owners(snapshot, faces.ids)), set(owners(after, faces.ids))
    listed = {*plan.names_at_risk, *(p for q in plan.questions for p in (q.person, q.other))}
    for person in snapshot.people.values():
        if person.name:
            assert after.people[person.id].name == person.name
            assert person.id in now or person.id not in before or person.id in listed


@LAW
@given(worlds())
def test_a_pinned_face_never_moves_by_itself(world):
    faces, snapshot, label = world
    owner = owner_list(plan_for(faces, label, snapshot))
    for (kind, face, _), value in snapshot.facts.items():
        if kind == "pin":
            assert owner[faces.row[face]] == resolve(snapshot, value)


@LAW
@given(worlds())
def test_a_not_person_is_never_violated(world):
    faces, snapshot, label = world
    owner = owner_list(plan_for(faces, label, snapshot))
    for kind, face, person in snapshot.facts:
        if kind == "not_person":
            assert owner[faces.row[face]] != resolve(snapshot, person)


@LAW
@given(worlds())
def test_a_face_set_aside_is_nobodys(world):
    faces, snapshot, label = world
    owner = owner_list(plan_for(faces, label, snapshot))
    assert not any(owner[faces.row[face]] for kind, face, _ in snapshot.facts if kind == "mark")


@LAW
@given(worlds(), st.randoms(use_true_random=False))
def test_the_same_input_gives_the_same_plan_in_whatever_order_facts_are_read(world, random):
    faces, snapshot, label = world
    items = list(snapshot.facts.items())
    random.shuffle(items)
    plan = plan_for(faces, label, snapshot)
    again = plan_for(faces, label, PeopleSnapshot(snapshot.revision, dict(items), snapshot.run))
    assert again.change.decisions == plan.change.decisions
    assert again.run.id == plan.run.id
    assert again.questions == plan.questions
    assert again.names_at_risk == plan.names_at_risk
    assert [(line.kind, line.person, line.others) for line in again.lines] == [
        (line.kind, line.person, line.others) for line in plan.lines
    ]


@settings(max_examples=250, deadline=None)
@given(worlds())
def test_right_after_publishing_the_plan_is_empty_and_its_questions_are_the_published_ones(world):
    faces, snapshot, label = world
    plan = plan_for(faces, label, snapshot)
    after = told(snapshot, plan.change.decisions, plan.run)
    assert owners(after, faces.ids) == owner_list(plan)
    again = plan_for(faces, label, after)
    assert again.is_empty
    assert again.questions == plan.questions
    assert again.names_at_risk == plan.names_at_risk
    assert again.change.decisions == ()
    assert not [line for line in again.lines if line.kind not in ("kept", "new")]


@LAW
@given(worlds(said=st.just([])))
def test_people_of_whom_nothing_was_said_never_cause_a_question(world):
    faces, snapshot, label = world
    plan = plan_for(faces, label, snapshot)
    assert plan.questions == ()
    assert plan.names_at_risk == ()


@LAW
@given(worlds())
def test_a_person_who_splits_keeps_id_and_name_on_the_larger_part(world):
    faces, snapshot, label = world
    state = row_state(snapshot, faces)
    plan = plan_for(faces, label, snapshot)
    for p in np.flatnonzero(state.is_protected):
        parts = np.bincount(label[(state.owner == p) & (label >= 0)], minlength=1)
        if (state.pin == p).any() or not parts.any():
            continue  # pins may hold a smaller part as well, and draw new faces to it
        home = parts.argmax()
        assert (plan.after[(state.owner == p) & (label == home)] == p).all()


@LAW
@given(worlds())
def test_people_who_meet_in_one_cluster_keep_their_own_faces_and_are_asked_about(world):
    faces, snapshot, label = world
    state = row_state(snapshot, faces)
    plan = plan_for(faces, label, snapshot)
    unpinned = [p for p in np.flatnonzero(state.is_protected) if not (state.pin == p).any()]
    homes = {}
    for p in unpinned:
        parts = np.bincount(label[(state.owner == p) & (label >= 0)], minlength=1)
        if parts.any():
            homes.setdefault(int(parts.argmax()), []).append(p)
    number = {person: i for i, person in enumerate(plan.people)}
    asked = {p for q in plan.questions for p in (number[q.person], number.get(q.other))}
    for cluster, people in homes.items():
        for p in people if len(people) > 1 else []:
            assert (plan.after[(state.owner == p) & (label == cluster)] == p).all()
            assert p in asked or all((min(p, q), max(p, q)) in state.apart for q in people if q != p)


@LAW
@given(worlds())
def test_new_ids_never_collide_with_old_ones(world):
    faces, snapshot, label = world
    plan = plan_for(faces, label, snapshot)
    assert len(set(plan.people)) == len(plan.people)
    made = set(plan.people) - set(row_state(snapshot, faces).people)
    assert made.isdisjoint(snapshot.people)
    assert all(decision.before is None for decision in plan.change.decisions if decision.subject in made)


@LAW
@given(worlds())
def test_the_lines_of_a_plan_add_up(world):
    faces, snapshot, label = world
    plan = plan_for(faces, label, snapshot)
    for line in plan.lines:
        p = plan.people.index(line.person)
        assert (line.before, line.after) == ((plan.before == p).sum(), (plan.after == p).sum())
        assert line.after - line.before == len(line.gained) - len(line.lost)
        assert (line.kind == "new") == (line.before == 0)
        assert (line.after == 0) == (line.kind in ("merged", "vanishing"))
    assert sum(plan.counts().values()) == len(plan.lines)


# --- what a curator meets --------------------------------------------------------------------------------------------


class Album:
    """Faces f000, f001, … published in clusters as the string says: "aaabbb--", "-" for noise, "." for blurred."""

    def __init__(self, clusters, **names):
        self.faces = face_set(len(clusters))
        self.now = PeopleSnapshot(0, {}, None)
        self.publish(clusters)
        self.at = {}
        for name, cluster in names.items():
            self.at[name] = owners(self.now, self.faces.ids)[clusters.index(cluster)]
            self.tell(decisions.rename, self.at[name], name)

    def label(self, clusters):
        signs = {"-": NOISE, ".": BLURRED}
        return np.array([signs.get(c, ord(c) - ord("a")) for c in clusters], np.int32)

    def plan(self, clusters):
        return plan_for(self.faces, self.label(clusters), self.now)

    def publish(self, clusters):
        self.now = publish(self.faces, self.label(clusters), self.now)

    def tell(self, what, *args):
        draft = Draft(self.now)
        what(draft, *args)
        self.now = told(self.now, draft)

    def answer(self, question, is_yes):
        self.now = answered(self.now, self.faces, question, is_yes)

    def after(self, plan):
        """Who has which face: the first letter of the name, "?" for unnamed people, "-" for nobody."""
        names = {person.id: person.name for person in self.now.people.values()}
        return "".join("-" if p is None else (names.get(p) or "?")[0] for p in owner_list(plan))

    @property
    def asked(self):
        state = row_state(self.now, self.faces)
        return state.questions + state.keeps

    def ids(self, *rows):
        return [self.faces.ids[row] for row in rows]


def test_a_sure_match_keeps_its_person_whatever_the_cluster_number():
    album = Album("aaaaabbb", Anna="a", Bert="b")
    plan = album.plan("bbbbbaaa")
    assert album.after(plan) == "AAAAABBB"
    assert plan.is_empty
    assert plan.counts()["kept"] == 2


def test_an_heir_gets_the_new_faces_of_the_cluster():
    album = Album("aaaa---", Anna="a")
    plan = album.plan("aaaaaa-")
    assert album.after(plan) == "AAAAAA-"
    assert plan.questions == ()


def test_a_tenth_of_a_person_that_leaves_becomes_an_unnamed_person_with_a_question():
    album = Album("a" * 20, Anna="a")
    plan = album.plan("a" * 18 + "bb")
    assert album.after(plan) == "A" * 18 + "??"
    (question,) = plan.questions
    assert (question.kind, question.person, question.n_faces) == ("same", album.at["Anna"], 2)
    assert plan.counts()["split"] == 1


def test_less_than_a_tenth_of_a_person_goes_with_its_cluster_and_nobody_is_asked():
    album = Album("a" * 21 + "bbbb", Anna="a", Bert="b")
    plan = album.plan("a" * 19 + "bb" + "bbbb")
    assert album.after(plan) == "A" * 19 + "BB" + "BBBB"
    assert plan.questions == ()


def test_a_part_that_moves_in_with_somebody_becomes_a_person_of_its_own():
    album = Album("a" * 10 + "b" * 6, Anna="a", Bert="b")
    plan = album.plan("a" * 7 + "bbb" + "b" * 6)
    assert album.after(plan) == "A" * 7 + "???" + "B" * 6
    assert len(plan.questions) == 2  # is the part Anna, is it Bert
    assert all(question.n_faces == 3 for question in plan.questions)


def test_people_who_meet_keep_their_faces_and_the_surely_matched_one_gets_the_rest():
    album = Album("aaaaaabb--", Anna="a", Bert="b")
    plan = album.plan("aaaaaaaaaa")
    assert album.after(plan) == "AAAAAABBAA"
    assert set(plan.names_at_risk) == {album.at["Anna"], album.at["Bert"]}
    (question,) = plan.questions
    assert {question.person, question.other} == set(plan.names_at_risk)


def test_people_who_meet_without_a_sure_match_leave_the_rest_to_a_new_person():
    album = Album("aaabbb--", Anna="a", Bert="b")
    plan = album.plan("aaaaaaaa")
    assert album.after(plan) == "AAABBB??"
    assert len(plan.questions) == 2
    assert set(plan.names_at_risk) == {album.at["Anna"], album.at["Bert"]}


def test_a_minority_keeps_its_name_however_small_it_is():
    album = Album("a" * 30 + "b", Anna="a", Bert="b")
    plan = album.plan("a" * 31)
    assert album.after(plan) == "A" * 30 + "B"
    assert album.at["Bert"] in plan.names_at_risk


def test_unnamed_people_are_merged_without_a_question():
    album = Album("aaaabb")
    plan = album.plan("aaaaaa")
    assert album.after(plan) == "??????"
    assert len(set(owner_list(plan))) == 1
    assert plan.questions == ()
    assert plan.counts()["merged"] == 1


@pytest.mark.parametrize("outside", ["-", "."])
def test_faces_that_no_cluster_holds_any_more_stay_until_somebody_answers(outside):
    album = Album("aaaabbb", Anna="a")
    plan = album.plan(outside * 4 + "bbb")
    assert album.after(plan) == "AAAA???"
    assert plan.questions == (Question("keep", album.at["Anna"], None, 4),)
    assert plan.names_at_risk == (album.at["Anna"],)


def test_yes_to_the_loose_question_pins_the_faces_and_no_sets_them_free():
    for is_yes, then in ((True, "AAAA???"), (False, "----???")):
        album = Album("aaaabbb", Anna="a")
        album.publish("----bbb")
        (question,) = album.asked
        album.answer(question, is_yes)
        assert album.asked == ()
        plan = album.plan("----bbb")
        assert album.after(plan) == then
        assert plan.questions == ()
        assert album.now.people[album.at["Anna"]].name == "Anna"


def test_a_loose_question_that_is_open_keeps_its_faces_also_when_the_person_grows():
    album = Album("aaaaaaa-----", Anna="a")
    album.publish("aaa----aaaaa")  # four of seven are loose; five more came to the other three
    assert album.after(album.plan("aaa----aaaaa")) == "AAAAAAAAAAAA"
    assert [question.kind for question in album.asked] == ["keep"]


def test_half_of_a_person_may_fall_out_without_a_question():
    album = Album("aaaa", Anna="a")
    plan = album.plan("aa--")
    assert album.after(plan) == "AA--"
    assert plan.questions == ()


def test_what_was_merged_stays_together_when_clusters_come_apart_again():
    album = Album("aaaabbbb", Anna="a")
    bert = owners(album.now, album.faces.ids)[4]
    album.tell(decisions.merge, album.at["Anna"], bert, album.ids(0, 4))
    for clusters in ("aaaaaaaa", "aaaabbbb", "bbbbaaaa"):
        plan = album.plan(clusters)
        assert album.after(plan) == "AAAAAAAA"
        assert plan.questions == ()
        album.publish(clusters)


def test_a_face_moved_by_hand_stays_and_nobody_is_asked():
    album = Album("aaaabbbb", Anna="a", Bert="b")
    album.tell(decisions.move, {album.faces.ids[0]: album.at["Anna"]}, album.at["Bert"])
    plan = album.plan("aaaabbbb")
    assert album.after(plan) == "BAAABBBB"
    assert plan.is_empty
    assert plan.questions == ()


def test_a_new_person_made_of_two_of_annas_faces_stays_and_nobody_is_asked():
    album = Album("aaaaaa", Anna="a")
    draft = Draft(album.now)
    made = decisions.new_person(draft, album.faces.ids[4])
    decisions.move(draft, dict.fromkeys(album.ids(4, 5), album.at["Anna"]), made)
    album.now = told(album.now, draft)
    plan = album.plan("aaaaaa")
    assert album.after(plan) == "AAAA??"
    assert plan.is_empty
    assert plan.questions == ()


def test_people_told_apart_are_never_asked_about_again():
    album = Album("aaaaabbb", Anna="a", Bert="b")
    album.publish("aaaaaaaa")
    (question,) = album.asked
    album.answer(question, False)
    assert album.asked == ()
    for clusters in ("aaaaaaaa", "aaaaabbb", "-aaaaaaa", "aaaaa-aa", "aaaabaaa"):
        assert not [q for q in album.plan(clusters).questions if {q.person, q.other} == set(album.at.values())]
        album.publish(clusters)


def test_one_answer_settles_a_question_between_people_who_were_merged_since():
    album = Album("aaaabbbb" + "cc", Anna="a", Bert="b", Cleo="c")
    album.publish("aaaaaaaa" + "aa")
    asked = {question.id for question in album.asked}
    assert len(asked) == 2
    album.answer(next(q for q in album.asked if album.at["Bert"] in (q.person, q.other)), True)
    (left,) = album.asked
    album.answer(left, True)
    assert album.asked == ()
    assert len({p for p in owners(album.now, album.faces.ids) if p}) == 1


def test_a_face_rejected_from_the_only_resident_of_its_cluster_stays_nobodys():
    album = Album("aaaa", Anna="a")
    album.tell(decisions.reject, album.ids(0), album.at["Anna"])
    plan = album.plan("aaaa")
    assert album.after(plan) == "-AAA"
    assert plan.is_empty


def test_a_face_rejected_from_one_resident_is_not_handed_to_whoever_gets_the_rest():
    album = Album("aaabbb--", Anna="a", Bert="b")
    album.tell(decisions.reject, album.ids(6), album.at["Anna"])
    assert album.after(album.plan("aaaaaaaa")) == "AAABBB-?"


def test_a_pinned_face_draws_the_unowned_faces_of_its_cluster():
    album = Album("aaaaa-----", Anna="a")
    album.tell(decisions.confirm, album.at["Anna"], album.ids(5))
    plan = album.plan("aaaaabbb--")
    assert album.after(plan) == "AAAAAAAA--"
    assert plan.questions == ()


def test_a_pinned_face_that_would_draw_more_than_its_person_has_leaves_a_question():
    album = Album("aaa------", Anna="a")
    album.tell(decisions.confirm, album.at["Anna"], album.ids(3))
    plan = album.plan("aaabbbbb-")
    assert album.after(plan) == "AAAA????-"
    (question,) = plan.questions
    assert album.at["Anna"] in (question.person, question.other)
    album.publish("aaabbbbb-")
    album.answer(question, True)
    assert album.after(album.plan("aaabbbbb-")) == "AAAAAAAA-"


def test_a_vanished_unnamed_person_is_removed_and_a_named_one_is_not():
    album = Album("aaabbb", Anna="a")
    unnamed = owners(album.now, album.faces.ids)[3]
    plan = album.plan("aaa---")
    assert [(d.subject, d.value) for d in plan.change.decisions if d.kind == "person"] == [(unnamed, None)]
    album.tell(decisions.mark, album.faces.ids, "ignored")
    album.publish("------")
    assert album.now.people[album.at["Anna"]].name == "Anna"


def test_ids_of_people_come_from_their_first_face_and_are_never_given_twice():
    taken = set()
    for _ in range(5):
        taken.add(decisions.person_id(FaceId("f"), taken))
    assert len(taken) == 5
    assert decisions.person_id(FaceId("g"), ()) == decisions.person_id(FaceId("g"), {"other"})


@pytest.mark.parametrize("clusters", ["", "a", "-", ".", "aa", "--"])
def test_the_smallest_libraries_have_plans_too(clusters):
    album = Album(clusters)
    plan = album.plan(clusters)
    assert plan.is_empty
    assert len(plan.run.faces) == len(clusters)


def test_a_run_that_knows_other_faces_than_the_library_is_no_obstacle():
    album = Album("aaaabbb", Anna="a")
    album.faces = face_set(5)  # two were removed
    assert album.after(album.plan("aaaab")) == "AAAA?"
    album.faces = face_set(9)  # four came
    assert album.after(album.plan("aaaabbbaa")) == "AAAA???AA"


@example(3000)
@settings(max_examples=1, deadline=None)
@given(st.just(3000))
def test_thousands_of_named_people_in_one_cluster_are_planned_in_a_moment(n):
    faces = face_set(n)
    snapshot = publish(faces, np.arange(n), PeopleSnapshot(0, {}, None))
    draft = Draft(snapshot)
    for person in snapshot.people:
        decisions.rename(draft, person, f"Person {person}")
    snapshot = told(snapshot, draft)
    plan = plan_for(faces, np.zeros(n, np.int32), snapshot)
    assert plan.is_empty
    assert len(plan.questions) == n - 1
    assert len(plan.names_at_risk) == n
