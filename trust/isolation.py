"""R11: one user reaches nothing of another's: not by SQL, not by REST, not by an address, not by an id."""

from __future__ import annotations

import base64
import itertools
import json
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import numpy as np
import small_library
from servers.dashboard_client import Visitor
from servers.postgres_server import SUPERUSER, Database, PostgresServer
from servers.rest_server import RestServer

from facecluster.errors import FaceClusterError
from facecluster.model import Question
from facecluster.service import Service
from facecluster.ui.crops import SIZES
from trust.measure import TESTS, Found, Measure, cases
from trust.signed_place import LIBRARY, Place, is_inside, page_of, pictures, place

if str(TESTS / "sql") not in sys.path:
    sys.path.insert(0, str(TESTS / "sql"))

from attacks import (
    ACTORS,
    VICTIM,
    Actor,
    Probe,
    attacks_on_a_view,
    function_attacks,
    functions,
    harmful,
    json_for,
    table_attacks,
)
from people_sql import BERT, live_library, relations
from tally import Tally, acting, hers

# --- SQL ------------------------------------------------------------------------------------------------------------


def attacked_database() -> Database:
    """A database of its own in which the victim and Bert have a library each."""
    from servers.postgres_server import shared_postgres

    database = shared_postgres().database()
    live_library(database, VICTIM, prefix="victim")
    live_library(database, BERT)
    database.run("create schema corner; grant all on schema corner to anon, authenticated; analyze", SUPERUSER)
    return database


def sql_probes(database: Database) -> tuple[list[tuple[Actor, str, Probe]], ...]:
    """Each table and view, and then each function, each verb, each actor.

    Functions come last and in the order of the catalogue: one that writes may leave words of hers, that the actor
    brought, in the actor's own rows, where the next one finds them.
    """
    found = [*table_attacks(database)]
    for view in relations(database, "v"):
        found += [(f"{kind} {view}", do) for kind, do in attacks_on_a_view(f"public.{view}").items()]
    called = []
    for name, do in function_attacks(database, f"run-of-{VICTIM}"):
        mute = name.startswith(("fc_stage with her ids", "fc_doctor"))  # answers with what was handed over
        called.append((name, (lambda db, do=do: do(db) and "") if mute else do))
    return tuple([(actor, name, do) for name, do in some for actor in ACTORS] for some in (found, called))


def in_sql(seed: int, seconds: float) -> Found:
    """Probes on a real Postgres, as the door of the project begins a request."""
    why = _no_postgres()
    if why:
        return Found(not_run=why)
    found, tally, database = Found(), Tally(), attacked_database()
    before = hers(database)
    groups = sql_probes(database)
    with database.connect("authenticator", autocommit=True) as db:
        for probes, share in zip(groups, (0.7, 0.3), strict=True):
            if share > 0.5:
                random.Random(seed).shuffle(probes)
            for i in cases(seconds * share, len(probes)):
                actor, name, do = probes[i]
                found.n += 1
                with acting(db, actor):
                    tally.probe(db, f"{actor.name}: {name}", do)
    found.failures = [*tally.broken, *tally.leaks, *tally.done]
    if hers(database) != before:
        found.failures.append("rows of hers changed")
    database.drop()
    n_all = sum(map(len, groups))
    found.note = f"{tally.n_refused:,} refused, {tally.n_empty:,} empty or without effect, of {n_all:,} there are"
    return found


def _no_postgres() -> str:
    import pytest
    from servers.postgres_server import shared_postgres

    try:
        server: PostgresServer = shared_postgres()
    except (pytest.skip.Exception, OSError) as exc:
        return str(exc)
    return "" if server else "no Postgres"


# --- REST -----------------------------------------------------------------------------------------------------------


def _unsigned(claims: dict[str, Any]) -> str:
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    return ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode() for p in parts) + "."


