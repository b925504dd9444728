"""Attacks on one user's rows, generated from the catalogue, so that what is added is attacked too."""

# ruff: noqa: S608 - statements built from text are what is tried here
from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from people_sql import BERT, change, relations, said
from psycopg import sql
from servers.postgres_server import SUPERUSER, Database

VICTIM = "https://accounts.example|victim"  # the word stands in every id, name and title of hers, so a leak is found


@dataclass(frozen=True)
class Actor:
    """Somebody who is not Anna."""

    name: str
    role: str
    sub: str | None
    claims: Mapping[str, object]
    settings: Mapping[str, str]


ACTORS = [
    Actor("anon", "anon", None, {}, {}),
    Actor("anon that claims to be her", "anon", VICTIM, {}, {}),
    Actor("another user", "authenticated", BERT, {}, {}),
    Actor("a token without a subject", "authenticated", None, {}, {}),
    Actor("a token with an empty subject", "authenticated", "", {}, {}),
    Actor("a token whose subject is null", "authenticated", None, {"sub": None}, {}),
    Actor("a token that claims the role of the service", "authenticated", None, {"role": "service_role"}, {}),
    Actor("a token without a subject that sets the user", "authenticated", None, {}, {"fc.user": VICTIM}),
    Actor("another user that sets the user", "authenticated", BERT, {}, {"fc.user": VICTIM}),
    Actor("another user with half her name", "authenticated", VICTIM[:-1], {}, {}),
    Actor("another user with a wildcard", "authenticated", "%", {}, {}),
]

Probe = Callable[[psycopg.Connection], Any]


# --- tables and views -------------------------------------------------------------------------------------------------


def rows_of(query: str) -> Probe:
    return lambda db: db.execute(query).fetchall()  # type: ignore[arg-type]


DONE = "done"  # the answer of what must be refused, and was not


def doing(query: str) -> Probe:
    def do(db: psycopg.Connection) -> str:
        db.execute(query)  # type: ignore[arg-type]
        return DONE

    return do


def granting(name: str) -> Probe:
    """Who has a right but may not hand it on is only warned."""

    def grant(db: psycopg.Connection) -> str:
        db.execute(f"grant all on {name} to anon")  # type: ignore[arg-type]
        row = db.execute("select has_table_privilege('anon', %s, 'select')", (name,)).fetchone()
        return DONE if row and row[0] else ""

    return grant


def copying(query: str) -> Probe:
    def copy(db: psycopg.Connection) -> str:
        with db.cursor().copy(query) as out:  # type: ignore[arg-type]
            return b"".join(out).decode()

    return copy


def attacks_on_a_table(name: str, columns: list[str], key: dict[str, str]) -> dict[str, Probe]:
    """Every kind of access there is."""
    all_ = ", ".join(columns)
    other = ", ".join(f"'{BERT}'" if column == "user_id" else column for column in columns)
    typed = ", ".join(f"{column} {type_}" for column, type_ in key.items())
    keys = ", ".join(key)
    return {
        "select": rows_of(f"select * from {name}"),
        "select hers": rows_of(f"select * from {name} where user_id = '{VICTIM}'"),
        "count hers": rows_of(f"select 'victim' from {name} where user_id = '{VICTIM}' limit 1"),
        "select for update": rows_of(f"select * from {name} for update"),
        "copy out": copying(f"copy {name} to stdout"),
        "copy a query": copying(f"copy (select * from {name} where user_id = '{VICTIM}') to stdout"),
        "insert": doing(f"insert into {name} ({all_}) select {all_} from {name} limit 0"),
        "insert as her": doing(f"insert into {name} (user_id) values ('{VICTIM}')"),
        "take over": doing(f"insert into {name} ({all_}) select {other} from {name}"),
        "update": doing(f"update {name} set user_id = user_id"),
        "update hers": doing(f"update {name} set user_id = '{BERT}' where user_id = '{VICTIM}'"),
        "delete": doing(f"delete from {name}"),
        "delete hers": doing(f"delete from {name} where user_id = '{VICTIM}'"),
        "merge": doing(
            f"merge into {name} t using (values ('{VICTIM}')) v(u) on t.user_id = v.u when matched then delete"
        ),
        "truncate": doing(f"truncate {name}"),
        "lock": doing(f"lock table {name} in access exclusive mode"),
        "refer to": doing(f"create table corner.spy ({typed}, foreign key ({keys}) references {name} ({keys}))"),
        "trigger": doing(
            f"create trigger spy after insert on {name} for each statement execute function public.fc_refuse()"
        ),
        "rule": doing(f"create rule spy as on insert to {name} do also nothing"),
        "policy": doing(f"create policy everybody on {name} using (true)"),
        "policy away": doing(f"drop policy own on {name}"),
        "row level security off": doing(f"alter table {name} disable row level security"),
        "row level security unforced": doing(f"alter table {name} no force row level security"),
        "take ownership": doing(f"alter table {name} owner to current_user"),
        "grant": granting(name),
        "index": doing(f"create index on {name} (user_id)"),
        "rename": doing(f"alter table {name} rename to {name.partition('.')[2]}_gone"),
        "drop": doing(f"drop table {name} cascade"),
        "inherit": doing(f"create table corner.spy () inherits ({name})"),
        "publication": doing(f"alter table {name} replica identity full"),
    }


