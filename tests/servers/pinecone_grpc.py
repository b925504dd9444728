"""The gRPC door of the loopback Pinecone: the same records, limits and failures, for the client's `grpc=True`.

Each call is turned into the request that the other door answers, and the answer into a message: by the stubs that
Pinecone generated into its older client (see `oracles`), so a process of its own does it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from servers import oracles
from servers.pinecone_server import PineconeServer

METHODS = {  # of gRPC: how the other door calls it
    "Upsert": ("POST", "/vectors/upsert"),
    "Delete": ("POST", "/vectors/delete"),
    "Fetch": ("GET", "/vectors/fetch"),
    "FetchByMetadata": ("POST", "/vectors/fetch_by_metadata"),
    "List": ("GET", "/vectors/list"),
    "Query": ("POST", "/query"),
    "Update": ("POST", "/vectors/update"),
    "DescribeIndexStats": ("POST", "/describe_index_stats"),
}


class GrpcDoor:
    """Opens the door while it is entered; the index then names it as its host.

    Raises
    ------
    oracles.OracleError
        If the stubs cannot be had.
    """

    def __init__(self, server: PineconeServer) -> None:
        self.server = server

    def __enter__(self) -> Self:
        here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        environment = oracles.environment()
        environment["PYTHONPATH"] += os.pathsep + here
        command = [sys.executable, "-m", "servers.pinecone_grpc", self.server.url]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()
        if not port:
            raise AssertionError(f"the gRPC door did not open: it ended with {self._process.wait()}")
        self.url = self.server.host = f"http://localhost:{port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.host = self.server.url
        self._process.terminate()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def serve(url: str) -> None:
    """Answer until the process is ended; the port is printed first."""
    import grpc  # type: ignore[import-untyped]
    import urllib3
    from google.protobuf import json_format  # type: ignore[import-untyped]
    from pinecone.core.grpc.protos import db_data_2025_10_pb2 as messages  # type: ignore[import-not-found]
    from pinecone.core.grpc.protos import db_data_2025_10_pb2_grpc as stubs

    http = urllib3.PoolManager(maxsize=16, block=True, retries=False)
    codes = {code.value[0]: code for code in grpc.StatusCode}

    def forwarded(name: str, request: Any, context: Any) -> Any:
        method, path = METHODS[name]
        asked = json_format.MessageToDict(request)
        headers = {"Api-Key": dict(context.invocation_metadata()).get("api-key", "")}
        try:
            if method == "GET":
                pairs = [(k, each) for k, v in asked.items() for each in (v if isinstance(v, list) else [v])]
                query = "&".join(f"{key}={quote(str(value), safe='')}" for key, value in pairs)
                said = http.request("GET", f"{url}{path}?{query}", headers=headers)
            else:
                said = http.request("POST", url + path, json=asked, headers=headers)
        except urllib3.exceptions.HTTPError as exc:
            context.abort(grpc.StatusCode.UNAVAILABLE, str(exc))
        if said.status != 200:
            refused = said.json() if said.data.startswith(b"{") else {"code": 16, "message": said.data.decode()}
            context.abort(codes[refused["code"]], refused["message"])
        return message(name, said.json())

    def message(name: str, answer: dict[str, Any]) -> Any:
        """The answer as a message; long lists of numbers go in at once, which is what takes the time."""
        found = answer.get("vectors", {})
        values = {id_: vector.pop("values") for id_, vector in found.items()} if isinstance(found, dict) else {}
        made = json_format.ParseDict(answer, getattr(messages, f"{name}Response")())
        for id_, numbers in values.items():
            made.vectors[id_].values.extend(numbers)
        return made

    def handler(name: str) -> Callable[[Any, Any, Any], Any]:
        return lambda servicer, request, context: forwarded(name, request, context)

    service = type("Service", (stubs.VectorServiceServicer,), {name: handler(name) for name in METHODS})
    server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.max_send_message_length", -1)])
    stubs.add_VectorServiceServicer_to_server(service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    server.wait_for_termination()


if __name__ == "__main__":
    serve(sys.argv[1])
