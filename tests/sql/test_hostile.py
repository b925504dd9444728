"""What somebody who is not Anna tries on Anna's rows: refused, or empty, and nothing of hers has changed.

`attacks` makes them. One counts as refused only for want of rights or by the functions' own codes, and is broken when
it fails for another reason. What is not refused is committed, so that its harm would be seen.
"""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import psycopg
import pytest
from attacks import (
    ACTORS,
    FORBIDDEN,
    FRUITLESS,
    INJECTIONS,
    VICTIM,
    Probe,
    attacks_on_a_view,
    copying,
    function_attacks,
    functions,
    harmful,
    invoke,
    json_for,
    rows_of,
    table_attacks,
)
from people_sql import BERT, apply, become, change, live_library, relations, said, session
from servers.postgres_server import SUPERUSER, Database
from servers.rest_server import RestServer
from tally import Tally, acting, hers, somebody

CARL = "https://accounts.example|carl"  # who does nothing but come through the door


@pytest.fixture(scope="module")
def attacked(server) -> Iterator[Database]:
    database = server.database()
    live_library(database, VICTIM, prefix="victim")
    live_library(database, BERT)
    live_library(database, CARL)
    database.run(
        "create schema corner; grant all on schema corner to anon, authenticated; analyze;"
        "create role signed_in login noinherit; grant authenticated to signed_in",
        SUPERUSER,
    )
    yield database
    database.drop()
    server.administer("drop role signed_in")


@pytest.fixture(scope="module")
def total(tell) -> Iterator[Tally]:
    everything = Tally()
    yield everything
    refused, empty = everything.n_refused, everything.n_empty
    tell(f"hostile probes in SQL: {refused + empty:,} ({refused:,} refused, {empty:,} without effect)")


@pytest.fixture
def tally(total) -> Iterator[Tally]:
    made = Tally()
    yield made
    assert made.broken == []
    assert made.leaks == []
    assert made.done == []
    total.n_refused += made.n_refused
    total.n_empty += made.n_empty


@pytest.fixture
def unchanged(attacked) -> Iterator[None]:
    before = hers(attacked)
    yield
    assert hers(attacked) == before


@pytest.fixture
def door(attacked) -> Iterator[psycopg.Connection]:
    """One connection for many sessions, as PostgREST has it."""
    with attacked.connect("authenticator", autocommit=True) as db:
        yield db


# --- tables and views -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("actor", ACTORS, ids=lambda actor: actor.name)
@pytest.mark.usefixtures("unchanged")
def test_tables_give_nothing_to_somebody_else(attacked, door, tally, actor):
    for name, do in table_attacks(attacked):
        with acting(door, actor):
            tally.probe(door, f"{actor.name}: {name}", do)


@pytest.mark.parametrize("actor", ACTORS, ids=lambda actor: actor.name)
@pytest.mark.usefixtures("unchanged")
def test_views_give_nothing_to_somebody_else(attacked, door, tally, actor):
    for view in relations(attacked, "v"):
        for kind, do in attacks_on_a_view(f"public.{view}").items():
            with acting(door, actor):
                tally.probe(door, f"{actor.name}: {kind} {view}", do)


def test_the_same_attacks_succeed_for_whom_nothing_binds(attacked):
    """Otherwise they would prove nothing."""
    failed = []
    for name, do in table_attacks(attacked):
        with attacked.connect(SUPERUSER) as db:
            try:
                do(db)
            except psycopg.errors.NotNullViolation:
                assert name.startswith("insert as her")
            except psycopg.errors.UniqueViolation:
                assert name.startswith(("take over", "update hers"))
            except psycopg.Error as exc:
                if exc.sqlstate != "FC405":  # the log is append-only for everybody
                    failed.append(f"{name}: {exc}")
            db.rollback()
    assert failed == []


# --- functions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("actor", ACTORS, ids=lambda actor: actor.name)
@pytest.mark.usefixtures("unchanged")
def test_functions_do_nothing_for_somebody_else(attacked, door, tally, actor):
    harmless = ("fc_stage with her ids", "fc_doctor")  # answers with what was handed over
    for name, do in function_attacks(attacked, f"run-of-{VICTIM}"):
        with acting(door, actor):
            mute = name.startswith(harmless)
            tally.probe(door, f"{actor.name}: {name}", (lambda db, do=do: do(db) and "") if mute else do)


