"""R1: what cannot be used is refused in a sentence that says what to do, and what was there before is still there."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import sys
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from small_library import faces, make_library, open_library, write_faces

from facecluster import cli, uploads
from facecluster.decisions import MAX_NAME_LENGTH
from facecluster.errors import FaceClusterError
from facecluster.service import Service
from trust.measure import Found, Measure, cases
from trust.pages import dashboard

VARIANTS = 33
DIMENSION = 16
_DIRECTIONS = "\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u200e\u200f\u061c"


@dataclass
class World:
    """A library that bad input comes to."""

    folder: Path
    service: Service

    @property
    def library(self) -> Path:
        """Its folder."""
        return self.folder / "library"

    def digest(self) -> str:
        """Everything that is kept, as one number; read anew from the disk."""
        view = open_library(self.library).view()
        known, said = view.faces, view.snapshot
        parts = [known.ids, known.url, known.photo, known.folder, known.crop_urls, said.revision]
        parts += [sorted(map(str, said.facts.items())), [run.id for run in self.service.runs()]]
        arrays = b"".join(np.ascontiguousarray(a).tobytes() for a in (known.vectors, known.blur_score, known.boxes))
        crops = b"\0".join(self.service.crop(face) for face in known.ids[:5])
        return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass") + arrays + crops).hexdigest()

    def call(self, *args: str, **environment: str) -> tuple[int, str]:
        """The command line, as a shell calls it: exit code and all that it printed. What it raises is a bug."""
        out = io.StringIO()
        with _environment(environment), contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            before, sys.argv = sys.argv, ["facecluster", "--library", str(self.library), *args]
            code: object = 0
            try:
                cli.main()
            except SystemExit as exc:
                code = exc.code
            finally:
                sys.argv = before
        return int(str(code or 0)), out.getvalue()

    def file(self, name: str, data: bytes) -> Path:
        """A file with these bytes."""
        path = self.folder / name
        path.write_bytes(data)
        return path

    def anybody(self) -> str:
        """The id of somebody who is there."""
        return str(self.service.view().cards[0].id)


@contextlib.contextmanager
def _environment(given: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextlib.contextmanager
def world() -> Iterator[World]:
    """A small library, clustered, with a name in it."""
    with tempfile.TemporaryDirectory() as name:
        service = make_library(Path(name))
        service.rename(service.view().cards[0].id, "Anna")
        yield World(Path(name), service)


# --- how a refusal has to look ----------------------------------------------------------------------------------------


def told(answer: tuple[int, str], *words: str) -> str:
    """Say "" where a call was refused with these words, in a sentence and a cure, without a traceback; else why not."""
    code, text = answer
    if "Traceback" in text:
        return f"a traceback: {text[-200:]}"
    if code != 2:
        return f"exit code {code}: {text[:200]}"
    if missing := [word for word in words if word.casefold() not in text.casefold()]:
        return f"does not say {missing}: {text[:300]}"
    usage = "Usage:" in text or "Error:" in text
    if not usage and len(re.findall(r"[.?](?:\s|$)", text)) < 2:
        return f"says no cure: {text[:300]}"
    return ""


def rows_refused(answer: tuple[int, str], *words: str) -> str:
    """Say "" where an import said of a row why it was not taken."""
    code, text = answer
    if code or "Traceback" in text:
        return f"exit code {code}: {text[-300:]}"
    found = json.loads(text)
    reasons = [f"{r['id']} {r['reason']}" for r in (*found["refused"], *found["without_picture"])]
    if not any(all(word in reason for word in words) for reason in reasons):
        return f"no reason with {words}: {text[:300]}"
    return ""


def taken(answer: tuple[int, str]) -> str:
    """Say "" where it was harmless, and taken as such."""
    code, text = answer
    return f"exit code {code}: {text[:300]}" if code or "Traceback" in text or "refused:" in text else ""


# --- files of faces ---------------------------------------------------------------------------------------------------


def rows_with(value: object, rng: np.random.Generator) -> list[float]:
    vector = rng.standard_normal(DIMENSION).tolist()
    vector[int(rng.integers(DIMENSION))] = value
    return vector


def written(w: World, kind: str, rows: list[dict[str, Any]]) -> Path:
    """The same rows in one of the formats."""
    path = w.folder / f"bad.{kind}"
    if kind == "npz":
        columns = {f"{key}s" if key in ("id", "vector") else key: np.array([r[key] for r in rows]) for key in rows[0]}
        np.savez(path, **columns)
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif kind == "csv":
        lines = [",".join(rows[0])]
        lines += [",".join(_cell(value) for value in row.values()) for row in rows]
        path.write_text("\n".join(lines), "utf-8", errors="surrogatepass")
    else:
        path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return path


def _cell(value: object) -> str:
    text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return '"' + text.replace('"', '""') + '"'


KINDS = ("npz", "parquet", "csv", "jsonl")


def vectors(make: Callable[[np.random.Generator, int], object], *words: str) -> Attempt:
    """A face whose vector cannot be used, in each format."""

    def attempt(w: World, i: int, rng: np.random.Generator) -> str:
        value = make(rng, i)
        row = value if isinstance(value, list) else rows_with(value, rng)
        path = written(w, KINDS[i % 4], [{"id": f"bad-{i}", "vector": row}])
        return rows_refused(w.call("import", "--json", str(path)), f"bad-{i}", *words)

    return attempt


Attempt = Callable[[World, int, np.random.Generator], str]


def object_array(w: World, i: int, rng: np.random.Generator) -> str:
    given = faces()
    key = ("vectors", "ids", "url", "folder")[i % 4]
    given[key] = np.array([[1, "x"], {"a": 1}, None] * 20 + [None] * i, object)[: len(given["ids"])]
    return told(w.call("import", str(write_faces(w.folder / "bad.npz", **given))), "bad.npz", "Nothing was imported")


def odd_dtype(w: World, i: int, rng: np.random.Generator) -> str:
    given = faces()
    kinds = (np.complex64, np.complex128, np.bool_, "U8", "S8", "datetime64[s]", "timedelta64[s]")
    given["vectors"] = np.ones((60, DIMENSION)).astype(np.int64).astype(kinds[i % len(kinds)])
    return told(w.call("import", str(write_faces(w.folder / "bad.npz", **given))), "vectors", "type", "Nothing")


def other_order(w: World, i: int, rng: np.random.Generator) -> str:
    """Big-endian, doubles, not of length 1: the same faces, so nothing changes."""
    given = faces()
    scale = 2.0 ** int(rng.integers(-20, 20))
    given["vectors"] = (given["vectors"].astype(np.float64) * scale).astype((">f8", ">f4", "<f8", "<f4")[i % 4])
    order = ("C", "F")[i // 4 % 2]
    given["vectors"] = np.array(given["vectors"], order=order)
    return taken(w.call("import", str(write_faces(w.folder / "bad.npz", **given))))


def half_overflow(w: World, i: int, rng: np.random.Generator) -> str:
    with np.errstate(over="ignore"):
        row = (rng.standard_normal((1, DIMENSION)) * 10.0 ** (5 + i)).astype(np.float16)
    row[0, i % DIMENSION] = np.inf
    path = write_faces(w.folder / "bad.npz", ids=np.array([f"bad-{i}"]), vectors=row)
    return rows_refused(w.call("import", "--json", str(path)), f"bad-{i}", "NaN or infinity")


def wrong_dimension(w: World, i: int, rng: np.random.Generator) -> str:
    n = i + 1 if i + 1 < DIMENSION else 2 * i + 1
    path = written(w, KINDS[i % 4], [{"id": f"bad-{i}", "vector": rng.standard_normal(n).tolist()}])
    return rows_refused(w.call("import", "--json", str(path)), f"bad-{i}", f"{n} numbers and not 16")


def ragged(w: World, i: int, rng: np.random.Generator) -> str:
    rows = [{"id": f"bad-{i}-{n}", "vector": rng.standard_normal(n).tolist()} for n in (1, i + 17, 3)]
    path = written(w, KINDS[1 + i % 3], rows)
    return rows_refused(w.call("import", "--json", str(path)), f"bad-{i}-{i + 17}", f"{i + 17} numbers and not 16")


def no_number(w: World, i: int, rng: np.random.Generator) -> str:
    value = ("x", None, True and "yes", {}, [1], "1;2", "0x10", "1e", "−1", "½")[i % 10]
    row = rows_with(value, rng)
    given: object = (row, "text", {"a": 1}, 7, None)[(i // 10 + (i % 2) * 2) % 5] if i % 3 else row
    (w.folder / "bad.jsonl").write_text(json.dumps({"id": f"bad-{i}", "vector": given}))
    return rows_refused(w.call("import", "--json", str(w.folder / "bad.jsonl")), f"bad-{i}", "vector")


def twice(w: World, i: int, rng: np.random.Generator) -> str:
    given = faces()
    row = int(rng.integers(60))
    known = {"id": str(given["ids"][row]), "vector": given["vectors"][row].tolist()}
    known |= {key: str(given[key][row]) for key in ("url", "folder")} | {"blur_score": float(given["blur_score"][row])}
    path = written(w, ("jsonl", "parquet", "npz")[i % 3], [known, known | {"vector": rows_with(1.0, rng)}])
    return rows_refused(w.call("import", "--json", str(path)), known["id"], "twice")


def nothing_in_it(w: World, i: int, rng: np.random.Generator) -> str:
    endings = ("npz", "parquet", "csv", "jsonl", "ndjson")
    data = (b"", b"\n", b"\r\n\r\n", b"\xef\xbb\xbf", b" ", b"\0")[i // 5 % 6]
    path = w.file(f"bad.{endings[i % 5]}", data)
    code, text = w.call("import", str(path))
    return taken((code, text)) if code == 0 and text.startswith("0 faces added") else told((code, text), path.name)


def few_faces(w: World, i: int, rng: np.random.Generator) -> str:
    """A library of 0, 1 or 2 faces answers every question."""
    n = i % 3
    small = World(w.folder / f"small-{i}", open_library(w.folder / f"small-{i}" / "library"))
    small.folder.mkdir(exist_ok=True)
    if n:
        rows = [{"id": f"few-{k}", "vector": rng.standard_normal(DIMENSION).tolist()} for k in range(n)]
        if problem := taken(small.call("import", str(written(small, "jsonl", rows)))):
            return problem
    asked = (["recluster"], ["people"], ["runs"], ["export"], ["export", "--csv"], ["status"], ["history"])[i % 7]
    code, text = small.call(*asked)
    shutil.rmtree(small.folder)
    return taken((code, text)) if code == 0 else told((code, text))


def bad_ids(make: Callable[[int], object], *words: str) -> Attempt:
    def attempt(w: World, i: int, rng: np.random.Generator) -> str:
        row = {"id": make(i), "vector": rng.standard_normal(DIMENSION).tolist()}
        path = written(w, ("jsonl", "csv")[i % 2], [row])
        return rows_refused(w.call("import", "--json", str(path)), *words)

    return attempt


def metadata(w: World, i: int, rng: np.random.Generator) -> str:
    """What describes a face may be anything: the face is taken, and nobody trips over the rest."""
    odd: list[object] = [
        *({}, [], [[]], {"a": [1]}, True, -1, 1e308, "NaN", "x" * 100_000, "\0\x1b[31m", "\ud800", "../../etc/passwd"),
        *("-1", "None", "nan", [float("nan")] * 4, [1, 2], [4, 3, 2, 1], ["a", "b", "c", "d"], 10**40, "\u202eabc"),
    ]
    value = odd[i % len(odd)]
    row = {"id": "odd", "vector": rng.standard_normal(DIMENSION).tolist()}
    row |= dict.fromkeys(("photo", "url", "folder", "blur_score", "box"), value)
    small = World(w.folder / f"odd-{i}", open_library(w.folder / f"odd-{i}" / "library"))
    small.folder.mkdir(exist_ok=True)
    (small.folder / "bad.jsonl").write_text(json.dumps(row))
    problem = taken(small.call("import", str(small.folder / "bad.jsonl"))) or taken(small.call("export", "--csv"))
    view = small.service.view()
    shutil.rmtree(small.folder)
    return problem or ("" if len(view.faces) == 1 else f"{len(view.faces)} faces of {value!r}")


def crops(w: World, i: int, rng: np.random.Generator) -> str:
    """A picture that is none costs the picture, with a reason, and never the face."""
    text = bad_crop(i, rng)
    row = {"id": f"odd-{i}", "vector": rng.standard_normal(DIMENSION).tolist(), "face_crop": text}
    small = World(w.folder / f"crop-{i}", open_library(w.folder / f"crop-{i}" / "library"))
    small.folder.mkdir(exist_ok=True)
    (small.folder / "bad.jsonl").write_text(json.dumps(row))
    problem = rows_refused(small.call("import", "--json", str(small.folder / "bad.jsonl")), f"odd-{i}", "picture")
    n = len(small.service.view().faces)
    shutil.rmtree(small.folder)
    return problem or ("" if n == 1 else f"{n} faces with {text[:60]!r}")


def bad_crop(i: int, rng: np.random.Generator) -> str:
    """A `face_crop` that cannot be shown."""

    def drawn(kind: str, size: tuple[int, int] = (8, 8)) -> str:
        out = io.BytesIO()
        Image.new("RGB", size).save(out, kind)
        return base64.b64encode(out.getvalue()).decode()

    fixed: list[Callable[[], str]] = [
        *(lambda k=k: drawn(k) for k in ("GIF", "BMP", "TIFF", "PPM", "ICO")),
        *(lambda: "http://a.example/x.jpg", lambda: "file:///etc/passwd", lambda: "../../x.jpg", lambda: "not base64!"),
        *(lambda: "data:image/svg+xml;base64,PHN2Zy8+", lambda: "data:image/png;base64,====", lambda: "AAA"),
        *(lambda: "A" * 3_000_000, lambda: drawn("PNG", (2001, 2000)), lambda: "javascript:alert(1)", lambda: "\0\0"),
        *(lambda: "\ud800", lambda: "é" * 40, lambda: "data:,x", lambda: "ftp://a/b"),
    ]
    if i < len(fixed):
        return fixed[i]()
    return base64.b64encode(rng.bytes(int(rng.integers(1, 3000)))).decode()


def whole_file(kind: str, w: World) -> bytes:
    given = faces()
    names = {"id": "ids", "vector": "vectors", "url": "url", "folder": "folder", "blur_score": "blur_score"}
    rows = [{key: given[name][k].tolist() for key, name in names.items()} for k in range(60)]
    path = write_faces(w.folder / "good.npz") if kind == "npz" else written(w, kind, rows)
    return path.read_bytes()


def cut(kind: str) -> Attempt:
    """A file of which the end is missing: nothing, or no more than its whole rows, and those are there already."""

    def attempt(w: World, i: int, rng: np.random.Generator) -> str:
        data = whole_file(kind, w)
        path = w.file(f"bad.{kind}", data[: int(len(data) * (i + 0.5) / VARIANTS)])
        return told(w.call("import", str(path)), f"bad.{kind}", "Nothing was imported")

    return attempt


def cut_text(w: World, i: int, rng: np.random.Generator) -> str:
    kind = ("csv", "jsonl")[i % 2]
    data = written(w, kind, [{"id": f"bad-{i}", "vector": [float("nan")] * DIMENSION}] * 3).read_bytes()
    path = w.file(f"bad.{kind}", data[: max(int(len(data) * (i + 1) / (VARIANTS + 2)), 12)])
    code, text = w.call("import", "--json", str(path))
    return told((code, text), path.name) if code else rows_refused((code, text))


def flipped(kind: str) -> Attempt:
    """One bit differs: refused, or exactly the rows that can still be read."""

    def attempt(w: World, i: int, rng: np.random.Generator) -> str:
        data = bytearray(whole_file(kind, w))
        # The head or the directory at the end; in the middle a bit may be a digit of a vector, which is another vector.
        at = int(rng.integers(0, 4)) if i % 2 or kind == "npz" else len(data) - 1 - int(rng.integers(0, 4))
        data[at] ^= 1 << int(rng.integers(8))
        code, text = w.call("import", str(w.file(f"bad.{kind}", bytes(data))))
        return taken((code, text)) if code == 0 else told((code, text), f"bad.{kind}")

    return attempt


def wrong_kind(w: World, i: int, rng: np.random.Generator) -> str:
    """The ending says one thing and the bytes another; or it is no file at all."""
    endings = ("npz", "parquet", "csv", "jsonl", "npy", "txt", "pkl", "exe", "", "json")
    ending = endings[i % 10]
    path = w.folder / (f"odd.{ending}" if ending else "odd")
    if i < 10:
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + rng.bytes(300))
    elif i < 20:
        path = w.folder / f"missing.{ending}"
    else:
        path = w.folder / f"folder-{i}.{ending}"
        path.mkdir()
    return told(w.call("import", str(path)), path.name, "Nothing was imported")


# --- what is typed ----------------------------------------------------------------------------------------------------


def long_names(w: World, i: int, rng: np.random.Generator) -> str:
    letter = ("x", "é", "🙂", "名", "e\u0301", "\u0627")[i % 6]
    name = letter * (MAX_NAME_LENGTH + 1 + i * 400)
    return told(w.call("rename", w.anybody(), name), "200", "characters", "Shorten")


def odd_names(w: World, i: int, rng: np.random.Generator) -> str:
    """Marks that reorder or hide text are left out, twins become one, and words that programs mistake stay words."""
    words = ["nan", "None", "-1", "null", "true", "0", "1e9", "NaN", "undefined", "[]", "{}", "''", "#N/A", "--", "%s"]
    marks = [*_DIRECTIONS, "\u200b", "\ufeff", "\x1b", "\x7f", "\x85", "\ud800", "\udfff", "\x00", "\x01"]
    if i < len(words):
        given = kept = words[i]
    elif i < len(words) + 10:
        given, kept = f"An{marks[(i - len(words)) * 2 % len(marks)]}na {i}", f"Anna {i}"
    else:
        given = unicodedata.normalize("NFD", f"Zoë {i} Åsa")
        kept = unicodedata.normalize("NFC", given)
    person = w.anybody()
    problem = taken(w.call("rename", "--", person, given))
    name = open_library(w.library).view().person(w.service.view().cards[0].id).name
    w.service.rename(w.service.view().cards[0].id, "Anna")
    if problem or name.replace(" ", "") != kept.replace(" ", ""):
        return problem or f"{given!r} became {name!r}"
    return ""


def nobody(w: World, i: int, rng: np.random.Generator) -> str:
    asked = (
        *(
            ["rename", "--", "{}", "Bert"],
            ["erase-person", "--yes-erase", "1", "--", "{}"],
            ["name-run", "--", "{}", "x"],
        ),
        *(["find", "--person={}"], ["find", "--face={}"], ["find", "--all={}"]),
    )[i % 6]
    odd = ("p-0", "nan", "None", "../..", "x" * 10_000, "'; drop table people; --", "\u202ep", "é", "*", "0")
    who = odd[(i // 6 + i) % 10]
    return told(w.call(*(part.format(who) if "{}" in part else part for part in asked)))


SETTINGS = {
    "CLUSTER_MIN_CLUSTER_SIZE": ("1", "0", "-3", "x", "2.5", "nan", "1e400"),
    "CLUSTER_MIN_SAMPLES": ("0", "101", "x", ""),
    "CLUSTER_EPSILON": ("-1", "2.1", "x", "nan", "inf"),
    "CLUSTER_METHOD": ("EOM", "x", ""),
    "CLUSTERING_BLUR_THRESHOLD": ("-1", "nan", "inf", "x"),
    "FACE_SEARCH_TOP_K": ("0", "10001", "x"),
    "FACECLUSTER_IMAGE_HOSTS": ("https://a.example", "*", "a b", "a/b", "user@host", "a.example:8443"),
    "FACECLUSTER_DEVICE": ("gpu", "x"),
    "FACECLUSTER_USER": ("", "x" * 513),
    "PINECONE_GRPC": ("maybe", "2"),
}
_SETTINGS = [(name, value) for name, values in SETTINGS.items() for value in values]


def settings(w: World, i: int, rng: np.random.Generator) -> str:
    name, value = _SETTINGS[i % len(_SETTINGS)]
    return told(w.call("people", **{name: value}), name, "Nothing was started")


def arguments(w: World, i: int, rng: np.random.Generator) -> str:
    asked = (
        *(["recluster", "--epsilon", "x"], ["recluster", "--epsilon", "nan"], ["recluster", "--min-samples", "0"]),
        *(["recluster", "--min-samples", "1.5"], ["recluster", "--method", "x"], ["recluster", "--engine", "x"]),
        *(["recluster", "--no-fetch", "--refresh"], ["recluster", "--min-cluster-size", "-1"], ["recluster", "x"]),
        *(["find"], ["find", "--face", "a", "--person", "b"], ["find", "--json", "--csv", "--face", "a"]),
        *(["find", "--least", "2", "--face", "a"], ["find", "--most", "0", "--face", "a"], ["find", "--row", "x"]),
        *(["history", "--limit", "x"], ["history", "--limit", "-1"], ["history", "--json", "--csv"], ["export", "--x"]),
        *(["export", "--json", "--csv"], ["export", "--parquet", "/no/such/folder/x.parquet"], ["rename"], ["nothing"]),
        *(["rename", "p"], ["erase-person"], ["erase-person", "p", "--yes-erase", "x"], ["import"], ["name-run", "x"]),
        *(["--library", "", "people"], ["recluster", "--blur-threshold", "-1"]),
    )
    return told(w.call(*asked[i % len(asked)]))


def query_files(w: World, i: int, rng: np.random.Generator) -> str:
    def npy(array: Any) -> bytes:
        out = io.BytesIO()
        np.save(out, array, allow_pickle=True)
        return out.getvalue()

    some = (
        *((".npy", npy(np.array([{}], object))), (".npy", npy(np.zeros(16))), (".npy", npy(np.full(16, np.nan)))),
        *((".npy", npy(np.ones(5))), (".npy", npy(np.ones((2, 2, 2)))), (".npy", b""), (".npy", rng.bytes(200))),
        *(
            (".npz", b"PK"),
            (".npz", b""),
            (".json", b"{"),
            (".json", b"[]"),
            (".json", b'{"a": 1}'),
            (".json", b"[[1],[]]"),
        ),
        *(
            (".csv", b""),
            (".csv", b"a,b\nc,d"),
            (".csv", b"\xff\xfe"),
            (".txt", b"1 2"),
            (".pkl", b"\x80\x04N."),
            ("", b""),
        ),
        *(
            (".json", b"[" * 100_000),
            (".json", b'["x"]'),
            (".npy", npy(np.array(["a"]))),
            (".npy", npy(np.ones(16, "c8"))),
        ),
    )
    ending, data = some[i % len(some)]
    return told(w.call("find", "--vector", str(w.file(f"query{ending}", data))), "query")


def upload_names(w: World, i: int, rng: np.random.Generator) -> str:
    """A name with a path in it leads nowhere but into the folder of its upload."""
    names = (
        *(
            "../../evil.npz",
            "/etc/passwd",
            "..\\..\\evil.npz",
            "C:\\evil.npz",
            "a/../../../b.npz",
            "\0.npz",
            ".",
            "..",
            "",
        ),
        *(
            "con.npz",
            "x" * 5000 + ".npz",
            "\u202egpj.npz",
            "a\nb.npz",
            "~/.ssh/id_rsa",
            "%2e%2e%2fevil.npz",
            "-rf",
            "|ls",
        ),
        *("$(id).npz", "\ud800.npz", "....//evil.npz"),
    )
    name = names[i % len(names)]
    root = w.folder / "uploads"
    kept = uploads.keep(root, [(name, io.BytesIO(b"no faces"))])
    files = [path for path in kept.rglob("*") if path.is_file()]
    outside = [path for path in w.folder.rglob("*evil*") if root not in path.parents]
    uploads.import_all(kept, w.service.import_files)
    report = uploads.report_of(kept)
    uploads.drop(kept)
    if len(files) != 1 or outside or root.resolve() not in files[0].resolve().parents:
        return f"{name!r} was written to {files} and {outside}"
    return "" if report is not None and len(report.problems) == 1 else f"{name!r}: {report}"


def broken_secrets(w: World, i: int, rng: np.random.Generator) -> str:
    """`.streamlit/secrets.toml` that is no TOML, or whose values are of other kinds."""
    texts = ("[", "a = ", "CLUSTER_EPSILON = 'x'", "CLUSTER_EPSILON = [1]", "CLUSTER_MIN_SAMPLES = {}", "\x00", "=\n")
    folder = w.folder / "cwd" / ".streamlit"
    folder.mkdir(parents=True, exist_ok=True)
    data = texts[i % 7].encode() if i < 21 else b"\xff\xfe" + rng.bytes(9)
    (folder / "secrets.toml").write_bytes(data)
    before = Path.cwd()
    os.chdir(folder.parent)
    try:
        return told(w.call("people"), "secrets.toml" if i % 7 not in (2, 3, 4) or i >= 21 else "CLUSTER_", "setting")
    finally:
        os.chdir(before)


def use_cases(w: World, i: int, rng: np.random.Generator) -> str:
    """Ids that are nobody's, through what the pages call."""
    own = w.service
    odd = ("", "nan", "p-0", "\ud800", "x" * 9999, "../..", "-1")[i % 7]
    known = own.view().cards[0].id
    some: list[Callable[[], object]] = [
        *(lambda: own.rename(odd, "Bert"), lambda: own.confirm(known, [odd]), lambda: own.merge(known, [odd])),
        *(lambda: own.move([odd], known), lambda: own.reject([odd], known), lambda: own.mark([odd], "ignored")),
        *(lambda: own.hide([odd]), lambda: own.set_cover(known, odd), lambda: own.undo(-1), lambda: own.restore(odd)),
        *(lambda: own.new_person([odd], "x"), lambda: own.name_run(odd, "x"), lambda: own.erase(odd, 1)),
        *(lambda: own.tell_apart([known, odd]), lambda: own.undo(10**9), lambda: own.compared(odd, odd)),
    ]
    try:
        some[i % len(some)]()
    except FaceClusterError as exc:
        return told((2, str(exc)))
    return f"{i % len(some)} took {odd!r}"


