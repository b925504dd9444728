"""R18: no server is started that leaves a door open, and without sign-in only this machine is answered."""

from __future__ import annotations

import random
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from servers import dashboard_client
from servers.dashboard_client import COOKIE_SECRET, Served, Visitor, free_port, secrets_of
from websockets.exceptions import InvalidStatus

from trust.measure import Found, Measure, cases


@dataclass(frozen=True)
class Config:
    """A configuration that must be refused at the start, and the word by which the reason is known."""

    reason: str
    options: tuple[str, ...] = ()
    changed: tuple[tuple[str, str], ...] = ()
    allowed: str = "anna@example.org"
    secrets: str = ""


REFUSED = {
    "CORS off": Config("server.enableCORS", ("--server.enableCORS", "false")),
    "XSRF off": Config("server.enableXsrfProtection", ("--server.enableXsrfProtection", "false")),
    "both off": Config("server.enableCORS", ("--server.enableCORS", "false", "--server.enableXsrfProtection", "false")),
    "headers say who it is": Config("trustedUserHeaders", ("--server.trustedUserHeaders", '{"X-User": "email"}')),
    "agents may enter": Config("enableAgentApi", ("--server.enableAgentApi", "true")),
    "every origin": Config("corsAllowedOrigins", ("--server.corsAllowedOrigins", "*")),
    "no cookie secret": Config("cookie_secret", changed=(("cookie_secret", ""),)),
    "short cookie secret": Config("shorter than 32", changed=(("cookie_secret", COOKIE_SECRET[:31]),)),
    "example of a secret": Config("example", changed=(("cookie_secret", "your-very-long-random-cookie-secret-here"),)),
    "one letter, many times": Config("example", changed=(("cookie_secret", "a" * 64),)),
    "redirect in the open": Config("https", changed=(("redirect_uri", "http://faces.example/oauth2callback"),)),
    "redirect to a look-alike": Config(
        "https", changed=(("redirect_uri", "http://localhost.evil.example/oauth2callback"),)
    ),
    "redirect elsewhere": Config("oauth2callback", changed=(("redirect_uri", "https://faces.example/"),)),
    "no redirect": Config("redirect_uri", changed=(("redirect_uri", ""),)),
    "no provider": Config("provider", changed=(("client_id", ""),)),
    "no client secret": Config("client_secret", changed=(("client_secret", ""),)),
    "provider in the open": Config(
        "server_metadata_url", changed=(("server_metadata_url", "http://id.example/.well-known/openid-configuration"),)
    ),
    "nobody on the list": Config("FACECLUSTER_ALLOWED", allowed=""),
    "a list that says nothing": Config("FACECLUSTER_ALLOWED", allowed="anna"),
    "secrets that cannot be read": Config("not valid TOML", secrets="[auth\ncookie_secret = "),
}


def refused_starts(seed: int, seconds: float) -> Found:
    """R18: the server is started with each bad configuration, and must end with one sentence."""
    found = Found()
    names = sorted(REFUSED)
    random.Random(seed).shuffle(names)
    with tempfile.TemporaryDirectory() as folder:
        for i in cases(seconds, len(names)):
            found.n += 1
            why = _starts(REFUSED[names[i]], Path(folder) / str(i) / "library")
            if why:
                found.failures.append(f"{names[i]}: {why}")
    return found


def _starts(config: Config, library: Path) -> str:
    port = free_port()
    secrets = config.secrets or secrets_of("http://127.0.0.1:9", port, config.allowed, **dict(config.changed))
    process = dashboard_client.start(library, port, secrets, options=config.options)
    try:
        code = process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return "it was started"
    said = dashboard_client.log_of(library).read_text("utf-8")
    lines = [line for line in said.splitlines() if line.startswith("facecluster did not start.")]
    if code == 0 or len(lines) != 1 or config.reason not in lines[0] or "Traceback" in said:
        return f"exit {code}: {said[-300:]!r}"
    return f"the secret is in the log: {said!r}" if COOKIE_SECRET[:20] in said else ""


def other_hosts(seed: int, seconds: float) -> Found:
    """R18: without sign-in, the server answers this machine only, by HTTP and by socket."""
    del seed, seconds
    found = Found()
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "library"
        with dashboard_client.serving(library) as served:
            for name, why in _tried_hosts(served):
                found.n += 1
                found.failures += [f"{name}: {why}"] if why else []
        opened = {"FACECLUSTER_OPEN_TO_THE_NETWORK_WITHOUT_SIGN_IN": "true"}
        with dashboard_client.serving(library, settings=opened) as served:
            found.n += 1
            if Visitor(served).get("/", Host="faces.example").status_code != 200:
                found.failures.append("switched on knowingly, and it still refuses")
    return found


_ELSEWHERE = (
    "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "0.0.0.0", "192.168.0.7",  # noqa: S104
    "localhost@evil.example", "169.254.169.254", "[fe80::1]",
)  # fmt: skip


def _tried_hosts(served: Served) -> Iterator[tuple[str, str]]:
    visitor = Visitor(served)
    port = served.url.rpartition(":")[2]
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}", "faces.localhost"):
        status = visitor.get("/", Host=host).status_code
        yield host, "" if status == 200 else f"refused here with {status}"
    for host in (*_ELSEWHERE, f"evil.example:{port}"):
        for path in ("/", "/people", "/crops/x/y.jpg", "/media/x.png", "/_stcore/metrics", "/_stcore/health"):
            answer = visitor.get(path, Host=host)
            is_refused = answer.status_code in (400, 403) and "faces" not in answer.headers.get("set-cookie", "")
            yield f"{host} {path}", "" if is_refused else f"answered {answer.status_code}"
    for told in ("203.0.113.9", "203.0.113.9, 127.0.0.1"):  # a proxy beside the server hands on who asked
        answer = visitor.get("/", X_Forwarded_For=told)
        yield f"forwarded for {told}", "" if answer.status_code == 403 else f"answered {answer.status_code}"
    for origin in ("https://evil.example", "http://localhost:1", "null", f"http://127.0.0.1:{port}"):
        try:
            with visitor.window(origin=origin):
                yield f"socket from {origin}", "was opened"
        except InvalidStatus as exc:
            yield f"socket from {origin}", "" if exc.response.status_code == 403 else str(exc)


MEASURES = [
    Measure(
        "R18a",
        "a configuration that leaves a door open is refused at the start, in one sentence",
        "configurations",
        len(REFUSED),
        0.0,
        refused_starts,
    ),
    Measure(
        "R18b",
        "without sign-in, only this machine is answered, and no page of another origin",
        "requests",
        70,
        0.0,
        other_hosts,
    ),
]
