"""A Pinecone index behind a port of this machine, which the real client talks to; it fails by script."""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

from servers import faults
from servers.faults import Faults
from servers.pinecone_index import Json, Metric, PineconeIndex, Record, RefusedError

__all__ = ["Fault", "Faults", "PineconeServer", "Record", "Request"]

MAX_URL = 60 * 2**10  # undocumented: what the proxy before the real service takes unless told otherwise

# How the two planes name a status: by the number of gRPC, and in words.
CODES = {401: 16, 403: 7, 404: 5, 429: 8, 503: 14}
WORDS = {401: "UNAUTHENTICATED", 403: "QUOTA_EXCEEDED", 404: "NOT_FOUND", 429: "TOO_MANY_REQUESTS"}


class Fault(faults.Fault):
    """What goes wrong; with what only this service says."""

    @classmethod
    def quota(cls, status: Literal[429, 403] = 429) -> Self:
        """The month's read units are spent (429), or the plan's storage is (403); waiting does not help."""
        message = {
            429: "Request failed. You've reached your read unit limit for the current month. "
            "To continue reading data, upgrade your plan.",
            403: "Request failed. You've reached the max storage allowed for project local. "
            "To update or upsert new data, delete records or upgrade your plan.",
        }[status]
        return cls.status(status, orjson.dumps({"code": CODES[status], "message": message, "details": []}))


NO_FAULT = Fault.stall(0.0)


@dataclass(frozen=True)
class Request:
    """One request as it was answered; status 0 where the connection was cut instead."""

    method: str
    path: str
    query: dict[str, list[str]]
    size: int
    status: int


class PineconeServer(PineconeIndex):
    """One index at `url`, which answers for the control plane too.

    Parameters
    ----------
    dimension, metric, name
        Of the index.
    pod : bool
        Whether it is a pod index, which cannot list.
    documents : bool
        Whether it was made with a schema of its own, as the SDK makes them from version 10 on: such an index is for the
        documents API, refuses vectors, and every read of them finds nothing.
    api_key : str
        The only key that is let in.

    Attributes
    ----------
    namespaces : dict of dict of Record
        What is stored; the default namespace is "__default__" here, whether it is asked for so or as "".
    host : str
        Where the index says that its data are: `url`, unless a test puts another door before it.
    requests : list of Request
        What was asked, in order of the answers.
    stats_lag : int
        How many writes behind the counts are; each request that writes is one, and so is each `put`.
    faults : Faults
        What goes wrong; a path may go on with its query: "/vectors/fetch?ids=a".
    """

    def __init__(
        self,
        *,
        dimension: int = 512,
        metric: Metric = "cosine",
        pod: bool = False,
        documents: bool = False,
        name: str = "faces-arcface",
        api_key: str = "local-key",
    ) -> None:
        super().__init__(dimension, metric, pod, documents)
        self.name = name
        self.api_key = api_key
        self.requests: list[Request] = []
        self.faults = Faults()
        self.closing = threading.Event()
        self._listener = _Listener(self)
        self.url = self.host = f"http://localhost:{self._listener.server_address[1]}"
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.01,), name="pinecone")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._listener.shutdown()
        self._thread.join()
        self._listener.hang_up()
        self._listener.server_close()
        if self._listener.broken and error is None:
            raise AssertionError("the server itself failed") from self._listener.broken[0]

    def answer(self, method: str, path: str, query: Mapping[str, list[str]], body: bytes) -> bytes:
        """The JSON for one request to either plane."""
        if path.startswith("/indexes"):
            return orjson.dumps(self._control(method, unquote(path.removeprefix("/indexes").strip("/"))))
        return super().answer(method, path, query, body)

    def _control(self, method: str, name: str) -> Json:
        if method != "GET" or name not in ("", self.name):
            raise RefusedError(f"Resource {name} not found", 404)
        managed = {"deployment_type": "managed", "cloud": "aws", "region": "us-east-1"}
        pod = {"deployment_type": "pod", "environment": "local", "pod_type": "p1.x1", "replicas": 1, "shards": 1}
        vectors = {"type": "dense_vector", "dimension": self.dimension, "metric": self.metric}
        index = {
            "name": self.name,
            "host": self.host,
            "status": {"ready": True, "state": "Ready"},
            "deletion_protection": "disabled",
            "deployment": pod if self.pod else managed,
            "schema": {"fields": {"embedding" if self.documents else "_values": vectors}},
        }
        return index if name else {"indexes": [index]}


class _Listener(ThreadingHTTPServer):
    """Listens, and can hang up on every client."""

    request_queue_size = 128
    daemon_threads = False  # waited for at the end, so that no socket outlives its test

    def __init__(self, index: PineconeServer) -> None:
        self.index = index
        self.broken: list[BaseException] = []
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # gone already

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 (the standard library's)
        """Keep what is our own fault; a client that went away is not."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            self.broken.append(error)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave together
    server: _Listener

    def log_message(self, *arguments: object) -> None:
        """Kept in `PineconeServer.requests` instead."""

    def do_GET(self) -> None:
        index, parts = self.server.index, urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault, query = index.faults.take(self.path) or NO_FAULT, parse_qs(parts.query)
        index.closing.wait(fault.seconds)
        status, said, headers = 0, b"", dict(fault.headers)
        try:
            if fault.kind == "status":
                raise RefusedError(HTTPStatus(fault.code).phrase, fault.code, CODES.get(fault.code, 13))
            if fault.kind != "reset":
                status, said = 200, self._answered(parts.path, query, body)
        except RefusedError as exc:
            status, (said, headers["Content-Type"]) = exc.status, _worded(exc, parts.path)
            said = fault.body or said
        status = 0 if fault.kind == "lost" else status
        index.requests.append(Request(self.command, parts.path, query, len(body), status))
        if status:
            self._say(status, said, headers, fault.kind)
        else:
            self._cut()

    do_POST = do_DELETE = do_GET  # noqa: N815 (the standard library's)

    def _answered(self, path: str, query: Mapping[str, list[str]], body: bytes) -> bytes:
        index = self.server.index
        if self.headers.get("Api-Key") != index.api_key:
            raise RefusedError("Invalid API Key", 401, CODES[401])
        if len(self.path) > MAX_URL:
            raise RefusedError(f"the address is of {len(self.path)} characters, more than {MAX_URL}", 414)
        return index.answer(self.command, path, query, body)

    def _say(self, status: int, body: bytes, headers: Mapping[str, str], kind: str) -> None:
        sent = body[: len(body) // 2] if kind in ("truncated", "short") else body
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | dict(headers)).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body if kind == "short" else sent)))
        self.end_headers()
        self.wfile.write(sent)
        self.close_connection = self.close_connection or kind == "short"

    def _cut(self) -> None:
        """Reset, not closed: what a client sees when a machine between goes away."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())
        self.close_connection = True


def _worded(refused: RefusedError, path: str) -> tuple[bytes, str]:
    """Body of a refusal and its kind, each plane in its own words; a wrong key is answered in plain text."""
    if path.startswith("/indexes"):
        error = {"code": WORDS.get(refused.status, "INTERNAL"), "message": str(refused)}
        return orjson.dumps({"error": error, "status": refused.status}), "application/json"
    if refused.status == 401:
        return str(refused).encode(), "text/plain"
    return orjson.dumps({"code": refused.code, "message": str(refused), "details": []}), "application/json"