_ADDRESSES = (
    *(("person", {"id": "{}"}), ("person", {"id": "{}", "photo": "{}"}), ("person", {"photo": "{}", "why": "{}"})),
    *(
        ("find", {"face": "{}"}),
        ("find", {"all": "{}", "without": "{}"}),
        ("find", {"any": "{}", "by": "{}", "as": "{}"}),
    ),
    *(("find", {"person": "{}", "least": "{}"}), ("find", {"person": "{}", "most": "{}", "suggested": "{}"})),
    *(("noise", {"like": "{}"}), ("people", {"photo": "{}"}), ("map", {"photo": "{}"}), ("review", {"photo": "{}"})),
)


def addresses(w: World, i: int, rng: np.random.Generator) -> str:
    """A page whose address asks for what is not there, or for no such thing, shows itself and says so."""
    odd = ("nan", "-1", "", "1e999", "../..", "\ufffd", "x" * 9000, "\u202e", "<b>", "p-0", "inf", "\0")
    name, query = _ADDRESSES[i % len(_ADDRESSES)]
    with dashboard(w.library) as page:
        test = page(name, **{key: value.format(odd[(i + i // 12) % 12]) for key, value in query.items()})
        if test.exception:
            return f"{name} {query}: {test.exception[0].value}"
        return "" if test.title or test.text or test.subheader else f"{name} {query}: an empty page"


def surrogate_id(i: int) -> str:
    return f"bad{chr(0xD800 + i * 60)}{i}"


CLASSES: dict[str, Attempt] = {
    "a vector with NaN": vectors(lambda rng, i: float("nan"), "NaN or infinity"),
    "a vector with infinity": vectors(lambda rng, i: (-1) ** i * float("inf"), "NaN or infinity"),
    "a vector of zeros": vectors(lambda rng, i: [0.0, -0.0][i % 2 : i % 2 + 1] * DIMENSION, "zero"),
    "a vector too short to have a direction": vectors(lambda rng, i: [10.0 ** -(110 + i)] * DIMENSION, "zero"),
    "a vector too long to be measured": vectors(lambda rng, i: 10.0 ** (200 + i), "too long"),
    "half precision that overflowed": half_overflow,
    "an array of objects": object_array,
    "an array of no real numbers": odd_dtype,
    "the same numbers in another order of bytes, type or length": other_order,
    "another dimension": wrong_dimension,
    "rows of several lengths": ragged,
    "a vector with no number in it": no_number,
    "an id that stands twice": twice,
    "a file with nothing in it": nothing_in_it,
    "a library of hardly a face": few_faces,
    "no id": bad_ids(lambda i: ("", None)[i // 2 % 2] if i % 2 == 0 else "", "no id"),
    "an id with control characters": bad_ids(lambda i: f"bad-{chr((1 + i) % 32 or 127)}{i}", "control characters"),
    "an id with half a letter": lambda w, i, rng: bad_ids(surrogate_id, "control")(w, 2 * (i // 2), rng),
    "an id of too many letters": bad_ids(lambda i: "é" * (513 + i * 100), "limit is 512"),
    "metadata of any kind": metadata,
    "a picture that is none": crops,
    "a cut .npz": cut("npz"),
    "a cut .parquet": cut("parquet"),
    "a cut text": cut_text,
    "a .npz with another bit": flipped("npz"),
    "a .parquet with another bit": flipped("parquet"),
    "a file that is no such file": wrong_kind,
    "a name of too many letters": long_names,
    "a name that hides or reorders": odd_names,
    "ids of nobody on the command line": nobody,
    "ids of nobody on the pages": use_cases,
    "a setting out of its range": settings,
    "a secrets file that cannot be read": broken_secrets,
    "arguments that make no sense": arguments,
    "a query that holds no vector": query_files,
    "an upload whose name leads elsewhere": upload_names,
    "an address of a page that asks for nothing there": addresses,
}


def tried(w: World, name: str, i: int, seed: int, before: str) -> tuple[list[str], str]:
    """One input: what is wrong with the answer, and what is kept afterwards."""
    try:
        problem = CLASSES[name](w, i, np.random.default_rng([seed, i]))
    except Exception as exc:  # noqa: BLE001  anything that is raised here would be a traceback for the curator
        problem = f"{type(exc).__name__}: {exc}"
    after = w.digest()
    found = [f"{name}, variant {i}: {problem}"] if problem else []
    if after != before and name != "a name that hides or reorders":  # that one renames, and names back
        found.append(f"{name}, variant {i}: the library is another")
    return found, after


def bad_inputs(seed: int, seconds: float, every: int = 1) -> Found:
    """Every class and variant, or each `every`-th variant."""
    found = Found()
    asked = [(name, i) for i in range(seed % every, VARIANTS, every) for name in CLASSES]
    with world() as w:
        now = w.digest()
        for n in cases(seconds, len(asked)):
            problems, now = tried(w, *asked[n], seed, now)
            found.failures += problems
            found.n += 1
    found.note = f"{len(CLASSES)} classes, embedded library"
    return found


MEASURES = [
    Measure(
        "R1", "Bad input is refused with a reason, and nothing is lost", "inputs", 1200, 1.0, bad_inputs,
    ),
]  # fmt: skip
