"""R1b: a hosted store that answers with nonsense is told apart from one that answers, and nothing is lost by it."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import small_library
from contracts import builders
from servers.faults import Fault
from servers.pinecone_server import PineconeServer

from facecluster.config import load_settings
from facecluster.errors import FaceClusterError
from facecluster.service import Service
from facecluster.wiring import open_service
from trust.measure import Found, Measure, cases

_BODIES = (
    *(
        b"",
        b"null",
        b"[]",
        b"{}",
        b"0",
        b'""',
        b"[null]",
        b"[[]]",
        b'{"a":',
        b"<html>502 Bad Gateway</html>",
        b"\xff\xfe\x00",
    ),
    *(
        b'{"revision": "x"}',
        b'{"revision": -1, "facts": null}',
        b"NaN",
        b"[" * 50_000,
        b'{"error": {"message": 7}}',
        b"true",
    ),
    *(b'{"vectors": []}', b'{"vectors": {"face-000": {"values": "x"}}}', b'{"vectors": {"face-000": null}}'),
    *(b'{"totalVectorCount": "many"}', b'{"namespaces": []}', b'{"vectors": [{"id": 7}], "pagination": {"next": 1}}'),
)
_STATUSES = (200, 400, 401, 403, 404, 409, 413, 422, 204, 302)
_RPC = "/rest/v1/rpc/"


@dataclass
class Hosted:
    """A library in an index, and its people in a project."""

    open: Callable[[str], Service]
    index: PineconeServer
    rest: object

    def digest(self, name: str) -> tuple[object, ...]:
        """What a machine that never saw it finds there."""
        view = self.open(name).view()
        facts = tuple(sorted(map(str, view.snapshot.facts.items())))
        return view.faces.ids, view.faces.vectors.tobytes(), facts, view.snapshot.revision


def hosted(folder: Path, kept: ExitStack) -> Hosted:
    """Both test servers with the small library on them, clustered."""
    rest = builders.rest_server()
    index = kept.enter_context(PineconeServer(dimension=16))
    kept.enter_context(builders.clients_closed())
    kept.callback(rest.faults.clear)
    columns = small_library.faces()
    index.put(columns["ids"].tolist(), columns["vectors"], [{"url": url} for url in columns["url"].tolist()])
    user = f"answers {uuid.uuid4().hex}"
    where = {
        "pinecone_api_key": index.api_key, "pinecone_host": index.url,
        "supabase_url": rest.url, "supabase_service_key": rest.service_key,
    }  # fmt: skip

    def opened(name: str) -> Service:
        service = open_service(load_settings(library=folder / name, user=user, **where))
        if service.must_fetch():
            service.fetch()
        return service

    first = opened("first")
    first.publish(first.plan(small_library.PARAMS), author="setup")
    first.rename(first.view().cards[0].id, "Anna")
    return Hosted(opened, index, rest)


def answered(place: Hosted, service: Service, i: int) -> str:
    """One answer that makes no sense, where something is read or written: "" where that is said, or did no harm."""
    body, status = _BODIES[i % len(_BODIES)], _STATUSES[i // len(_BODIES) % len(_STATUSES)]
    fault = Fault.status(status, body)
    person = service.view().cards[0].id
    use: list[tuple[str, Callable[[], object]]] = [
        ("rest", lambda: service.rename(person, f"Bert {i}")),
        ("rest", lambda: service.history(5)),
        ("rest", lambda: service.runs()),
        ("index", lambda: service.fetch(everything=True)),
    ]
    where, do = use[i % len(use)]
    script = place.index.faults if where == "index" else place.rest.faults  # type: ignore[attr-defined]
    script.add("/" if where == "index" else _RPC, fault, times=1, after=i // 7 % 2 if where == "index" else 0)
    try:
        do()
    except FaceClusterError as exc:
        text = str(exc)
        if text.count(". ") < 1 or "Traceback" in text:
            return f"says no cure: {text[:300]}"
    except Exception as exc:  # noqa: BLE001  what is no error of ours is a traceback for the curator
        return f"{type(exc).__name__}: {exc}"
    finally:
        script.clear()
    return ""


def bad_answers(seed: int, seconds: float, most: int = 230) -> Found:
    """Answers of both stores, each with what a fresh machine finds afterwards."""
    found = Found()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as kept:
        try:
            place = hosted(Path(folder), kept)
        except pytest.skip.Exception as exc:
            return Found(not_run=str(exc.msg))
        before = place.digest("watcher")
        service = place.open("first")
        for n in cases(seconds, most):
            i = n + seed
            if problem := answered(place, service, i):
                found.failures.append(f"answer {i}: {problem}")
            person = service.view().cards[0].id
            if (
                service.view().person(person).name == f"Bert {i}"
            ):  # the nonsense was about something else, and it is written
                service.undo(service.view().snapshot.revision)
            now = place.digest("watcher")
            if (now[0], now[1]) != (before[0], before[1]) or now[2] != before[2]:
                found.failures.append(f"answer {i}: the library is another")
                before = now
            found.n += 1
    found.note = "Pinecone and Supabase on test servers, a real Postgres"
    return found


MEASURES = [
    Measure("R1b", "Nonsense from a hosted store is told apart, and nothing is lost", "answers", 230, 0.5, bad_answers)
]
