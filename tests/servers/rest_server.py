"""What stands before a Supabase project's database, on loopback, for the real supabase-py.

It answers as PostgREST and the gateway document it: functions found by the names of their arguments, one request one
transaction, the role and claims of the token, statement timeouts by role, the cap on rows, status codes by SQLSTATE.
It is ours, so a test that passes here shows how supabase-py and the functions behave, never how PostgREST does.
"""

from __future__ import annotations

import itertools
import json
import queue
import re
import secrets
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

import jwt
import psycopg
from psycopg import sql

from servers.faults import Fault, Faults
from servers.postgres_server import Database
from servers.rest_queries import HTML, JSON, Asked, RefusalError, Reply, call_function, to_json, use_table

MAX_ROWS = 1000
MAX_URL = 8 * 1024  # bytes; a gateway refuses longer request lines
POOL = 10  # connections, PostgREST's default

# SQLSTATE, or its beginning, to HTTP status, from "Errors" in PostgREST's reference. The longest match counts.
STATUS_OF = {
    **dict.fromkeys(("08", "53"), 503),
    **dict.fromkeys(("0L", "0P", "28", "42501"), 403),
    **dict.fromkeys(("23503", "23505"), 409),
    "25006": 405,
    **dict.fromkeys(("09", "25", "2D", "38", "39", "3B", "40", "53400", "54", "55", "57", "58"), 500),
    **dict.fromkeys(("F0", "HV", "P0", "XX", "42P17"), 500),
    **dict.fromkeys(("P0001",), 400),
    **dict.fromkeys(("42883", "42P01"), 404),
}


@dataclass(frozen=True)
class Request:
    """What somebody asked, and how it ended."""

    method: str
    path: str
    query: str
    n_bytes: int  # of the body
    status: int  # 0: no answer was sent
    seconds: float


@dataclass(frozen=True)
class Caller:
    """Who asks: the claims of the token, and the role that they ask for."""

    role: str
    claims: Mapping[str, object]