def attacks_on_a_view(name: str) -> dict[str, Probe]:
    return {
        "select": rows_of(f"select * from {name}"),
        "select hers": rows_of(f"select * from {name} where user_id = '{VICTIM}'"),
        "copy": copying(f"copy (select * from {name}) to stdout"),
        "insert": doing(f"insert into {name} (user_id) values ('{VICTIM}')"),
        "update": doing(f"update {name} set user_id = '{BERT}'"),
        "delete": doing(f"delete from {name}"),
        "no invoker": doing(f"alter view {name} set (security_invoker = false)"),
        "replace": doing(f"create or replace view {name} as select 1"),
        "take ownership": doing(f"alter view {name} owner to current_user"),
        "grant": granting(name),
        "drop": doing(f"drop view {name} cascade"),
    }


COLUMNS = """
select array_agg(attname::text order by attnum) from pg_attribute where attrelid = %s::regclass and attnum > 0
"""
KEY = """
select attname::text, format_type(atttypid, null)
  from pg_index, unnest(indkey) with ordinality k(number, nth), pg_attribute
 where indrelid = %s::regclass and indisprimary and attrelid = indrelid and attnum = number order by nth
"""


def table_attacks(database: Database) -> Iterator[tuple[str, Probe]]:
    """Of every table."""
    with database.connect(SUPERUSER) as db:
        for table in relations(database, "r"):
            name = f"public.{table}"
            columns = db.execute(COLUMNS, (name,)).fetchone()[0]  # type: ignore[index]
            key = dict(db.execute(KEY, (name,)).fetchall())
            for kind, do in attacks_on_a_table(name, columns, key).items():
                yield f"{kind} {table}", do


# --- functions --------------------------------------------------------------------------------------------------------

SIGNATURES = """
select proname, coalesce(proargnames, '{}')::text[],
       array(select format_type(t, null) from unnest(proargtypes) with ordinality u(t, n) order by n)
from pg_proc where pronamespace = 'public'::regnamespace and prorettype <> 'trigger'::regtype order by proname
"""


def functions(database: Database) -> list[tuple[str, dict[str, str]]]:
    """Names, and arguments with their types."""
    with database.connect(SUPERUSER) as db:
        return [(name, dict(zip(names, types, strict=True))) for name, names, types in db.execute(SIGNATURES)]


def harmful(argument: str, type_: str, run: str) -> object:
    """A value that would do harm, or show something, if it were believed."""
    by_name: dict[str, object] = {"p_run": run, "p_user": VICTIM, "u": VICTIM, "p_ids": ["victim0000000"]}
    if argument in by_name:
        return by_name[argument]
    by_type: dict[str, object] = {
        "text": "",
        "bigint": 0,
        "integer": 1000,
        "text[]": ["victim0000000"],
        "timestamp with time zone": "2026-01-01T00:00:00Z",
    }
    return by_type.get(type_)


def json_for(function: str, run: str) -> object:
    """What these functions take as jsonb, aimed at the victim."""
    ids = ["victim0000000", "victim0000001"]
    columns = {"v": ids, "o": [None, None], "l": [0, 0], "s": [1, 1], "m": ["x", "x"]}
    return {
        "fc_begin_run": {"author": "", "params": {}, "fingerprint": "", "reason": {}, "questions": [], "covers": {}}
        | {"n_faces": 0, "n_people": 0, "n_noise": 0},
        "fc_stage": columns,
        "fc_know_faces": {"v": ids, "url": ids, "folder": ids, "crop": ids, "blur": [None, None], "m": ["x", "x"]},
        "fc_apply": change(2, said("name", "p00000", "Eve"), said("live_run", "", None, run), erased=ids),
        "fc_facts": ["a", "", ""],
        "fc_write_facts": [said("name", "p00000", "Eve", "x")],
        "fc_derive_people": [said("name", "p00000", "Eve", "x")],
    }.get(function)


def invoke(function: str, arguments: Mapping[str, str], values: Mapping[str, object]) -> Probe:
    """Call it with the arguments that have a value."""
    given = {name: arguments[name] for name in arguments if name in values}
    text = sql.SQL("select {}({})::text").format(
        sql.Identifier("public", function),
        sql.SQL(", ").join(sql.SQL("{} => %s::" + type_).format(sql.Identifier(name)) for name, type_ in given.items()),
    )
    ready = [json.dumps(values[n]) if arguments[n] == "jsonb" and values[n] is not None else values[n] for n in given]
    return lambda db: db.execute(text, ready).fetchall()


