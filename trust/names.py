"""R12, R13, R16: names and ids are text, in a request, on a page and in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import tempfile
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openpyxl
import openpyxl.utils.escape
import orjson
import pytest
from contracts import builders
from contracts.changes import change, plain_run, publish, said
from google.protobuf.message import Message
from markdown_it import MarkdownIt
from small_library import PARAMS, faces, open_library, write_faces

from facecluster.decisions import clean_name
from facecluster.model import ChangeSet, Decision, PersonId
from facecluster.service import Service
from facecluster.tables import as_csv, plain_cell, write_xlsx
from trust.measure import Found, Measure, cases
from trust.pages import PAGES, dashboard, protos

# --- R12: in a request ------------------------------------------------------------------------------------------------

_LETTERS = (
    ",.\"\\()*%&:;=<>!|{}[]'`~^$#@?/+- \t\u00a0"
    "aZ09éß名\u0627\u05d0🙂\u200d\u200c\u0301\u202e\u2028\ufeff\ue000\U000e0001\x00\x1b"
)
_WORDS = (
    "eq.",
    "in.(",
    "or=(",
    "not.is.null",
    "--",
    "/*",
    "'; drop table",
    "${x}",
    "%00",
    "\\u0000",
    "null",
    "NaN",
    "*",
)


def random_name(rng: random.Random) -> str:
    """Letters that mean something to some grammar on the way, and any others."""
    parts = [
        rng.choice(_WORDS) if rng.random() < 0.1
        else rng.choice(_LETTERS) if rng.random() < 0.8
        else chr(rng.choice((rng.randrange(0x20, 0xD800), rng.randrange(0xE000, 0x110000))))
        for _ in range(rng.randrange(1, 40))
    ]  # fmt: skip
    return "".join(parts)


def in_requests(seed: int, seconds: float, most: int = 20_000, at_once: int = 200) -> Found:
    """Names to Supabase and back: another parser reads them in the body, and no address holds one."""
    found, rng = Found(), random.Random(seed)
    sent: list[httpx.Request] = []
    real = httpx.HTTPTransport.handle_request

    def seen(transport: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return real(transport, request)

    with tempfile.TemporaryDirectory() as folder, builders.clients_closed(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx.HTTPTransport, "handle_request", seen)
        try:
            place = next(builders.supabase_by_service_key(Path(folder)))
        except pytest.skip.Exception as exc:
            return Found(not_run=str(exc.msg))
        store, n_batches = place.open("names"), -(-most // at_once)
        found.failures += _whole_life(place, [f"{k} {random_name(rng)}" for k in range(1_010)])
        for batch in cases(seconds, n_batches):
            names = {f"p{batch}-{k}": clean_name(random_name(rng)) or "x" for k in range(at_once)}
            before = len(sent)
            said = tuple(Decision("name", PersonId(person), "", name, None) for person, name in names.items())
            store.apply(ChangeSet(store.read().revision, "anna", "Named", said))
            known = place.open("names").read().facts
            lost = [name for person, name in names.items() if known.get(("name", person, "")) != name]
            found.failures += [f"{name!r} did not come back" for name in lost]
            bodies = [
                orjson.loads(request.content) for request in sent[before:] if request.url.path.endswith("fc_apply")
            ]
            told = {d[1]: d[3] for body in bodies for d in body["p"]["decisions"]}
            found.failures += [
                f"{name!r} was sent as {told.get(p)!r}" for p, name in names.items() if told.get(p) != name
            ]
            found.n += at_once
        found.failures += [f"{r.method} {r.url} holds more than the function" for r in sent if not _is_bare(r)]
        asked = {request.url.path.rpartition("/")[2] for request in sent}
        found.failures += [f"{function} was not asked" for function in sorted(_FUNCTIONS - asked)]
    found.note = f"{len(sent):,} requests to a real Postgres, none with a query"
    return found


# All that the store of people calls in its daily life.
_FUNCTIONS = {
    *("fc_head", "fc_facts", "fc_changes", "fc_history", "fc_runs", "fc_run", "fc_run_faces"),
    *("fc_begin_run", "fc_stage", "fc_know_faces", "fc_apply", "fc_prune"),
}


def _whole_life(place: builders.PeoplePlace, texts: list[str]) -> list[str]:
    """Faces, runs and titles that are called so, through every function: what did not come back."""
    ids = list(dict.fromkeys(clean_name(text) for text in texts))
    run = plain_run(ids[0], ids[1:], [ids[1], *[None] * (len(ids) - 2)])
    store = place.open("life")
    publish(store, run, said("person", ids[1], "1"), said("run_name", ids[0], ids[2]), title=ids[3])
    reader = place.open("life")
    wrong = [] if {*reader.run(ids[0]).faces} == {*ids[1:]} else ["the faces of a run did not come back"]
    wrong += ["a run did not come back"] * ([one.id for one in reader.runs()] != [ids[0]])
    wrong += ["a title did not come back"] * ([one.title for one in reader.history(5)] != [ids[3]])
    store.apply(change(store.revision(), title="Erased", erased=tuple(ids[1:3])))
    left = reader.read().run
    wrong += ["whoever was erased came back"] * (left is None or not {*left.faces}.isdisjoint(ids[1:3]))
    return wrong


def _is_bare(request: httpx.Request) -> bool:
    address = urllib.parse.unquote(str(request.url))
    return request.url.query == b"" and re.fullmatch(r"https?://[\d.]+:\d+/rest/v1/rpc/fc_\w+", address) is not None


# --- R13: on a page ---------------------------------------------------------------------------------------------------

HOST = "evil.test"
_STRONG = (
    "<img src=https://{h}/{t} onerror=alert(1)>", "<script>alert('{t}')</script>", "<svg/onload=alert(1)>{t}",
    "![{t}](https://{h}/{t}.png)", "[{t}](javascript:alert(1))", "[{t}](https://{h})", "<https://{h}/{t}>",
    "https://{h}/{t}", "www.{h}/{t}", "{t}@{h}", ":red[{t}]", ":material/delete: {t}", ":smile: {t}", "${t}^2$",
    "$${t}$$", "`{t}`", "**{t}**", "_{t}_", "~~{t}~~", "# {t}", "> {t}", "- {t}", "+ {t}", "1. {t}", "1) {t}", "* {t}",
    "    {t}", "|{t}|b|", "{t}<b>bold</b>", "<a href='javascript:alert(1)'>{t}</a>", "&lt;{t}&gt; &#60;b&#62;",
    "%{{{t}}}", "{{{{{t}}}}}", "${{{t}}}", "{t}\\", "\\{t}", "\"{t}\" onmouseover=\"alert(1)", "'{t}' autofocus='",
    "{t}\u202egnp.exe", "{t}<!--", "]]>{t}", "--- {t}", "{t} | =1+1", "=HYPERLINK(\"https://{h}\",\"{t}\")",
    ":blue-background[{t}]", ":small[{t}]", ":badge[{t}]", "[^{t}]", "<iframe src=//{h}>{t}", "<style>*{{}}</style>{t}",
    "<math><mtext>{t}<img src=x onerror=alert(1)>", "{t}:streamlit:", "{t} <-> {t}", "{t} -- {t}", "<br>{t}",
)  # fmt: skip
_AROUND = ("{}", "a {}", "{} b", "({})", "“{}”", "{}{}")
PAYLOADS = [around.format(one, one) for around in _AROUND for one in _STRONG][:300]

# What Streamlit shows as it is, by element and field. All other fields that hold a name are read as markdown.
_PLAIN = {
    *(("text", "body"), ("text_input", "default"), ("text_input", "value")),
    *(("imgs", "alt"), ("imgs", "url"), ("selectbox", "options"), ("multiselect", "options")),
}
_OWN = re.compile(
    r"(?:^|\.)(?:id|key|form_id|element_id|widget_id|url|page|page_script_hash|query_string|data|json|bytes|hash)$"
)


def on_pages(seed: int, seconds: float, most: int = len(PAYLOADS), pages: tuple[str, ...] = PAGES) -> Found:
    """Eight names at a time, and sixty ids, folders and addresses; every page, and everything that is sent to it."""
    found = Found()
    order = random.Random(seed).sample(PAYLOADS, len(PAYLOADS))[:most]
    sent = 0
    with tempfile.TemporaryDirectory() as name:
        people_at_once = 7
        for batch in cases(seconds, -(-len(order) // people_at_once)):
            some = order[batch * people_at_once : (batch + 1) * people_at_once]
            texts = [one.format(t=f"zq{k}", h=HOST) for k, one in enumerate(some)]
            service = hostile_library(Path(name) / str(batch), texts)
            with dashboard(service.settings.library) as page:
                for shown in pages:
                    for kind, field, value in _strings(page, shown, service):
                        sent += 1
                        if why := active(kind, field, value):
                            found.failures.append(f"{shown}, {kind}.{field} {value[:160]!r}: {why}")
            found.n += len(some)
    found.note = f"{len(pages)} pages; {sent:,} fields that hold one"
    return found


def hostile_library(folder: Path, texts: list[str]) -> Service:
    """People, runs, ids, folders and photos that are called so."""
    folder.mkdir(parents=True, exist_ok=True)
    given = faces()
    n = len(given["ids"])
    given["ids"] = np.array([f"{texts[k % len(texts)]} {k}" for k in range(n)])
    given["folder"] = np.array([texts[k % len(texts)] for k in range(n)])
    given["url"] = np.array([f"{texts[k % len(texts)]} {k // 2}" for k in range(n)])
    service = open_library(folder / "library")
    service.import_files([write_faces(folder / "faces.npz", **given)])
    service.publish(service.plan(PARAMS), author=texts[0])
    for card, text in zip(service.view().cards, texts, strict=False):
        service.rename(card.id, text)
    service.name_run(service.runs()[0].id, texts[-1])
    return service


def _strings(page: Any, shown: str, service: Service) -> Iterator[tuple[str, str, str]]:
    view = service.view()
    query = {
        "person": {"id": view.cards[0].id},
        "find": {"person": view.cards[1].id},
        "people": {"photo": view.faces.ids[0]},
    }
    test = page(shown, **query.get(shown, {}))
    if test.exception:
        yield shown, "exception", f"zq {test.exception[0].value}"
    for kind, proto in protos(test):
        for field, value in _fields(proto):
            if re.search(r"zq\d", value):
                yield kind, field, value


def _fields(message: Message, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a message, with the names of the fields that lead to it."""
    for field, value in message.ListFields():
        at = f"{path}.{field.name}" if path else field.name
        for one in value if not isinstance(value, str | bytes | Message) and hasattr(value, "__iter__") else [value]:
            if isinstance(one, str):
                yield at, one
            elif isinstance(one, Message):
                yield from _fields(one, at)


