"""The real dashboard as a process, and a browser without a screen: cookies, addresses, and Streamlit's own socket."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from joserfc import jwt
from joserfc.jwk import OctKey
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.sync.client import ClientConnection, connect

from servers.identity_provider import CLIENT_ID, CLIENT_SECRET

ROOT = Path(__file__).resolve().parents[2]
COOKIE_SECRET = "5f0e9c1b7d3a4826b1c0d9e8f7a6b5c4d3e2f1a0b9c8d7e6"  # noqa: S105  (of servers that tests make)
_PATIENCE_S = 60.0


def log_of(library: Path) -> Path:
    """What the server of a library said."""
    return library.parent / "server" / "server.log"


@dataclass
class Served:
    """A running dashboard, and the connections to it."""

    url: str
    library: Path
    process: subprocess.Popen[bytes]
    http: httpx.Client

    @property
    def log(self) -> Path:
        """What it said."""
        return self.library.parent / "server" / "server.log"

    @property
    def secrets(self) -> Path:
        """The file of secrets that it reads."""
        return self.library.parent / "server" / ".streamlit" / "secrets.toml"

    @property
    def host(self) -> str:
        """Host and port."""
        return self.url.partition("//")[2]


def secrets_of(issuer: str, port: int, allowed: str = "", **changed: str) -> str:
    """A file of secrets with the section [auth] for a provider; `changed` replaces lines, "" leaves one out."""
    lines = {
        "redirect_uri": f"http://localhost:{port}/oauth2callback",
        "cookie_secret": COOKIE_SECRET,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "server_metadata_url": f"{issuer}/.well-known/openid-configuration",
        **changed,
    }
    top = f'FACECLUSTER_ALLOWED = "{allowed}"\n' if allowed else ""
    return f"{top}[auth]\n" + "".join(f'{name} = "{value}"\n' for name, value in lines.items() if value)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(
    library: Path,
    port: int,
    secrets: str = "",
    settings: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
) -> subprocess.Popen[bytes]:
    """Start the server's process, with nothing set but what is given; its words go to `Served.log`."""
    folder = library.parent / "server"  # where it is started, so that its secrets can be changed while it runs
    (folder / ".streamlit").mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / ".streamlit" / "config.toml", folder / ".streamlit")
    settable = ("FACECLUSTER_", "CLUSTER", "PINECONE_", "SUPABASE_", "IDX_", "STREAMLIT_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(settable)}
    environment |= {"FACECLUSTER_LIBRARY": str(library), "PYTHONPATH": str(ROOT), **(settings or {})}
    file = folder / ".streamlit" / "secrets.toml"
    file.write_text(secrets, "utf-8")
    # --secrets.files: a file of this machine must not join in.
    given = ["--server.port", str(port), "--server.headless", "true", "--secrets.files", str(file)]
    with (folder / "server.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", str(ROOT / "app.py"), *given, *options],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        )


@contextmanager
def serving(
    library: Path,
    secrets: str = "",
    settings: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
    port: int | None = None,
) -> Iterator[Served]:
    """A dashboard that ends with the block."""
    port = port or free_port()
    process = start(library, port, secrets, settings, options)
    # No certificates: everything is on this machine, and reading them takes longer than most of what is asked.
    http = httpx.Client(timeout=_PATIENCE_S, verify=False)  # noqa: S501
    served = Served(f"http://localhost:{port}", library, process, http)
    try:
        end = time.monotonic() + _PATIENCE_S
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(served.log.read_text())
            time.sleep(0.1)
        yield served
    finally:
        http.close()
        process.terminate()
        process.wait(20)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/_stcore/health", headers={"Host": f"localhost:{port}"}).is_success
    except httpx.TransportError:
        return False


@dataclass
class Shown:
    """What one run of a page sent: its words, its buttons, and where the browser is sent."""

    words: list[str] = field(default_factory=list)
    widgets: dict[str, str] = field(default_factory=dict)  # label or key to id
    files: dict[str, str] = field(default_factory=dict)  # label of a button that makes a file to the file's id
    redirect: str = ""
    session: str = ""  # Streamlit's own id of it
    raw: bytes = b""

    @property
    def text(self) -> str:
        """All words."""
        return "\n".join(self.words)


