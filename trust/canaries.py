"""R23: keys, tokens and passwords of an installation stand in no message, page, log, export or file of ours."""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from servers.faults import Fault
from servers.pinecone_server import PineconeServer
from small_library import faces, make_library, write_faces

from trust.bad_inputs import World
from trust.measure import ROOT, Found, Measure, cases
from trust.pages import dashboard, protos

_KEYS = ("PINECONE_API_KEY", "SUPABASE_SERVICE_KEY", "SUPABASE_PUBLISHABLE_KEY")
# What belongs to others and lies in the same environment, or in the same file of secrets.
_OTHERS = (
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "OPENAI_API_KEY", "PGPASSWORD", "CLOUDINARY_URL", "GITHUB_TOKEN",
    "STREAMLIT_SERVER_COOKIE_SECRET", "DASK_TOKEN",
)  # fmt: skip
_IN_FILE = ("cookie_secret", "client_secret", "other_secret", "db_password", "token")
_IN_ADDRESSES = ("SUPABASE_URL", "PINECONE_HOST", "FACECLUSTER_SHARED_FOLDER", "FACECLUSTER_SCHEDULER")


@dataclass
class Canaries:
    """Twenty secrets, each with its place, and where they were seen."""

    of: dict[str, str] = field(
        default_factory=lambda: {
            name: f"canary{secrets.token_hex(12)}" for name in (*_KEYS, *_OTHERS, *_IN_FILE, *_IN_ADDRESSES)
        }
    )
    seen: list[str] = field(default_factory=list)

    def look(self, where: str, text: str) -> None:
        """Note which of them stand in a text."""
        self.seen += [f"{where} holds {name}" for name, secret in self.of.items() if secret in text]

    def look_in_files(self, where: str, folder: Path, but: Path) -> None:
        """The same of every file below a folder."""
        for path in folder.rglob("*"):
            if path.is_file() and path != but:
                self.look(f"{where}: {path.name}", path.read_bytes().decode("latin-1"))

    def environment(self, **given: str) -> dict[str, str]:
        """Keys as settings, those of others, and what is given; a secret within it by its name in braces."""
        found = {name: self.of[name] for name in (*_KEYS, *_OTHERS)}
        return found | {name: value.format(**self.of) for name, value in given.items()}

    def file(self) -> str:
        """A `secrets.toml` with the rest."""
        lines = ["[auth]", *(f'{name} = "{self.of[name]}"' for name in _IN_FILE)]
        return "\n".join(lines)