_MARKDOWN = MarkdownIt("commonmark").enable(["strikethrough", "table"])
_HARMLESS = {"paragraph_open", "paragraph_close", "inline", "text", "text_special", "softbreak", "hardbreak"}
# What Streamlit reads beyond markdown: a directive, an icon, an emoji, a formula; and addresses that it makes links of,
# for which it looks after escapes are read.
_DIRECTIVE = re.compile(r":[\w-]+\[|:material/|:[a-z_]+:|(?<!\\)\$[^$]+\$")
_LINK = re.compile(r"https?://\w|\bwww\.\w|[\w.+-]@\w[\w-]*\.\w")


def active(kind: str, field: str, value: str) -> str:
    """What a browser would make of a text beyond showing it; "" for nothing."""
    last = field.rpartition(".")[2]
    if field == "exception":
        return "the page broke"
    if (
        (kind, field) in _PLAIN
        or (field.rpartition(".")[0].rpartition(".")[2], last) in _PLAIN
        or (kind, last) in _PLAIN
    ):
        return ""
    if kind in ("plotly_chart",) or "plotly" in field:
        return _in_a_figure(value)
    if _OWN.search(field) or kind in ("bidi_component", "arrow_data_frame"):
        return ""  # read by our own components, which write text nodes (a browser and a lint look), or not shown
    if odd := {part.type for token in _MARKDOWN.parse(value) for part in (token, *(token.children or ()))} - _HARMLESS:
        return f"markdown: {sorted(odd)}"
    if directive := _DIRECTIVE.search(re.sub(r"\\[!-/:-@\[-`{-~]", "", value)):
        return f"a directive: {directive[0]}"
    text = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", value)
    if kind == "heading" and (link := _LINK.search(text)):
        return f"a link: {link[0]}"
    return ""


