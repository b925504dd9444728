"""Every store there is, built for the one suite: a file, a local server, or a real project where one is named.

A *place* is where stores of one test are opened, as often as the test likes and for whom it likes; no two tests share
users. What a place needs and this machine does not have skips with its reason.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from servers.faults import Fault
from servers.lite_server import LiteServer
from servers.pinecone_server import PineconeServer
from servers.postgres_server import shared_postgres
from servers.rest_server import RestServer

from facecluster.config import Settings, load_settings
from facecluster.model import ChangeSet, UserId
from facecluster.ports import FaceStore, PeopleStore
from facecluster.stores.local import Database, user_folder
from facecluster.stores.local_faces import LocalFaceStore
from facecluster.stores.local_people import LocalPeopleStore

# Read before any test: a fixture takes them out of the environment of each one.
_GIVEN = {
    name: os.environ.get(name, "")
    for name in ("PINECONE_API_KEY", "PINECONE_HOST", "IDX_FACES_ARCFACE", "SUPABASE_URL", "SUPABASE_SERVICE_KEY")
}
_numbers = itertools.count(1)

_T = TypeVar("_T")

DIMENSION = 16


@dataclass
class PeoplePlace:
    """Where people are kept."""

    name: str
    open: Callable[[str], PeopleStore]  # of this user; each call is another process's store, as far as it can tell
    is_slow: bool = False
    lose_reply: Callable[[], None] = lambda: None  # the next change is written, and its answer never comes


@dataclass
class FacePlace:
    """Where faces are kept. `fresh`: by a machine that never saw them; None where there is no other machine."""

    name: str
    open: Callable[[str], FaceStore]
    fresh: Callable[[str], FaceStore] | None = None
    is_slow: bool = False
    dimension: int = DIMENSION


def sqlite_people(folder: Path) -> Iterator[PeoplePlace]:
    """A file of SQLite."""
    yield PeoplePlace("sqlite", lambda user: LocalPeopleStore(database_of(folder, user)))


def supabase_by_service_key(folder: Path) -> Iterator[PeoplePlace]:
    """Supabase's functions on a real Postgres behind our own REST server; one key that names each user."""
    yield _supabase_place("supabase, service key", folder, rest_server(), by_token=False)


def supabase_by_token(folder: Path) -> Iterator[PeoplePlace]:
    """The same, each user with a token of their own."""
    yield _supabase_place("supabase, tokens", folder, rest_server(), by_token=True)


def supabase_on_lite(folder: Path) -> Iterator[PeoplePlace]:
    """The same functions on PGlite behind a server that nobody here wrote."""
    place = _supabase_place("@supabase/lite", folder, lite_server(), by_token=False)
    place.is_slow = True
    yield place


def hosted_supabase(folder: Path) -> Iterator[PeoplePlace]:
    """The project in the environment; users of this run alone, whose people are erased at the end."""
    _require("SUPABASE_URL", "SUPABASE_SERVICE_KEY")
    settings = load_settings(
        library=folder, supabase_url=_GIVEN["SUPABASE_URL"], supabase_service_key=_GIVEN["SUPABASE_SERVICE_KEY"]
    )
    who, opened = _users("facecluster-test-" + uuid.uuid4().hex), set()

    def open_(user: str) -> PeopleStore:
        opened.add(user)
        return _supabase(settings, who(user), folder)

    yield PeoplePlace("hosted supabase", open_, is_slow=True)
    for user in opened:
        _erase_all(_supabase(settings, who(user), folder))


def _supabase_place(name: str, folder: Path, server: Any, *, by_token: bool) -> PeoplePlace:
    settings = load_settings(
        library=folder,
        supabase_url=server.url,
        supabase_service_key=server.service_key,
        supabase_publishable_key=server.publishable_key,
    )
    who = _users(f"test {next(_numbers)}")
    return PeoplePlace(
        name,
        lambda user: _supabase(settings, who(user), folder, server.token(who(user)) if by_token else ""),
        lose_reply=lambda: server.faults.add("/rest/v1/rpc/fc_apply", Fault.lost()),
    )


def _supabase(settings: Settings, user: UserId, folder: Path, token: str = "") -> PeopleStore:
    from facecluster.stores.supabase import open_people

    return open_people(settings, user, LocalFaceStore(database_of(folder, user)), token)


def _erase_all(store: PeopleStore) -> None:
    """What may be done with the store's own means: all ids go; an empty log of it stays."""
    now = store.read()
    faces = {face for record in store.runs() for face in store.run(record.id).faces}
    said = {
        text
        for kind, subject, obj in now.facts
        for text in (subject, obj)
        if kind not in ("live_run", "run_name") and text
    }
    store.apply(ChangeSet(now.revision, "test", "Erased a test", (), erased=tuple(sorted(said | faces))))


def local_faces(folder: Path) -> Iterator[FacePlace]:
    """Two flat files and SQLite."""
    yield FacePlace("local", lambda user: LocalFaceStore(database_of(folder, user)))