@contextlib.contextmanager
def _in_folder(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _echoing(path: str, script: PineconeServer, key: str) -> None:
    """A service that repeats the key that it was sent, in each way to refuse."""
    for status in (401, 403, 400, 404, 500, 429, 302, 200):
        body = json.dumps(
            {"message": f"Invalid key {key}", "code": str(status), "error": {"message": key}, "hint": key}
        )
        script.faults.add(path, Fault.status(status, body.encode()), times=1)


_COMMANDS = (["people"], ["status"], ["doctor"], ["fetch"], ["recluster"], ["export", "--csv"], ["history"], ["runs"])


def paths(folder: Path, canaries: Canaries) -> list[tuple[str, Callable[[], None]]]:
    """Ways to fail, each of which looks for itself at what it said."""
    service = make_library(folder)
    w = World(folder, service)
    nowhere = "http://u:{%s}@127.0.0.1:1"

    def cli(where: str, command: list[str], given: Mapping[str, str]) -> Callable[[], None]:
        def do() -> None:
            with _in_folder(folder):
                try:
                    _, text = w.call(*command, **canaries.environment(**given))
                except Exception as exc:  # noqa: BLE001  what was no error of ours is printed whole
                    text = f"{type(exc).__name__}: {exc}"
                canaries.look(f"{where}, {command[0]}", text)

        return do

    embedded = {"PINECONE_API_KEY": "", "SUPABASE_URL": ""}
    settings: dict[str, Mapping[str, str]] = {
        "an embedded library": embedded,
        "a scheduler that is not there": embedded
        | {"FACECLUSTER_SCHEDULER": "tls://u:{FACECLUSTER_SCHEDULER}@127.0.0.1:1"}
        | {"FACECLUSTER_SHARED_FOLDER": "s3://k:{FACECLUSTER_SHARED_FOLDER}@bucket/x"},
        "Supabase that is not there": {"PINECONE_API_KEY": "", "SUPABASE_URL": nowhere % "SUPABASE_URL"},
        "Pinecone that is not there": {"SUPABASE_URL": "", "PINECONE_HOST": nowhere % "PINECONE_HOST"},
        "a key with a line end": {
            "SUPABASE_URL": "http://127.0.0.1:1",
            "SUPABASE_SERVICE_KEY": "{SUPABASE_SERVICE_KEY}\n",
        },
        "a setting that is wrong": embedded
        | {"CLUSTER_EPSILON": "x", "SUPABASE_SERVICE_KEY": "{SUPABASE_SERVICE_KEY}"},
        "an address that is none": {"PINECONE_API_KEY": "", "SUPABASE_URL": "ftp://u:{SUPABASE_URL}@x"},
    }
    patient = ("Supabase that is not there", "Pinecone that is not there")
    found = [
        (name, cli(name, command, given))
        for name, given in settings.items()
        for command in (_COMMANDS[2:3] if name in patient else _COMMANDS)  # the doctor waits a few seconds only
    ]
    found += [(f"an echo of {name}", lambda name=name: _echoes(w, canaries, name)) for name in ("Pinecone", "Supabase")]
    found += [("pages", lambda: _pages(w, canaries, embedded)), ("a job", lambda: _job(w, canaries, embedded))]
    return [*found, ("a file of secrets that is broken", lambda: _broken_file(w, canaries, cli, embedded))]


def _echoes(w: World, canaries: Canaries, name: str) -> None:
    with PineconeServer(dimension=16) as server:  # for Supabase too: what it answers is in the script
        key = canaries.of["PINECONE_API_KEY" if name == "Pinecone" else "SUPABASE_SERVICE_KEY"]
        columns = faces()
        server.put(columns["ids"].tolist(), columns["vectors"], [{"url": url} for url in columns["url"].tolist()])
        given = {"SUPABASE_URL": "", "PINECONE_HOST": server.url, "PINECONE_API_KEY": key}
        if name == "Supabase":
            given = {"PINECONE_API_KEY": "", "SUPABASE_URL": server.url}
        for command in (["doctor"], ["people"], ["fetch"], ["people"], ["people"], ["people"], ["people"], ["people"]):
            server.faults.clear()
            _echoing("/", server, key)
            for _ in range(2):
                try:
                    _, text = w.call(*command, **canaries.environment(**given))
                except Exception as exc:  # noqa: BLE001  what was no error of ours is printed whole
                    text = f"{type(exc).__name__}: {exc}"
                canaries.look(f"an echo of {name}, {command[0]}", text)


def _pages(w: World, canaries: Canaries, embedded: Mapping[str, str]) -> None:
    with dashboard(w.library, **canaries.environment(**embedded)) as page:
        for name in ("status", "people", "history"):
            test = page(name)
            canaries.look(f"the page {name}", "".join(str(proto) for _, proto in protos(test)))
    wrong = canaries.environment(**{"PINECONE_API_KEY": "", "SUPABASE_URL": "ftp://u:{SUPABASE_URL}@x"})
    with dashboard(w.library, **wrong) as page:
        for name in ("status", "people"):
            canaries.look(f"the page {name} of a wrong address", "".join(str(proto) for _, proto in protos(page(name))))


def _job(w: World, canaries: Canaries, embedded: Mapping[str, str]) -> None:
    """A worker that breaks, with everything in its environment."""
    spec = {"use_case": "nothing", "args": {}, "library": str(w.library), "user": "local"}
    w.file("broken.job", json.dumps(spec).encode())
    environment = {**os.environ, **canaries.environment(**embedded)}
    command = [sys.executable, "-m", "facecluster", "--library", str(w.library), "work", str(w.folder / "broken.job")]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False, timeout=120)
    canaries.look("a worker's log", (ended.stdout + ended.stderr).decode("utf-8", "replace"))


def _broken_file(
    w: World,
    canaries: Canaries,
    cli: Callable[[str, list[str], Mapping[str, str]], Callable[[], None]],
    embedded: Mapping[str, str],
) -> None:
    path = w.folder / ".streamlit" / "secrets.toml"
    good = path.read_text()
    for broken in (
        good + '\nx = "',
        good.replace('"\n', "\n", 1),
        good + "\n[auth]",
        "\0" + good,
        good.replace("=", ":"),
    ):
        path.write_text(broken)
        cli("a file of secrets that is broken", ["people"], embedded)()
    path.write_text(good)


def canaries_kept(seed: int, seconds: float, but: tuple[str, ...] = ()) -> Found:
    """All ways to fail `but` some; then every file that there is."""
    found, canaries = Found(), Canaries()
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        (folder / ".streamlit").mkdir()
        (folder / ".streamlit" / "secrets.toml").write_text(canaries.file())
        patch.setenv("HOME", name)
        some = [one for one in paths(folder, canaries) if one[0] not in but]
        random.Random(seed).shuffle(some)
        for n in cases(seconds, len(some)):
            some[n][1]()
            found.n += 1
        write_faces(folder / "more.npz", **faces(seed=3, prefix="more"))
        canaries.look_in_files("a file", folder, but=folder / ".streamlit" / "secrets.toml")
    found.failures = sorted(set(canaries.seen))
    found.note = f"{len(canaries.of)} secrets"
    return found


MEASURES = [Measure("R23", "Keys stand in no message, page, log or file", "ways to fail", 47, 0.0, canaries_kept)]
