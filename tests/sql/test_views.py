"""What other programs read, against what the dashboard makes of the same facts: whose each face is, who is shown."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from people_sql import StagedRun, apply, ask, said, session, stage
from servers.postgres_server import Database

from facecluster.decisions import resolve
from facecluster.model import FaceId, PeopleSnapshot, PersonId, Run
from facecluster.row_state import owners

Facts = dict[tuple[str, str, str], str]

PEOPLE = [f"p{i:05d}" for i in range(3)]
FACES = [f"f{i:07d}" for i in range(12)]
LATER = ["g1", "g2"]  # came after the run

WORDS = st.one_of(
    st.tuples(st.just("name"), st.sampled_from(PEOPLE), st.just(""), st.sampled_from([None, "Änne", "Bert"])),
    st.tuples(st.just("hidden"), st.sampled_from(PEOPLE), st.just(""), st.sampled_from([None, "1"])),
    st.tuples(st.just("cover"), st.sampled_from(PEOPLE), st.just(""), st.sampled_from([None, *FACES[:6]])),
    st.tuples(st.just("merged_into"), st.sampled_from(PEOPLE), st.just(""), st.sampled_from([None, *PEOPLE])),
    st.tuples(st.just("pin"), st.sampled_from(FACES[:6] + LATER), st.just(""), st.sampled_from([None, *PEOPLE])),
    st.tuples(st.just("mark"), st.sampled_from(FACES[:6] + LATER), st.just(""), st.sampled_from([None, "ignored"])),
    st.tuples(st.just("not_person"), st.sampled_from(FACES[:6]), st.sampled_from(PEOPLE), st.sampled_from([None, "1"])),
    st.tuples(st.just("person"), st.sampled_from(PEOPLE), st.just(""), st.sampled_from([None, "1"])),
)


@pytest.fixture(scope="module")
def library(server) -> Iterator[Database]:
    database = server.database()
    yield database
    database.drop()


def can_be_said(facts: Facts, key: tuple[str, str, str], value: str | None) -> bool:
    """As the dashboard allows it: no circles, and nothing about people that there are not."""
    kind, subject, _ = key
    if kind == "person" and value is None:
        return not any(subject in (s, o, v) for (k, s, o), v in facts.items() if k != "person")
    into = value if kind == "merged_into" else None
    while into is not None and into != subject:
        into = facts.get(("merged_into", into, ""))
    if into == subject:
        return False
    about = {*key[1:], value} & set(PEOPLE)
    return kind == "person" or all(("person", person, "") in facts for person in about)


def snapshot_of(facts: Facts, run: StagedRun) -> PeopleSnapshot:
    shown = Run(
        run.id,
        {},
        "",
        tuple(map(FaceId, run.faces)),
        tuple(PersonId(o) if o else None for o in run.owners),
        np.zeros(len(run.faces), np.int32),
        np.ones(len(run.faces), np.float32),
    )
    return PeopleSnapshot(1, facts, shown)  # type: ignore[arg-type]


def expected_cards(snapshot: PeopleSnapshot, owned: dict[str, str], covers: dict[str, str]) -> set[tuple[object, ...]]:
    """Person, name, number of faces and the face that stands for them."""
    cards = set()
    for person, n in Counter(owned.values()).items():
        said_of = snapshot.people[PersonId(person)]
        theirs = sorted(face for face, owner in owned.items() if owner == person)
        wishes = [face for face in (said_of.cover, covers.get(person)) if face in theirs]
        if not said_of.is_hidden:
            cards.add((person, said_of.name or None, n, [*wishes, theirs[0]][0]))
    return cards


@example([[("cover", PEOPLE[0], "", FACES[3])]])
@example([[("not_person", FACES[0], PEOPLE[0], "1"), ("merged_into", PEOPLE[0], "", PEOPLE[1])]])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(WORDS, min_size=1, max_size=6), max_size=8))
def test_the_views_show_what_the_dashboard_shows(library, steps):
    user = str(uuid.uuid4())
    run = StagedRun("run", len(FACES), len(PEOPLE))
    run.head["covers"] = covers = {PEOPLE[0]: FACES[6], PEOPLE[1]: FACES[1]}
    stage(library, user, run)
    ask(library, user, "fc_apply", p=run.publishing(0))
    facts: Facts = {("person", p, ""): "1" for p in PEOPLE} | {("live_run", "", ""): run.id}
    for revision, step in enumerate(steps, start=1):
        decisions = []
        for kind, subject, about, value in step:
            if can_be_said(facts, (kind, subject, about), value):
                decisions.append(said(kind, subject, value, facts.pop((kind, subject, about), None), about))
                facts |= {} if value is None else {(kind, subject, about): value}
        apply(library, user, revision, *decisions)
    snapshot = snapshot_of(facts, run)
    faces = [FaceId(face) for face in FACES + LATER]
    owned = {f: o for f, o in zip(faces, owners(snapshot, faces), strict=True) if o is not None}
    with session(library, user) as db:
        assert dict(db.execute("select vector_id, cluster_id from face_vector_clusters").fetchall()) == owned
        cards = db.execute(
            "select cluster_id, name, face_count, representative_vector_id from face_clusters"
        ).fetchall()
        assert set(cards) == expected_cards(snapshot, owned, covers)
        survivors = dict(db.execute("select cluster_id, survivor from fc_people where is_there").fetchall())
    assert survivors == {person: resolve(snapshot, person) for person in snapshot.people}
