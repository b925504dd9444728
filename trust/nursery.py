"""The warm process of `trust.disk`: for each line it reads, a fork of itself does one act and says how it ended."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

import httpx

from facecluster.errors import FaceClusterError
from trust.acts import Acts
from trust.disk import CHANGING_REQUEST, KILL, REQUEST, TEAR, End, arm, disarm

_CHANGES = re.compile(r"/fc_(begin_run|stage|know_faces|apply|discard_run|prune)$|/vectors/(upsert|delete)$")


def main() -> None:
    acts = Acts(Path(sys.argv[1]))
    for line in sys.stdin:
        asked = json.loads(line)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            try:
                os.write(write, json.dumps(asdict(tried(acts, asked))).encode())
            finally:
                os._exit(0)
        os.close(write)
        if asked["seconds"]:
            time.sleep(asked["seconds"])
            os.kill(child, signal.SIGKILL)
        with os.fdopen(read, "rb") as pipe:
            said = pipe.read()
        os.waitpid(child, 0)
        print(said.decode() or json.dumps(asdict(End(is_killed=True))), flush=True)


def tried(acts: Acts, asked: dict[str, object]) -> End:
    """Do the act under the conditions that were asked for."""
    library, error = str(asked["library"]), None
    conditions = [int(str(asked[name])) for name in ("kinds", "how", "at", "number")]
    with ExitStack() as stack:
        record = stack.enter_context(Path(str(asked["record"])).open("ab")) if asked["record"] else None
        arm(library, *conditions, record)
        is_counted = conditions[0] in (REQUEST, CHANGING_REQUEST)
        sent = stack.enter_context(requests_counted(*conditions[:3])) if is_counted else None
        try:
            acts.do(str(asked["act"]), Path(library))
        except Exception as exc:  # noqa: BLE001  whatever it is, it is what is looked for
            error = exc
        n, hit = disarm()
    n = sent[0] if sent is not None else n
    if error is None:
        return End(False, n, hit=hit)
    return End(False, n, type(error).__name__, str(error), isinstance(error, FaceClusterError), hit)


@contextmanager
def requests_counted(kinds: int, how: int, at: int) -> Iterator[list[int]]:
    """Count requests, and die before that of this number is sent (KILL) or when its answer has come (TEAR)."""
    sent, send = [0], httpx.HTTPTransport.handle_request

    def counted(transport: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        counts = kinds == REQUEST or _CHANGES.search(request.url.path) is not None
        is_it = counts and sent[0] == at
        sent[0] += counts
        if is_it and how == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        response = send(transport, request)
        if is_it and how == TEAR:
            response.read()
            os.kill(os.getpid(), signal.SIGKILL)
        return response

    httpx.HTTPTransport.handle_request = counted  # type: ignore[method-assign]
    try:
        yield sent
    finally:
        httpx.HTTPTransport.handle_request = send  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