def callers(rest: RestServer) -> dict[str, dict[str, str]]:
    """Headers of everybody who is not she."""
    now = int(time.time())
    claims = {"sub": VICTIM, "role": "authenticated", "aud": "authenticated", "exp": now + 900}
    stranger = "another secret, of thirty-two bytes!"
    tokens = {
        "anon": rest.publishable_key,
        "another tenant": rest.token(BERT),
        "another tenant with her issuer": rest.token(BERT, iss="https://accounts.example"),
        "another tenant, wrong issuer and audience": rest.token(BERT, iss="https://evil.example", aud="another"),
        "another tenant that names her elsewhere": rest.token(BERT, email=VICTIM, user_id=VICTIM, role_of=VICTIM),
        "expired": rest.token(VICTIM, expires_in=-3600),
        "not yet": rest.token(VICTIM, nbf=now + 3600),
        "alg none": _unsigned(claims),
        "signed by a stranger": jwt.encode(claims, stranger, "HS256"),
        "signed by a stranger, role of the service": jwt.encode({**claims, "role": "service_role"}, stranger, "HS256"),
        "signed in another way": jwt.encode(claims, rest.jwt_secret, "HS512"),
        "no subject": rest.token(None),
        "empty subject": rest.token(""),
        "null subject": rest.token(None, sub=None),
        "a list for a subject": rest.token(None, sub=[VICTIM]),
        "half her name": rest.token(VICTIM[:-1]),
        "her name and a blank": rest.token(f"{VICTIM} "),
        "a role there is not": rest.token(VICTIM, role="postgres"),
        "not a token": "x.y.z",
    }
    made = {
        name: {"apikey": rest.publishable_key, "Authorization": f"Bearer {token}"} for name, token in tokens.items()
    }
    made["no key"] = {"Authorization": f"Bearer {rest.token(VICTIM)}"}
    made["a key of nobody"] = {"apikey": "sb_secret_x", "Authorization": f"Bearer {rest.token(VICTIM)}"}
    return made


def rest_probes(rest: RestServer) -> Iterator[tuple[str, str, str, Any]]:
    """Name, verb, path and body of each request."""
    database = rest.database
    row = {"user_id": VICTIM}
    for table in (*relations(database, "r"), *relations(database, "v")):
        path = f"/rest/v1/{table}"
        for verb, query, body in (
            ("GET", "", None), ("GET", f"?user_id=eq.{VICTIM}", None), ("HEAD", "", None),
            ("POST", "", row), ("POST", "?on_conflict=user_id", [row]), ("PUT", f"?user_id=eq.{VICTIM}", row),
            ("PATCH", f"?user_id=eq.{VICTIM}", {"user_id": BERT}), ("DELETE", f"?user_id=eq.{VICTIM}", None),
        ):  # fmt: skip
            yield f"{verb} {table}{query}", verb, path + query, body
    for name, arguments in functions(database):
        values = {
            a: json_for(name, f"run-of-{VICTIM}") if t == "jsonb" else harmful(a, t, f"run-of-{VICTIM}")
            for a, t in arguments.items()
        }
        alone = {a: v for a, v in values.items() if a != "p_user"}
        for body in (values, alone):
            yield f"POST rpc/{name} {'naming her' if 'p_user' in body else ''}", "POST", f"/rest/v1/rpc/{name}", body
        yield f"GET rpc/{name}", "GET", f"/rest/v1/rpc/{name}", None
    for path in (
        "/rest/v1/",
        "/rest/v1/pg_authid",
        "/rest/v1/../auth/v1/users",
        "/storage/v1/bucket",
        "/auth/v1/admin/users",
    ):
        yield f"GET {path}", "GET", path, None


# They answer with what was handed over, the last with the subject of the token, whatever that is.
_ECHO = ("fc_stage", "fc_doctor", "fc_user", "fc_me")


def by_rest(seed: int, seconds: float) -> Found:
    """Requests to our REST server, which stands before the same Postgres as PostgREST would."""
    why = _no_postgres()
    if why:
        return Found(not_run=why)
    found = Found(note="our own REST server; PostgREST itself was not run")
    database = attacked_database()
    before = hers(database)
    with RestServer(database) as rest, httpx.Client(base_url=rest.url, timeout=30, verify=False) as client:  # noqa: S501
        who, asked = callers(rest), [*rest_probes(rest)]
        tables = [*itertools.product([one for one in asked if "rpc/" not in one[0]], who)]
        functions_ = [*itertools.product([one for one in asked if "rpc/" in one[0]], who)]  # last, as in SQL
        random.Random(seed).shuffle(tables)
        statuses: dict[int, int] = {}
        for probes, share in ((tables, 0.6), (functions_, 0.4)):
            for i in cases(seconds * share, len(probes)):
                (name, verb, path, body), caller = probes[i]
                found.n += 1
                answer = client.request(verb, path, json=body, headers=who[caller])
                statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
                is_echo = any(echo in name for echo in _ECHO)
                # 55000, as in SQL: a view that joins takes rows from nobody.
                is_broken = answer.status_code >= 500 and '"55000"' not in answer.text
                if is_broken or ("victim" in answer.text and answer.is_success and not is_echo):
                    found.failures.append(f"{caller}, {name}: {answer.status_code} {answer.text[:150]}")
        hers_alone = client.post("/rest/v1/rpc/fc_head", json={}, headers=_own(rest))
        if not hers_alone.is_success:
            found.failures.append(f"she herself was refused: {hers_alone.text}")
    if hers(database) != before:
        found.failures.append("rows of hers changed")
    database.drop()
    found.note += (
        f"; of {len(tables) + len(functions_):,} there are; answers by status {dict(sorted(statuses.items()))}"
    )
    return found