def function_attacks(database: Database, run: str) -> Iterator[tuple[str, Probe]]:
    """Every function, naming her, and then with her ids alone."""
    for name, arguments in functions(database):
        if not arguments:
            continue
        values = {a: harmful(a, t, run) if t != "jsonb" else json_for(name, run) for a, t in arguments.items()}
        yield f"{name} naming her", invoke(name, arguments, values)
        if "p_user" in values and name != "fc_user":
            alone = {k: v for k, v in values.items() if k != "p_user"}
            yield f"{name} with her ids", invoke(name, arguments, alone)


# --- texts that would be code -----------------------------------------------------------------------------------------

INJECTIONS = [
    "'; drop table public.fc_facts; --",
    "' or '1'='1",
    "') or true --",
    "%",
    "_",
    "*",
    "$$; delete from public.fc_log; $$",
    "\\'; delete from fc_facts; --",
    '"; delete from fc_log; --',
    "' union select value from public.fc_facts where user_id like '%|vic' || 'tim' --",
    "fc_facts; set role service_role",
    '{"sub": "https://accounts.example|vict\\u0069m"}',
    "{a,b}",
    "../../etc/passwd",
    "\u202e\u0001\n",
]


# --- statements of a session that may run any -------------------------------------------------------------------------

NAMING_HER = f"select set_config('fc.user', '{VICTIM}', true) is null"
# They may be said, and show nothing of hers.
FRUITLESS = {
    "user of the service": [NAMING_HER, "select * from public.fc_facts"],
    "user of the service, through a view": [NAMING_HER, "select * from public.face_clusters"],
    "a claim of the role": [
        "select set_config('request.jwt.claims', '{\"role\": \"service_role\"}', true)",
        NAMING_HER,
        "select * from public.fc_facts",
    ],
    "a function that looks at rows it may not see": [
        "create function pg_temp.look(text) returns boolean language plpgsql cost 0.0000001 as "
        "$$ begin raise notice 'saw %', $1; return true; end $$",
        "select count(*) from public.fc_facts where pg_temp.look(subject || value)",
    ],
    "an operator that looks at rows it may not see": [
        "create function pg_temp.same(text, text) returns boolean language plpgsql cost 0.0000001 as "
        "$$ begin raise notice 'saw %', $1; return true; end $$",
        "create operator pg_temp.=== (leftarg = text, rightarg = text, function = pg_temp.same)",
        "select count(*) from public.face_clusters where name operator(pg_temp.===) ''",
    ],
    "an error that tells": [
        "select count(*) from public.fc_log where case when title like '%victim%' then 1 / (length(title) * 0) = 0 end"
    ],
    "statistics": ["select * from pg_stats where tablename like 'fc\\_%'"],
    "a plan": [f"explain (analyze, costs off) select * from public.fc_facts where user_id = '{BERT}'"],
    "a function of the same name first": [
        f"create function pg_temp.fc_user(text) returns text language sql as $$ select '{VICTIM}'::text $$",
        "set search_path = pg_temp, public",
        "select public.fc_facts()",
    ],
    "other sessions": ["select query from pg_stat_activity where usename = 'postgres' and query like '%victim%'"],
}
# They are refused.
FORBIDDEN = {
    "role of the service": ["set role service_role"],
    "role of the owner": ["set role postgres"],
    "role of the superuser": ["set role supabase_admin"],
    "role of the door": ["set role authenticator"],
    "role as a setting": ["select set_config('role', 'service_role', false)"],
    "another session": ["set session authorization service_role"],
    "no role": ["reset role", "select * from public.fc_facts"],
    "no policies": ["set row_security = off", "select * from public.fc_facts"],
    "erasing": ["set fc.erasing = 'on'", "update public.fc_log set title = ''"],
    "triggers asleep": ["set session_replication_role = replica"],
    "statistics themselves": ["select * from pg_statistic"],
    "tables of the same name first": [
        "create temp table fc_log (like public.fc_log)",
        "set search_path = pg_temp, public",
        "select public.fc_head()",
        f"select public.fc_head('{VICTIM}')",
    ],
    "a new function of the owner": ["create function public.spy() returns int language sql as 'select 1'"],
    "another function": ["create or replace function public.fc_me() returns text language sql as 'select 1'"],
    "without its own search path": ["alter function public.fc_apply(jsonb, text) reset all"],
    "files": ["select pg_read_file('/etc/passwd')"],
    "large objects": ["select lo_import('/etc/passwd')"],
    "programs": ["copy (select 1) to program 'true'"],
    "a foreign server": ["create foreign data wrapper spy"],
    "an untrusted language": ["create language c2 handler pg_catalog.plpgsql_call_handler"],
    "settings of everybody": ["alter role authenticated set request.jwt.claims = '{}'"],
    "settings of the database": ["alter database postgres set log_statement = 'all'"],
    "a member": ["grant service_role to signed_in"],
    "an end to other sessions": [
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'postgres' limit 1",
    ],
}