@pytest.mark.usefixtures("unchanged")
def test_naming_her_is_refused_by_every_function_that_takes_a_user(attacked, door, tally):
    for actor in ACTORS:
        for name, do in function_attacks(attacked, "some run"):
            if not name.endswith("naming her") or name.startswith("fc_doctor"):
                continue
            with acting(door, actor):
                before = tally.n_refused
                tally.probe(door, f"{actor.name}: {name}", do)
                if name.split()[0] not in ("fc_record",):
                    assert tally.n_refused == before + 1, f"{actor.name} was let in by {name}"


def test_her_own_token_and_the_service_key_are_let_in(server):
    database = server.database()
    run = live_library(database, VICTIM, prefix="victim")
    for user, role, named in ((VICTIM, "authenticated", {}), (None, "service_role", {"p_user": VICTIM})):
        with session(database, user, role) as db:
            for function, arguments in {
                "fc_head": {},
                "fc_facts": {},
                "fc_changes": {"p_since": 0},
                "fc_history": {"p_limit": 10},
                "fc_runs": {},
                "fc_run": {"p_run": run.id},
                "fc_run_faces": {"p_run": run.id},
            }.items():
                types = dict(functions(database))[function]
                answer = invoke(function, types, {**arguments, **named})(db)[0][0]
                assert "victim" in answer or function in ("fc_run", "fc_runs")
                assert len(answer) > 30
    assert apply(database, VICTIM, 2, said("person", "new", "1")) == 3
    database.drop()


# --- texts that would be code ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", INJECTIONS)
@pytest.mark.usefixtures("unchanged")
def test_a_text_that_would_be_code_is_a_text(attacked, door, tally, text):
    for name, arguments in functions(attacked):
        for argument in (a for a, type_ in arguments.items() if type_ == "text" and a != "p_user"):
            values = {a: harmful(a, t, "") if t != "jsonb" else json_for(name, "") for a, t in arguments.items()}
            values = {k: v for k, v in values.items() if k != "p_user"} | {argument: text}
            with acting(door, somebody("injector")):
                do = invoke(name, arguments, values)
                tally.probe(door, f"{name}({argument}) {text}", lambda db, do=do: str(do(db)).replace("victim0000", ""))
    with acting(door, somebody(text)):
        tally.probe(door, f"a subject {text}", rows_of("select * from fc_facts"))
    for place in range(5):
        decision = said("name", "p00000", "Eve")
        decision[place] = text
        with acting(door, somebody(f"fresh {uuid.uuid4()}")):
            tally_json(tally, door, change(0, decision, title=text, author=text), text)


def tally_json(tally: Tally, db: psycopg.Connection, body: dict[str, object], text: str) -> None:
    """fc_apply may also refuse by its checks: a kind there is not."""

    def do(db: psycopg.Connection) -> str:
        try:
            with db.transaction():
                return str(db.execute("select fc_apply(%s)", (json.dumps(body),)).fetchone())
        except psycopg.errors.CheckViolation:
            return ""

    tally.probe(db, f"fc_apply {text}", do)


# --- a session that may run any SQL ---------------------------------------------------------------------------------


def saying(statements: list[str]) -> Probe:
    """One after the other, and all that they answer."""

    def say(db: psycopg.Connection) -> list[object]:
        found: list[object] = []
        for statement in statements:
            if statement.startswith("copy"):
                found.append(copying(statement)(db))
                continue
            cursor = db.execute(statement)  # type: ignore[arg-type]
            found += cursor.fetchall() if cursor.description else []
        return found

    return say


@pytest.mark.parametrize("trick", [*FRUITLESS, *FORBIDDEN])
@pytest.mark.usefixtures("unchanged")
def test_not_even_free_sql_of_a_signed_in_user_reaches_her(attacked, tally, trick):
    """PostgREST lets nobody do this; a leaked connection would."""
    with attacked.connect("signed_in") as db, attacked.connect() as idle:
        idle.execute("select 'victim'")
        become(db, BERT, "authenticated")
        tally.probe(db, trick, saying({**FRUITLESS, **FORBIDDEN}[trick]))
    assert tally.n_refused == (trick in FORBIDDEN)