class Visitor:
    """One browser: its cookies are those of every window."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.cookies: dict[str, str] = {}

    def get(self, address: str, **headers: str) -> httpx.Response:
        """Ask the dashboard for an address, follow nothing, keep the cookies."""
        return self.ask("GET", address, **headers)

    def ask(self, method: str, address: str, content: bytes | None = None, **headers: str) -> httpx.Response:
        """Ask with any method. Cookies are kept by hand: a test takes them out, swaps and replays them."""
        url = address if address.startswith("http") else self.served.url + address
        is_ours = url.startswith(self.served.url)
        sent = {"Cookie": self.cookie_header()} if is_ours and self.cookies else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.served.http.request(method, url, headers=sent, content=content)
        for line in answer.headers.get_list("set-cookie") if is_ours else ():
            name, _, value = line.partition(";")[0].partition("=")
            if "max-age=0" in line.lower() or not value.strip('"'):
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        self.served.http.cookies.clear()
        return answer

    def cookie_header(self) -> str:
        """What the browser sends."""
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def to_provider(self, provider: str = "default") -> str:
        """Press "Sign in": the address at the provider that the dashboard sends the browser to."""
        payload = {"provider": provider, "exp": int(time.time()) + 100}
        signed = jwt.encode({"alg": "HS256"}, payload, OctKey.import_key(COOKIE_SECRET))
        answer = self.get(f"/auth/login?provider={signed}")
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    def back_from(self, address: str) -> str:
        """The address that the provider sends the browser back to."""
        answer = self.get(address)
        assert "location" in answer.headers, f"{address}: {answer.status_code} {answer.text[:300]}"
        return answer.headers["location"]

    def sign_in(self) -> httpx.Response:
        """All of it; what the callback answered."""
        return self.get(self.back_from(self.to_provider()))

    def is_in(self) -> bool:
        """Whether the dashboard gave this browser a session."""
        return "facecluster_session" in self.cookies

    @contextmanager
    def window(
        self, page: str = "", origin: str | None = None, xsrf: str | None = None, resumed: str = ""
    ) -> Iterator[Window]:
        """Open a page. `resumed` is the id of a session that this window says it goes on with."""
        if "_streamlit_xsrf" not in self.cookies:
            self.get("/_stcore/health")
        url = self.served.url.replace("http", "ws", 1) + "/_stcore/stream"
        told = self.cookies.get("_streamlit_xsrf", "").strip('"') if xsrf is None else xsrf
        with connect(
            url,
            additional_headers={"Cookie": self.cookie_header()},
            origin=self.served.url if origin is None else origin or None,  # type: ignore[arg-type]
            subprotocols=["streamlit", told or "none", *([resumed] if resumed else [])],  # type: ignore[list-item]
            max_size=None,
            proxy=None,
        ) as opened:
            yield Window(opened, page)


class Window:
    """One window: runs of one page."""

    def __init__(self, socket: ClientConnection, page: str) -> None:
        self._socket = socket
        self._page, _, self._query = page.partition("?")
        self.shown = Shown()

    def run(self, *states: WidgetState) -> Shown:
        """Have the page drawn, as on opening it or after something was done."""
        asked = BackMsg()
        asked.rerun_script.page_name = self._page
        asked.rerun_script.query_string = self._query
        asked.rerun_script.widget_states.widgets.extend(states)
        self._socket.send(asked.SerializeToString())
        found, raw = Shown(), []
        while True:
            data = self._socket.recv(_PATIENCE_S)
            assert isinstance(data, bytes)
            message = ForwardMsg.FromString(data)
            raw.append(data)
            kind = message.WhichOneof("type")
            if kind == "delta":
                _take(message.delta.new_element, found)
            elif kind == "new_session":
                found.session = message.new_session.initialize.session_id
            elif kind == "auth_redirect":
                found.redirect = message.auth_redirect.url
            elif kind == "script_finished" and message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                found.raw = b"".join(raw)
                self.shown = found
                return found

    def download(self, label: str) -> str:
        """Have a file made by its button's label; its address."""
        asked = BackMsg()
        asked.backend_operation_request.request_id = "file"
        asked.backend_operation_request.session_id = self.shown.session
        asked.backend_operation_request.deferred_file.file_id = self.shown.files[label]
        self._socket.send(asked.SerializeToString())
        while True:
            data = self._socket.recv(_PATIENCE_S)
            assert isinstance(data, bytes)
            message = ForwardMsg.FromString(data)
            if message.WhichOneof("type") == "backend_operation_response":
                found = re.search(r"/media/[0-9a-f]+\.\w+", str(message))
                assert found is not None, str(message)
                return found[0]

    def press(self, label: str) -> Shown:
        """Press a button by its label."""
        return self.run(WidgetState(id=self.shown.widgets[label], trigger_value=True))

    def type(self, key: str, text: str) -> Shown:
        """Leave a text in a field."""
        return self.run(WidgetState(id=self.shown.widgets[key], string_value=text))


def _take(element: Any, found: Shown) -> None:
    kind = element.WhichOneof("type")
    if kind is None:
        return
    it = getattr(element, kind)
    for name in ("body", "label", "code_text"):
        text = getattr(it, name, "")
        if isinstance(text, str) and text:
            found.words.append(text)
    if getattr(it, "id", "") and getattr(it, "label", ""):
        found.widgets[it.label] = it.id
    if kind == "download_button":
        found.files[it.label] = it.deferred_file_id
    if kind == "exception":
        found.words.append(f"EXCEPTION {it.type} {it.message}")