def _own(rest: RestServer) -> dict[str, str]:
    return {"apikey": rest.publishable_key, "Authorization": f"Bearer {rest.token(VICTIM)}"}


# --- the dashboard's addresses --------------------------------------------------------------------------------------


def strangers(at: Place) -> dict[str, Visitor]:
    """Browsers of everybody who is not Anna."""
    made = {"anon": at.visitor(), "a made-up session": at.visitor(), "her sign-in without a session": at.visitor()}
    made["a made-up session"].cookies["facecluster_session"] = "A" * 43
    ended = at.signed_in()
    kept = dict(ended.cookies)
    ended.get("/auth/logout")
    ended.cookies = kept
    made["her session, ended"] = ended
    sign_in_alone = {name: value for name, value in kept.items() if name != "facecluster_session"}
    made["her sign-in without a session"].cookies = sign_in_alone
    at.provider.claims = {"sub": "bert"}
    made["Bert"] = at.visitor()
    made["Bert"].sign_in()
    assert is_inside(made["Bert"])
    at.provider.claims = {"sub": "eve", "email": "eve@example.org", "email_verified": True}
    made["not on the list"] = at.visitor()
    made["not on the list"].sign_in()
    at.reset()
    return made


VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def by_address(seed: int, seconds: float) -> Found:
    """Addresses of Anna's pictures, files and windows, asked for by everybody else, with every verb; and her ids."""
    with place() as at:
        found = asked_for(at, seed, seconds)
        found.n += opened_by_id(at, found.failures)
    return found


def asked_for(at: Place, seed: int, seconds: float) -> Found:
    """The addresses."""
    rng, found, anna = random.Random(seed), Found(), at.signed_in()
    with anna.window("people") as people, anna.window("history") as history:
        shown = people.run()
        base = _between(shown.raw, b"/crops/", "[\\w-]+")
        marks = [mark for mark in at.service("anna").view().faces.picture_marks if mark]
        crops = [f"/crops/{base}/{mark}.jpg?s={side}" for mark in rng.sample(marks, 5) for side in SIZES]
        history.run()
        file = history.download(next(label for label in history.shown.files if label.endswith("JSON")))
        upload, metrics = f"/_stcore/upload_file/{shown.session}/file-1", "/_stcore/metrics"
        for address in (crops[0], file, metrics):  # she herself is let in, or the rest would prove nothing
            status = anna.get(address).status_code
            found.failures += [f"she herself got {status} for {address}"] if status != 200 else []
        who = strangers(at)
        probes = [*itertools.product(who, VERBS, [*crops, file, upload])]
        probes += [(name, verb, metrics) for name in who if name != "Bert" for verb in VERBS]
        rng.shuffle(probes)
        for i in cases(seconds, len(probes)):
            name, verb, address = probes[i]
            found.n += 1
            answer = who[name].ask(verb, address, content=b"x" if verb in ("POST", "PUT", "PATCH") else None)
            if answer.status_code not in (403, 404, 405):
                found.failures.append(f"{name}, {verb} {address}: {answer.status_code}")
    return found


def _between(raw: bytes, start: bytes, what: str) -> str:
    match = re.search(re.escape(start) + b"(" + what.encode() + b")", raw)
    assert match is not None, f"no {start!r} on the page"
    return match[1].decode()


def opened_by_id(at: Place, failures: list[str]) -> int:
    """Bert opens Anna's people by their ids, and every page: none says a word of hers."""
    at.provider.claims = {"sub": "bert"}
    bert = at.visitor()
    bert.sign_in()
    ids = [card.id for card in at.service("anna").view().people()[:2]]
    asked = [*(f"person?id={id}" for id in ids), f"find?person={ids[0]}", "history", "status", "people"]
    for page in asked:
        text = page_of(bert, page)
        if "anna" in text.lower() or LIBRARY not in text:
            failures.append(f"Bert, {page}: {text[:200]!r}")
    return len(asked)