def _in_a_figure(value: str) -> str:
    def texts(node: Any) -> Iterator[str]:
        if isinstance(node, str):
            yield node
        elif isinstance(node, dict | list):
            for one in node.values() if isinstance(node, dict) else node:
                yield from texts(one)

    loud = [text for text in texts(json.loads(value)) if re.search(r"zq\d", text) and re.search(r"<[a-z/!]", text)]
    return f"markup in the figure: {loud[0][:80]!r}" if loud else ""


# --- R16: in a spreadsheet --------------------------------------------------------------------------------------------

_FORMULAS = (
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1",
    "＋1",
    "－1",
    "＠A1",
    "'=1",
    "''+1",
    "'Tis",
    "=cmd|' /C calc'!A0",
)


def in_tables(seed: int, seconds: float, most: int = 500) -> Found:
    """No cell begins like a formula, and reading back gives what was written."""
    found, rng = Found(), random.Random(seed)
    for n in cases(seconds, most):
        text = rng.choice(_FORMULAS) + (random_name(rng) if n >= len(_FORMULAS) else "")
        text = _FORMULAS[n] if n < len(_FORMULAS) else text
        rows = [{"a": text, text: n, "c": None, "d": -1.5}]
        back = list(csv.reader(io.StringIO(as_csv(rows), newline="")))
        cells = [back[0][1], back[1][0]]
        if any(re.match(r"[=+\-@\t\r\n＝＋－＠]", cell) for cell in cells):
            found.failures.append(f"{text!r} is run")
        if [plain_cell(cell) for cell in cells] != [text, text] or back[1][1:] != [str(n), "", "-1.5"]:
            found.failures.append(f"{text!r} came back as {cells!r}")
        found.failures += _in_workbook(rows, text)
        found.n += 1
    return found


def _in_workbook(rows: list[dict[str, object]], text: str) -> list[str]:
    """The same in a workbook: every text is one, and stands there as it was."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.xlsx"
        write_xlsx(rows, path)
        book = openpyxl.load_workbook(path)
    cells = list(book.worksheets[0].iter_rows())
    book.close()
    back = [cells[0][1], cells[1][0]]
    wrong = [f"{text!r} is of type {cell.data_type} in a workbook" for cell in back if cell.data_type not in "sn"]
    # A file of XML has no carriage return of its own: readers make it a line feed.
    said = [str(cell.value or "") for cell in back]
    if any(openpyxl.utils.escape.unescape(one) != text for one in said):
        wrong.append(f"{text!r} came back from a workbook as {said!r}")
    return wrong


MEASURES = [
    Measure("R12", "A name never stands in an address, and comes back as it was", "names", 20_000, 1.0, in_requests),
    Measure("R13", "A name is shown as text, wherever it stands", "payloads", len(PAYLOADS), 1.0, on_pages),
    Measure("R16", "No cell of a table is run, and each reads back as it was", "cells", 500, 0.0, in_tables),
]