# --- through the door -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rest(attacked) -> Iterator[RestServer]:
    with RestServer(attacked) as server:
        yield server


def tokens(rest: RestServer) -> dict[str, str | None]:
    """What somebody might bring instead of her token."""
    wrong = "another secret that is long enough to be one"
    claims = {"sub": VICTIM, "role": "authenticated"}
    good = rest.token(VICTIM).split(".")
    payload = jwt.utils.base64url_encode(json.dumps({**claims, "role": "service_role"}).encode()).decode()
    return {
        "no token": None,
        "another user's": rest.token(CARL),
        "no subject": rest.token(None),
        "an empty subject": rest.token(""),
        "expired": rest.token(VICTIM, expires_in=-600),
        "signed by somebody else": jwt.encode(claims, wrong, algorithm="HS256"),
        "the role of the service, signed by somebody else": jwt.encode({**claims, "role": "service_role"}, wrong),
        "not signed": jwt.encode(claims, "", algorithm="none"),
        "a changed payload": f"{good[0]}.{payload}.{good[2]}",
        "no signature": f"{good[0]}.{good[1]}.",
        "the role of the superuser": rest.token(VICTIM, role="supabase_admin"),
        "the role of the owner": rest.token(VICTIM, role="postgres"),
        "the role of the door": rest.token(VICTIM, role="authenticator"),
        "a role there is not": rest.token(VICTIM, role="god"),
        "half a token": rest.token(VICTIM)[:40],
    }


@pytest.mark.usefixtures("unchanged")
def test_the_door_lets_nobody_in_with_a_token_that_is_not_hers(attacked, rest, tell):
    n, leaks = 0, []
    with httpx.Client(base_url=f"{rest.url}/rest/v1/") as client:
        calls: list[tuple[str, str, Any]] = [
            *(("GET", relation, None) for relation in relations(attacked, "r") + relations(attacked, "v")),
            *(("DELETE", f"{table}?user_id=eq.{VICTIM}", None) for table in relations(attacked, "r")),
            *(("PATCH", table, {"user_id": BERT}) for table in relations(attacked, "r")),
            *(("POST", table, [{"user_id": VICTIM}]) for table in relations(attacked, "r")),
        ]
        for name, arguments in functions(attacked):
            values = {a: harmful(a, t, f"run-of-{VICTIM}") for a, t in arguments.items() if t != "jsonb"}
            values |= {a: json_for(name, "") for a, t in arguments.items() if t == "jsonb"}
            calls.append(("POST", f"rpc/{name}", values))
        calls.append(
            ("POST", "rpc/set_config", {"setting_name": "role", "new_value": "service_role", "is_local": True})
        )
        for (what, token), (method, path, body) in itertools.product(tokens(rest).items(), calls):
            headers = {"apikey": rest.publishable_key, "request.jwt.claims": json.dumps({"sub": VICTIM})}
            headers |= {} if token is None else {"Authorization": f"Bearer {token}"}
            answer = client.request(method, path, json=body, headers=headers)
            n += 1
            harmless = path in ("rpc/fc_version", "rpc/fc_me", "rpc/fc_doctor", "rpc/fc_record")
            if answer.is_success and not harmless and VICTIM in answer.text:
                leaks.append(f"{what}: {method} {path}: {answer.text[:200]}")
            if answer.is_success and path.startswith("rpc/") and not harmless:
                leaks.append(f"{what}: {path} answered {answer.text[:100]}")
            assert answer.status_code != 500, f"{what}: {method} {path}: {answer.text}"
    tell(f"hostile requests through the REST front: {n:,}")
    assert leaks == []


def test_the_door_lets_her_in(attacked, rest):
    with httpx.Client(base_url=f"{rest.url}/rest/v1/") as client:
        headers = {"apikey": rest.publishable_key, "Authorization": f"Bearer {rest.token(VICTIM)}"}
        for relation in relations(attacked, "r") + relations(attacked, "v"):
            assert VICTIM in client.get(relation, headers=headers).text
        assert client.post("rpc/fc_facts", json={}, headers=headers).json()["count"] > 0