def pinecone_by_namespace(folder: Path) -> Iterator[FacePlace]:
    """The real client on our own index; a namespace for each user."""
    server = pinecone_server()
    yield _pinecone_place("pinecone, namespaces", folder, _local_index(server, f"test-{next(_numbers)}-{{user}}"))


def pinecone_by_field(folder: Path) -> Iterator[FacePlace]:
    """The same, all users in one namespace, told apart by a field."""
    server = pinecone_server()
    index = _local_index(server, f"shared-{next(_numbers)}") | {"pinecone_user_field": "owner"}
    yield _pinecone_place("pinecone, a field", folder, index)


def hosted_pinecone(folder: Path) -> Iterator[FacePlace]:
    """The index in the environment; namespaces of this run alone, deleted at the end."""
    from pinecone import Pinecone

    _require("PINECONE_API_KEY")
    given = {
        "pinecone_api_key": _GIVEN["PINECONE_API_KEY"],
        "pinecone_index": _GIVEN["IDX_FACES_ARCFACE"] or None,
        "pinecone_host": _GIVEN["PINECONE_HOST"] or None,
    }
    prefix = f"facecluster-test-{uuid.uuid4().hex}-"
    place = _pinecone_place("hosted pinecone", folder, given | {"pinecone_namespace": f"{prefix}{{user}}"})
    settings = load_settings(**given)
    client = Pinecone(_GIVEN["PINECONE_API_KEY"])
    index = (
        client.index(host=settings.pinecone_host) if settings.pinecone_host else client.index(settings.pinecone_index)
    )
    place.dimension, place.is_slow = int(index.describe_index_stats().dimension), True
    yield place
    for namespace in [found.name for page in index.list_namespaces(prefix=prefix) for found in page.namespaces]:
        index.delete_namespace(name=namespace)


def _local_index(server: Any, namespace: str) -> dict[str, Any]:
    return {"pinecone_api_key": server.api_key, "pinecone_host": server.url, "pinecone_namespace": namespace}


def _pinecone_place(name: str, folder: Path, index: dict[str, Any]) -> FacePlace:
    from facecluster.stores.pinecone import open_faces

    def open_(user: str, machine: str = "here") -> FaceStore:
        settings = load_settings(library=folder / machine, **index)
        return open_faces(settings, UserId(user), user_folder(folder / machine, UserId(user)), patience_s=30.0)

    return FacePlace(name, open_, fresh=lambda user: open_(user, f"machine {next(_numbers)}"))


FAR_PEOPLE = [supabase_by_service_key, supabase_by_token]
PEOPLE = [sqlite_people, *FAR_PEOPLE, supabase_on_lite, pytest.param(hosted_supabase, marks=pytest.mark.hosted)]

FAR_FACES = [
    pinecone_by_namespace,
    pinecone_by_field,
    pytest.param(hosted_pinecone, marks=pytest.mark.hosted),
]
FACES = [local_faces, *FAR_FACES]


# --- servers: one of each for all tests of a process, started by the first that needs it


def _once(start: Callable[[], _T]) -> Callable[[], _T]:
    """Start once; where it cannot be had, every test skips with the reason of the first, without trying again."""
    why: list[str] = []

    @functools.cache
    def started() -> _T:
        found = start()
        SERVERS.callback(started.cache_clear)  # whoever closes them may be followed by others who need one
        return found

    def get() -> _T:
        if why:
            pytest.skip(why[0])
        try:
            return started()
        except pytest.skip.Exception as exc:
            why.append(str(exc.msg))
            raise

    return get


SERVERS = contextlib.ExitStack()  # closed by a fixture as the session ends: their threads would outlive atexit


@_once
def rest_server() -> RestServer:
    """Our REST server on a fresh database of a real Postgres."""
    return SERVERS.enter_context(RestServer(shared_postgres().database()))


@_once
def lite_server() -> LiteServer:
    """npm's @supabase/lite."""
    return SERVERS.enter_context(LiteServer())


@_once
def pinecone_server() -> PineconeServer:
    """Our own index."""
    return SERVERS.enter_context(PineconeServer(dimension=DIMENSION))


@contextlib.contextmanager
def clients_closed() -> Iterator[None]:
    """Close what the SDKs opened in here: a store lives as long as its process, a test does not."""
    opened: list[httpx.Client] = []
    make = httpx.Client.__init__

    def remembered(client: httpx.Client, *args: Any, **kwargs: Any) -> None:
        make(client, *args, **kwargs)
        opened.append(client)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx.Client, "__init__", remembered)
        try:
            yield
        finally:
            for client in opened:
                client.close()


def _require(*names: str) -> None:
    missing = [name for name in names if not _GIVEN[name]]
    if missing:
        pytest.skip(f"{' and '.join(missing)} are not in the environment")


def _users(prefix: str) -> Callable[[str], UserId]:
    """Users of this test alone: the servers are everybody's."""
    return lambda user: UserId(f"{prefix} {user}")


def database_of(folder: Path, user: str) -> Database:
    """The embedded library of a user."""
    return Database(user_folder(folder, UserId(user)), UserId(user))
