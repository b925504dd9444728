"""What PostgREST makes of a request: the function that is meant and its call, the reading and writing of tables."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

OPERATORS = {"eq": "=", "neq": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "like": "like", "ilike": "ilike"}


@dataclass(frozen=True)
class Reply:
    """An answer on its way out."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class RefusalError(Exception):
    """A request that is answered with an error, in PostgREST's shape."""

    def __init__(
        self, status: int, code: str | None, message: str, details: str | None = None, hint: str | None = None
    ):
        super().__init__(message)
        self.reply = Reply(
            status, to_json({"code": code, "details": details, "hint": hint, "message": message}), _challenge(status)
        )


@dataclass(frozen=True)
class Asked:
    """A request, taken apart."""

    method: str
    name: str
    query: list[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes

    def text(self) -> str:
        return self.body.decode() or "{}"

    def json(self) -> Any:
        try:
            return json.loads(self.text())
        except ValueError as exc:
            raise RefusalError(400, "PGRST102", "Empty or invalid json") from exc

    def parameter(self, name: str, default: str = "") -> str:
        return next((value for key, value in self.query if key == name), default)

    def prefers(self, what: str) -> bool:
        return what in re.split(r"[,;\s]+", self.headers.get("prefer", ""))


@dataclass(frozen=True)
class _Function:
    arguments: Mapping[str, str]  # name to type
    required: frozenset[str]
    result: str
    is_set: bool
    volatility: str
    timeout: str


def call_function(db: psycopg.Connection, asked: Asked, max_rows: int) -> Reply:
    """Call a function by the names of its arguments, as a request to /rpc/ does."""
    if asked.method != "POST":
        raise RefusalError(405, "PGRST101", f"Cannot use the {asked.method} method on RPC")
    given = asked.json()
    if not isinstance(given, dict):
        raise RefusalError(400, "PGRST102", "The arguments of a function are a JSON object")
    function = _find_function(db, asked.name, list(given))
    if function.volatility != "v":
        db.execute("set transaction read only")
    if function.timeout:
        db.execute("select set_config('statement_timeout', %s, true)", (function.timeout,))
    call = sql.SQL("{}({})").format(
        sql.Identifier("public", asked.name),
        sql.SQL(", ").join(sql.SQL("{0} := given.{0}").format(sql.Identifier(name)) for name in given),
    )
    source: sql.Composable = sql.SQL("json_to_record(%s::json) as given({})").format(
        sql.SQL(", ").join(sql.SQL("{} {}").format(sql.Identifier(n), sql.SQL(function.arguments[n])) for n in given)
    )
    if not given:
        source = sql.SQL("(select %s::json) as given")
    if function.is_set:
        query = sql.SQL(
            "select coalesce(json_agg(one), '[]')::text from (select one from {}, lateral {} as one limit {}) t"
        ).format(source, call, max_rows)
    else:
        query = sql.SQL("select to_json({})::text from {}").format(call, source)
    row = db.execute(query, (asked.text(),)).fetchone()
    text = row[0] if row else None
    if function.result == "void":
        return Reply(204, headers=ONE)
    return Reply(200, (text or "null").encode(), {**JSON, **ONE})


FUNCTIONS = """
select coalesce(proargnames, '{}'), array(select format_type(t, null) from unnest(proargtypes) t), pronargdefaults,
       format_type(prorettype, null), proretset, provolatile::text,
       coalesce((select split_part(c, '=', 2) from unnest(proconfig) c where c like 'statement_timeout=%%'), '')
from pg_proc where proname = %s and pronamespace = 'public'::regnamespace and prokind = 'f'
"""


def _find_function(db: psycopg.Connection, name: str, given: list[str]) -> _Function:
    rows = db.execute(FUNCTIONS, (name,)).fetchall()
    found = []
    for names, types, n_defaults, result, is_set, volatility, timeout in rows:
        arguments = dict(zip(names, types, strict=False))
        required = frozenset(names[: len(types) - n_defaults])
        if required <= set(given) <= set(arguments):
            found.append(_Function(arguments, required, result, is_set, volatility, timeout))
    if not found:
        said = f"public.{name}({', '.join(given)})" if given else f"public.{name} without parameters"
        looked = f"with parameter{'s' * (len(given) > 1)} {', '.join(given)}" if given else "without parameters"
        raise RefusalError(
            404,
            "PGRST202",
            f"Could not find the function {said} in the schema cache",
            f"Searched for the function public.{name} {looked} or with a single unnamed json/jsonb parameter, "
            "but no matches were found in the schema cache.",
        )
    if len(found) > 1:
        raise RefusalError(300, "PGRST203", f"Could not choose the best candidate function between {len(found)}")
    return found[0]


def use_table(db: psycopg.Connection, asked: Asked, max_rows: int) -> Reply:
    """Read or write a table or view."""
    known = db.execute(
        "select from pg_class where relname = %s and relnamespace = 'public'::regnamespace and relkind in ('r', 'v')",
        (asked.name,),
    ).fetchone()
    if known is None:
        raise RefusalError(404, "PGRST205", f"Could not find the table 'public.{asked.name}' in the schema cache")
    if asked.method in ("GET", "HEAD"):
        db.execute("set transaction read only")
        return _read(db, asked, max_rows)
    if asked.method in ("POST", "PATCH", "DELETE"):
        return _write(db, asked)
    raise RefusalError(405, "PGRST117", f"Unsupported HTTP method: {asked.method}")


def _read(db: psycopg.Connection, asked: Asked, max_rows: int) -> Reply:
    relation, where = sql.Identifier("public", asked.name), _filters(asked)
    columns = asked.parameter("select", "*")
    named = (sql.Identifier(asked.name, column) for column in columns.split(","))
    chosen = sql.SQL("*") if columns == "*" else sql.SQL(", ").join(named)
    offset, limit = _range(asked)
    query = sql.SQL("select {} from {} where {} {} limit {} offset {}").format(
        chosen, relation, where, _order(asked), max_rows if limit is None else min(limit, max_rows), offset
    )
    rows = db.execute(
        sql.SQL("select coalesce(json_agg(t), '[]')::text, count(*) from ({}) t").format(query)
    ).fetchone()
    body, n = rows or ("[]", 0)
    total: int | None = None
    if asked.prefers("count=exact"):
        counted = db.execute(sql.SQL("select count(*) from {} where {}").format(relation, where)).fetchone()
        total = counted[0] if counted else 0
    content_range = {"Content-Range": f"{f'{offset}-{offset + n - 1}' if n else '*'}/{'*' if total is None else total}"}
    if total is not None and offset > total:
        details = f"An offset of {offset} was requested, but there are only {total} rows."
        refusal = RefusalError(416, "PGRST103", "Requested range not satisfiable", details).reply
        return Reply(refusal.status, refusal.body, {**refusal.headers, "Content-Range": f"*/{total}"})
    return Reply(206 if total is not None and n < total else 200, body.encode(), {**JSON, **content_range})


def _write(db: psycopg.Connection, asked: Asked) -> Reply:
    relation, where = sql.Identifier("public", asked.name), _filters(asked)
    if asked.method == "DELETE":
        query = sql.SQL("delete from {} where {}").format(relation, where)
        values: tuple[str, ...] = ()
    else:
        given = asked.json()
        rows = given if isinstance(given, list) else [given]
        columns = sql.SQL(", ").join(map(sql.Identifier, rows[0]))
        values = (json.dumps(rows),)
        source = sql.SQL("select {} from json_populate_recordset(null::{}, %s::json)").format(columns, relation)
        if asked.method == "POST":
            query = sql.SQL("insert into {} ({}) {}").format(relation, columns, source)
        else:
            query = sql.SQL("update {} set ({}) = ({}) where {}").format(relation, columns, source, where)
    if not asked.prefers("return=representation"):
        db.execute(query, values)
        return Reply(201 if asked.method == "POST" else 204)
    written = sql.SQL("with written as ({} returning *) select coalesce(json_agg(written), '[]')::text from written")
    row = db.execute(written.format(query), values).fetchone()
    return Reply(201 if asked.method == "POST" else 200, (row[0] if row else "[]").encode(), JSON)


def _filters(asked: Asked) -> sql.Composable:
    parts: list[sql.Composable] = [sql.SQL("true")]
    for column, condition in asked.query:
        if column in ("select", "order", "limit", "offset", "on_conflict", "columns"):
            continue
        operator, _, value = condition.partition(".")
        name = sql.Identifier(asked.name, column)
        if operator in OPERATORS:
            clause = sql.SQL("{} " + OPERATORS[operator] + " {}").format(name, sql.Literal(value))
        elif operator == "is" and value in ("null", "true", "false"):
            clause = sql.SQL("{} is " + value).format(name)
        elif operator == "in" and value[:1] + value[-1:] == "()":
            clause = sql.SQL("{} = any({})").format(name, sql.Literal(_elements(value[1:-1])))
        else:
            raise RefusalError(400, "PGRST100", f'"failed to parse filter ({condition})"', 'unexpected "operator"')
        parts.append(clause)
    return sql.SQL(" and ").join(parts)


def _elements(text: str) -> list[str]:
    """Values of `in.(a,"b,c")`."""
    found = re.findall(r'"((?:[^"\\]|\\.)*)"|([^,]+)', text)
    return [re.sub(r"\\(.)", r"\1", quoted) if quoted else plain for quoted, plain in found]


def _order(asked: Asked) -> sql.Composable:
    parts: list[sql.Composable] = []
    for term in filter(None, asked.parameter("order").split(",")):
        column, *rest = term.split(".")
        words = {"asc": "asc", "desc": "desc", "nullsfirst": "nulls first", "nullslast": "nulls last"}
        if not set(rest) <= set(words):
            raise RefusalError(400, "PGRST100", f'"failed to parse order ({term})"')
        parts.append(sql.SQL("{} " + " ".join(words[r] for r in rest)).format(sql.Identifier(asked.name, column)))
    return sql.SQL("order by ") + sql.SQL(", ").join(parts) if parts else sql.SQL("")


def _range(asked: Asked) -> tuple[int, int | None]:
    """Offset and limit; the header overrules the parameters."""
    if match := re.fullmatch(r"(\d+)-(\d*)", asked.headers.get("range", "")):
        first, last = int(match[1]), match[2]
        if last and int(last) < first:
            details = "The lower boundary must be lower than or equal to the upper boundary in the Range header."
            raise RefusalError(416, "PGRST103", "Requested range not satisfiable", details)
        return first, int(last) - first + 1 if last else None
    limit = asked.parameter("limit")
    if limit.startswith("-"):
        details = "Limit should be greater than or equal to zero."
        raise RefusalError(416, "PGRST103", "Requested range not satisfiable", details)
    return max(0, int(asked.parameter("offset", "0"))), int(limit) if limit else None


JSON = {"Content-Type": "application/json; charset=utf-8"}
ONE = {"Content-Range": "0-0/*"}
HTML = {"Content-Type": "text/html"}


def _challenge(status: int) -> dict[str, str]:
    return {**JSON, "WWW-Authenticate": "Bearer"} if status == 401 else JSON


def to_json(value: object) -> bytes:
    """The body of an answer."""
    return json.dumps(value, ensure_ascii=False).encode()