# --- ids of another user's at the embedded stores -------------------------------------------------------------------


def uses_of_ids(hers_: Service) -> dict[str, Callable[[Service], object]]:
    """Each use case, with ids out of another user's library."""
    view = hers_.view()
    (p, q, *_), faces = [card.id for card in view.people()], list(view.faces.ids[:3])
    run = hers_.runs()[0].id
    return {
        "crop": lambda s: s.crop(faces[0]),
        "rename": lambda s: s.rename(p, "Eve"),
        "rename and confirm": lambda s: s.rename(p, "Eve", confirm=True),
        "confirm": lambda s: s.confirm(p),
        "confirm faces": lambda s: s.confirm(p, faces),
        "merge": lambda s: s.merge(p, [q]),
        "merge into an own one": lambda s: s.merge(s.view().people()[0].id, [p]),
        "merge an own one into hers": lambda s: s.merge(p, [s.view().people()[0].id]),
        "move": lambda s: s.move(faces, p),
        "move to an own one": lambda s: s.move(faces, s.view().people()[0].id),
        "new person": lambda s: s.new_person(faces, "Eve"),
        "split": lambda s: s.split(p, [faces[:1], faces[1:]]),
        "reject": lambda s: s.reject(faces, p),
        "ignore": lambda s: s.mark(faces, "ignored"),
        "not a face": lambda s: s.mark(faces, "not_a_face"),
        "take back": lambda s: s.mark(faces, None),
        "hide": lambda s: s.hide([p]),
        "cover": lambda s: s.set_cover(p, faces[0]),
        "cover of an own one": lambda s: s.set_cover(s.view().people()[0].id, faces[0]),
        "tell apart": lambda s: s.tell_apart([p, q]),
        "erase": lambda s: s.erase(p, 3),
        "undo": lambda s: s.undo(hers_.view().snapshot.revision + 100),
        "name a run": lambda s: s.name_run(run, "Eve"),
        "restore a run": lambda s: s.restore(run),
        "compare runs": lambda s: s.compared(run, run),
        "came since": lambda s: s.came_since(p, 0),
        "a question": lambda s: s.answer(Question("same", p, q, 3), True),
    }


def by_id(seed: int, seconds: float) -> Found:
    """Every use case of Bert's Service with ids of Anna's: refused or without effect, and nothing of hers changes."""
    del seed, seconds
    found = Found(note="embedded store")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = {}
        for who in ("anna", "bert"):
            service = made[who] = small_library.open_library(folder / "library", f"https://id.example|{who}")
            columns = small_library.faces(prefix=who, seed=("anna", "bert").index(who)) | pictures(who)
            service.import_files([small_library.write_faces(folder / f"{who}.npz", **columns)])
            service.publish(service.plan(small_library.PARAMS), author="setup")
        anna, bert = made["anna"], made["bert"]
        before = _all_of(anna)
        for use, do in uses_of_ids(anna).items():
            found.n += 1
            revision = bert.view().snapshot.revision
            try:
                answer: object = do(bert)
            except FaceClusterError:
                answer = None
            except KeyError as exc:
                found.failures.append(f"{use}: KeyError {exc}")
                continue
            if answer and bert.view().snapshot.revision == revision and isinstance(answer, bytes | list):
                found.failures.append(f"{use}: answered {str(answer)[:100]}")
            if "anna" in str(bert.view().snapshot).lower():
                found.failures.append(f"{use}: hers stands in his")
        if _all_of(anna) != before:
            found.failures.append("something of hers changed")
    return found


def _all_of(service: Service) -> tuple[object, ...]:
    view = service.view()
    crops = b"".join(service.crop(face) for face in view.faces.ids)
    return view.snapshot, view.faces.ids, np.asarray(view.faces.vectors).tobytes(), crops


MEASURES = [
    Measure("R11a", "nobody reaches another user's rows by SQL", "probes", 3000, 1.0, in_sql),
    Measure("R11b", "nobody reaches another user's rows by REST", "probes", 1500, 1.0, by_rest),
    Measure("R11c", "nobody opens another user's pictures, files and windows", "probes", 600, 1.0, by_address),
    Measure("R11d", "another user's ids do nothing in one's own library", "use cases", 27, 0.0, by_id),
]
