"""The hosted pair as a whole: faces in an index, people in a project, and what other programs do with it."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pinecone
import pytest
import small_library
from contracts import builders
from servers.pinecone_server import PineconeServer
from servers.postgres_server import shared_postgres
from servers.rest_server import RestServer

from facecluster import people_view
from facecluster.config import load_settings
from facecluster.errors import InputError, StaleWriteError
from facecluster.wiring import open_service

USER = "issuer|anna"
PICTURE = "https://res.cloudinary.com/demo/image/upload/"


@pytest.fixture(scope="module")
def database():
    return shared_postgres().database()


@pytest.fixture
def index():
    """An index with the faces of the small library, as another program wrote them."""
    with PineconeServer(dimension=16) as server:
        columns = small_library.faces()
        metadata = [
            {"url": url, "folder": folder, "blur_score": float(blur), "face_crop": f"{PICTURE}{i}.jpg" if i % 3 else ""}
            for i, (url, folder, blur) in enumerate(
                zip(columns["url"].tolist(), columns["folder"].tolist(), columns["blur_score"].tolist(), strict=True)
            )
        ]
        server.put(columns["ids"].tolist(), columns["vectors"], metadata)
        yield server


@pytest.fixture
def rest(database):
    with RestServer(database) as server:
        yield server


@pytest.fixture
def user():
    return f"{USER} {random.random()}"  # noqa: S311  (nobody else's on this database)


@pytest.fixture
def settings(index, rest, user, tmp_path, monkeypatch):
    """The settings of an installation, in the environment as other programs have them."""
    given = {
        "FACECLUSTER_LIBRARY": str(tmp_path / "library"), "FACECLUSTER_USER": user, "PINECONE_API_KEY": index.api_key,
        "PINECONE_HOST": index.url, "SUPABASE_URL": rest.url, "SUPABASE_SERVICE_KEY": rest.service_key,
        "CLUSTER_MIN_SAMPLES": "2", "CLUSTER_EPSILON": "0",
    }  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    people_view._opened.cache_clear()
    with builders.clients_closed():
        yield load_settings()


def call(entry_point, *arguments):
    return asyncio.run(entry_point(*arguments))


def test_the_five_entry_points_run_on_the_hosted_pair(settings, index, user):
    with pinecone.Pinecone(api_key=index.api_key, host=index.url) as client:
        done = call(people_view.run_clustering, client, user)
        n = len(index.records())
        assert done["status"] == "ok"
        assert done["total_vectors"] == n - 2, "two are too blurred"
        people = call(people_view.get_people, user)
        assert len(people) == done["clusters_found"] > 2
        assert people == sorted(people, key=lambda one: (-one["face_count"], one["cluster_id"]))
        assert sum(one["face_count"] for one in people) + done["noise_vectors"] == n - 2
        first = people[0]["cluster_id"]

        images = call(people_view.get_person_images, first, user)
        assert {image["url"] for image in images} <= {record.metadata["url"] for record in index.records().values()}
        assert any(image["face_crop"].startswith(PICTURE) for image in images)

        assert call(people_view.rename_cluster, first, "Anna", user) is True
        assert call(people_view.rename_cluster, "nobody", "Anna", user) is False
        assert call(people_view.get_people, user)[0]["name"] == "Anna"

        service = open_service(settings)
        face = service.view().faces_of(first)[0].id
        hit = {"https://elsewhere.example/x.jpg": {"vector_id": face, "fused_score": 0.8}}
        found = call(people_view.search_cluster_aware, client, hit, user)
        assert set(found) == {*hit, *(image["url"] for image in images)}

        again = call(people_view.run_clustering, client, user)
        assert again == done
        assert call(people_view.get_people, user)[0]["name"] == "Anna"


def test_faces_that_come_and_go_in_the_index_are_followed_and_the_name_stays(settings, index, user):
    call(people_view.run_clustering, None, user)
    first = call(people_view.get_people, user)[0]["cluster_id"]
    call(people_view.rename_cluster, first, "Anna", user)
    service = open_service(settings)
    mine = [card.id for card in service.view().faces_of(first)]
    index.put(["a-new-face"], service.view().centre(first)[None, :], [{"url": "https://photos.example/new.jpg"}])
    with pinecone.Pinecone(api_key=index.api_key, host=index.url) as client, client.index(host=index.url) as door:
        door.delete(ids=[mine[-1]])
    call(people_view.run_clustering, None, user)
    now = open_service(settings).view()
    assert now.owner("a-new-face") == first
    assert mine[-1] not in now.faces.row
    assert now.person(first).name == "Anna"
    assert now.snapshot.run.params["source"] == {"read": len(now.faces), "there": len(now.faces), "complete": True}


def test_another_machine_finds_everything(settings, user, tmp_path, monkeypatch):
    call(people_view.run_clustering, None, user)
    first = call(people_view.get_people, user)[0]["cluster_id"]
    call(people_view.rename_cluster, first, "Anna", user)
    here = call(people_view.get_people, user)
    monkeypatch.setenv("FACECLUSTER_LIBRARY", str(tmp_path / "another machine"))
    assert call(people_view.get_people, user) == here


def test_an_erased_person_is_gone_from_index_and_project(settings, index, database, user):
    call(people_view.run_clustering, None, user)
    service = open_service(settings)
    person = service.view().people()[0].id
    service.rename(person, "Somebody To Forget")
    faces = service.view().everything_of(person)[0]
    with pytest.raises(StaleWriteError, match=f"asked about {len(faces) + 1}.*Nothing was erased"):
        service.erase(person, len(faces) + 1)
    assert set(faces) <= index.records().keys()
    service.erase(person, len(faces))
    assert not set(faces) & index.records().keys()
    assert not set(faces) & service.view().faces.row.keys()
    everything = rows_of(database, user)
    assert "Erased a person" in everything
    assert "Somebody To Forget" not in everything
    assert not [face for face in faces if face in everything]


def test_the_old_tables_show_what_the_program_shows_after_anything_a_curator_does(settings, database, user):
    """`fc_owned` is `owners` of row_state.py written a second time, in SQL: they may never differ."""
    call(people_view.run_clustering, None, user)
    service = open_service(settings)
    rng = random.Random(3)  # noqa: S311
    for step in range(60):
        act(service, rng, step)
        view = service.view()
        shown = {face: view.owner(face) for face in view.faces.ids if view.owner(face) is not None}
        cards = {card.id: (card.name or None, card.n_faces) for card in view.people()}
        with database.connect() as db:
            as_user(db, user)
            rows = dict(db.execute("select vector_id, cluster_id from face_vector_clusters").fetchall())
            people = db.execute(
                "select cluster_id, name, face_count, representative_vector_id from face_clusters"
            ).fetchall()
        assert rows == shown, step
        assert {p: (name, n) for p, name, n, _ in people} == cards, step
        assert all(rows[face] == p for p, _, _, face in people)


def act(service, rng, step):
    view = service.view()
    people = [card.id for card in view.cards]
    faces = [rng.choice(view.faces.ids) for _ in range(rng.randint(1, 4))]
    one, other = rng.choice(people), rng.choice(people)
    deeds = [
        lambda: service.rename(one, rng.choice(["Anna", "Bert", ""]), confirm=rng.random() < 0.3),
        lambda: service.move(faces, one),
        lambda: service.new_person(faces, "New"),
        lambda: service.reject(faces, view.owner(faces[0]) or one),
        lambda: service.mark(faces, rng.choice(["ignored", "not_a_face", None])),
        lambda: service.merge(one, [other]) if one != other else None,
        lambda: service.hide([one], rng.random() < 0.5),
        lambda: service.set_cover(one, view.faces_of(one)[-1].id) if len(view.rows(one)) else None,
        lambda: undone(service, rng),
        lambda: service.publish(service.plan(small_library.PARAMS)),
    ]
    rng.choice(deeds)()
    if step % 20 == 19 and one in service.view().number:
        service.erase(one, len(service.view().everything_of(one)[0]))


def undone(service, rng):
    with contextlib.suppress(StaleWriteError, InputError):  # said anew since, or erased
        service.undo(max(1, service.view().snapshot.revision - rng.randint(0, 4)))


def as_user(db, user):
    db.execute("select set_config('request.jwt.claims', json_build_object('sub', %s::text)::text, false)", (user,))


def rows_of(database, user):
    """Every row that the project keeps of a user, as text."""
    with database.connect() as db:
        as_user(db, user)
        tables = db.execute("select relname from pg_class where relname like 'fc\\_%' and relkind = 'r'").fetchall()
        found = [db.execute(f"select t::text from {name} t").fetchall() for (name,) in tables]  # noqa: S608
    assert len(found) == 8
    return "\n".join(row for rows in found for (row,) in rows)