class RestServer:
    """The REST side of a project, a thread on 127.0.0.1.

    Attributes
    ----------
    url : str
        What `supabase.create_client` takes.
    service_key, publishable_key : str
        Opaque keys of the new kind; the gateway exchanges them for the roles service_role and anon.
    requests : list[Request]
        Everything that was asked.
    faults : Faults
        What is to go wrong; paths begin with "/rest/v1/".
    """

    def __init__(self, database: Database, *, max_rows: int = MAX_ROWS) -> None:
        self.database = database
        self.max_rows = max_rows
        self.service_key = f"sb_secret_{secrets.token_urlsafe(12)}"
        self.publishable_key = f"sb_publishable_{secrets.token_urlsafe(12)}"
        self.jwt_secret = secrets.token_hex(32)
        self.requests: list[Request] = []
        self.faults = Faults()
        self._pool = _Pool(database)
        self._http = _Listener(("127.0.0.1", 0), _Handler)
        self._http.rest = self
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self) -> RestServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Close the door and every connection."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        self._pool.close()

    def token(self, user: str | None, expires_in: float = 3600, **claims: object) -> str:
        """What a signed-in user brings; `None` is a token without a subject, further claims replace the usual ones."""
        now = time.time()
        payload: dict[str, object] = {"role": "authenticated", "aud": "authenticated", "iat": int(now)}
        payload |= {"exp": int(now + expires_in)} | ({} if user is None else {"sub": user}) | claims
        return jwt.encode(payload, self.jwt_secret, algorithm="HS256")

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Do what was asked."""
        if len(target) > MAX_URL:
            return Reply(414, b"<html><head><title>414 Request-URI Too Large</title></head></html>", HTML)
        url = urlsplit(target)
        try:
            caller = self._caller(headers)
            route, _, name = url.path.removeprefix("/rest/v1/").rpartition("/")
            if not url.path.startswith("/rest/v1/") or route not in ("", "rpc"):
                raise RefusalError(404, "PGRST125", "Invalid path specified in request URL")
            asked = Asked(method, name, parse_qsl(url.query, keep_blank_values=True), headers, body)
            with self._pool.transaction(caller, url.path, asked) as db:
                do = call_function if route == "rpc" else use_table
                return do(db, asked, self.max_rows)
        except RefusalError as refusal:
            return refusal.reply
        except psycopg.Error as exc:
            return _as_postgrest_says(exc, caller)

    def _caller(self, headers: Mapping[str, str]) -> Caller:
        key = headers.get("apikey", "")
        given = re.sub("^bearer ", "", headers.get("authorization", ""), flags=re.IGNORECASE)
        roles = {self.service_key: "service_role", self.publishable_key: "anon"}
        if not key:
            hint = "No `apikey` request header or url param was found."
            raise RefusalError(401, None, "No API key found in request", hint=hint)
        if key not in roles:
            hint = "Double check your Supabase `anon` or `service_role` API key."
            raise RefusalError(401, None, "Invalid API key", hint=hint)
        if given in ("", key):
            return Caller(roles[key], {"role": roles[key]})
        claims = self._verified(given)
        return Caller(str(claims.get("role", "anon")), {"role": "anon", **claims})

    def _verified(self, token: str) -> Mapping[str, object]:
        if token.count(".") != 2:
            raise RefusalError(401, "PGRST301", f"Expected 3 parts in JWT; got {token.count('.') + 1}")
        try:
            options: Any = {"verify_aud": False, "verify_sub": False, "verify_iat": False}
            # PostgREST allows clocks to differ by 30 seconds.
            return jwt.decode(token, self.jwt_secret, algorithms=["HS256"], options=options, leeway=30)
        except jwt.ExpiredSignatureError as exc:
            raise RefusalError(401, "PGRST303", "JWT expired") from exc
        except jwt.ImmatureSignatureError as exc:
            raise RefusalError(401, "PGRST303", "JWT not yet valid") from exc
        except jwt.PyJWTError as exc:
            raise RefusalError(401, "PGRST301", "No suitable key or wrong key type", str(exc)) from exc


def _as_postgrest_says(exc: psycopg.Error, caller: Caller) -> Reply:
    if exc.sqlstate is None:  # the connection went away
        refusal = RefusalError(503, "PGRST001", "Database client error. Retrying the connection.", str(exc))
        return refusal.reply
    code = exc.sqlstate
    if re.fullmatch(r"PT\d{3}", code):
        status = int(code[2:])
    else:
        status = next((STATUS_OF[code[:n]] for n in range(5, 1, -1) if code[:n] in STATUS_OF), 400)
    if code == "42501" and caller.role == "anon":
        status = 401
    d = exc.diag
    return RefusalError(status, code, d.message_primary or "", d.message_detail, d.message_hint).reply


class _Pool:
    """Connections of the authenticator, used again; a broken one is dropped."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._idle: queue.LifoQueue[psycopg.Connection] = queue.LifoQueue()
        self._places = threading.Semaphore(POOL)
        self._is_closed = False
        self._settings = self._settings_of_roles()

    def _settings_of_roles(self) -> dict[str, dict[str, str]]:
        with self._database.connect() as db:
            rows = db.execute(
                "select rolname, setconfig from pg_db_role_setting join pg_roles r on r.oid = setrole"
            ).fetchall()
        return {role: dict(setting.split("=", 1) for setting in settings) for role, settings in rows}

    @contextmanager
    def transaction(self, caller: Caller, path: str, asked: Asked) -> Iterator[psycopg.Connection]:
        """One transaction as this caller, as PostgREST begins it."""
        with self._places:
            db = self._take()
            try:
                self._begin(db, caller, path, asked)
                yield db
                db.commit()
            except psycopg.Error:
                db.close() if db.broken else db.rollback()
                raise
            except RefusalError:
                db.rollback()
                raise
            finally:
                if self._is_closed:
                    db.close()
                elif not db.closed:
                    self._idle.put(db)

    def _take(self) -> psycopg.Connection:
        with_life = (db for db in iter(self._next_idle, None) if not db.closed)
        return next(with_life, None) or self._database.connect("authenticator")

    def _next_idle(self) -> psycopg.Connection | None:
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return None

    def _begin(self, db: psycopg.Connection, caller: Caller, path: str, asked: Asked) -> None:
        settings = {
            **self._settings.get(caller.role, {}),
            "request.jwt.claims": json.dumps(caller.claims),
            "request.method": asked.method,
            "request.path": path,
            "request.headers": json.dumps(dict(asked.headers)),
            "search_path": '"public", "extensions"',
            "role": caller.role,
        }
        calls = sql.SQL(", ").join([sql.SQL("set_config(%s, %s, true)")] * len(settings))
        db.execute(sql.SQL("select ") + calls, list(itertools.chain.from_iterable(settings.items())))

    def close(self) -> None:
        self._is_closed = True  # a request that is still on its way closes what it holds
        while (db := self._next_idle()) is not None:
            db.close()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    rest: RestServer

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener
    allowed: ClassVar = ("GET", "HEAD", "POST", "PATCH", "PUT", "DELETE")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_") and name[3:] in self.allowed:
            return self._serve
        raise AttributeError(name)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: `RestServer.requests` has it all."""

    def _serve(self) -> None:
        started = time.monotonic()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        fault = self.server.rest.faults.take(self.path)
        reply = self._answer(fault, headers, body)
        url = urlsplit(self.path)
        status = 0 if reply is None else reply.status
        took = time.monotonic() - started
        # Before the answer: whoever has one finds the request on record.
        self.server.rest.requests.append(Request(self.command, url.path, url.query, len(body), status, took))
        if reply is None:
            self._hang_up()
        else:
            self._send(reply, is_short=fault is not None and fault.kind == "short")

    def _answer(self, fault: Fault | None, headers: Mapping[str, str], body: bytes) -> Reply | None:
        """What is sent; None for nothing."""
        kind = fault.kind if fault else ""
        if fault and kind == "status":
            words = fault.body if fault.body is not None else to_json({"message": f"scripted status {fault.code}"})
            return Reply(fault.code, words, {**JSON, **fault.headers})
        if kind == "reset":
            return None
        if fault and kind == "stall":
            time.sleep(fault.seconds)
        reply = self.server.rest.answer(self.command, self.path, headers, body)
        if kind == "truncated":
            return Reply(reply.status, reply.body[: len(reply.body) // 2], reply.headers)
        return None if kind == "lost" else reply

    def _send(self, reply: Reply, is_short: bool) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != 204:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body[: len(reply.body) // 2] if is_short else reply.body)
        if is_short:
            self._hang_up()

    def _hang_up(self) -> None:
        """Reset the connection rather than close it in good order."""
        self.close_connection = True
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.shutdown(socket.SHUT_RDWR)
