"""People in Supabase: the same facts, log and runs as in SQLite, behind the functions of `supabase/migrations`.

What was read stays in memory: a run never changes under its id, and facts follow the log from the revision they were
read at, so that a rename costs one short call and not the library again.
"""

from __future__ import annotations

import threading
import time
import uuid
from base64 import b64encode
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facecluster.clustering.cover import covers
from facecluster.config import Settings
from facecluster.decisions import folded
from facecluster.errors import StoreDataError, StoreError
from facecluster.model import (
    ChangeRecord,
    ChangeSet,
    Decision,
    FaceId,
    FaceSet,
    Kind,
    PeopleSnapshot,
    PersonId,
    Question,
    Run,
    RunRecord,
    UserId,
)
from facecluster.ports import FaceStore
from facecluster.stores.supabase_functions import Functions, connect

PAGE = 1000  # rows: the cap of a project, above which rows are left out without a word
_STAGED = 10_000  # rows a call: 0.2 s each, the statement limit is 8 s
_READERS = 6
_BODY = 1_500_000  # characters of pictures in one call
_RUNS_KEPT = 3  # in memory
_LOOKS = 3


@dataclass(frozen=True)
class _Known:
    revision: int
    facts: dict[tuple[Kind, str, str], str]
    n_live: int | None = None  # faces of the live run


class SupabasePeopleStore:
    """A `PeopleStore` in a Supabase project.

    Parameters
    ----------
    functions : Functions
        Of the project, for one user.
    faces : FaceStore
        What is shown of the faces of a run, for programs that read the old tables.
    glance_s : float
        How old, in seconds, an answer about the revision may be: pages ask for it all the time.
    """

    def __init__(self, functions: Functions, faces: FaceStore, glance_s: float = 0.0) -> None:
        self._call = functions.call
        self._faces = faces
        self._glance_s = glance_s
        self._lock = threading.RLock()
        self._known: _Known | None = None
        self._runs: dict[str, Run] = {}
        self._seen = (-np.inf, 0)

    # --- reading -----------------------------------------------------------------------------------------------

    def revision(self) -> int:
        """The number of change sets so far."""
        with self._lock:
            at, revision = self._seen
            if time.monotonic() - at >= self._glance_s:
                revision = int(self._call("fc_head", dict)["revision"])
                self._look(revision)
            return revision

    def _look(self, revision: int) -> None:
        self._seen = (time.monotonic(), revision)

    def read(self) -> PeopleSnapshot:
        """Facts and live run of one moment."""
        with self._lock:
            for _ in range(_LOOKS):
                known = self._known = self._all_facts() if self._known is None else self._caught_up(self._known)
                if known is not None:
                    break
            else:
                raise StoreDataError(
                    "The library was erased from faster than it could be read. Nothing was changed. Reload."
                )
            self._look(known.revision)
            live = known.facts.get(("live_run", "", ""))
            if live in self._runs and len(self._runs[live].faces) != known.n_live:
                del self._runs[live]  # somebody was erased from it, and another process has published it whole
            return PeopleSnapshot(known.revision, known.facts, self.run(live) if live is not None else None)

    def _all_facts(self) -> _Known | None:
        """Every page of the facts, brought to one revision by what was written while they were read."""
        first = page = self._call("fc_facts", dict, limit=PAGE)
        rows = list(first["rows"])
        while len(page["rows"]) == PAGE:
            page = self._call("fc_facts", dict, after=rows[-1][:3], limit=PAGE)
            rows += page["rows"]
        if page["revision"] == first["revision"] and len(rows) != first["count"]:
            raise StoreDataError(
                f"Supabase counts {first['count']:,} facts and handed over {len(rows):,}. Nothing was changed. Reload; "
                "if it stays, run `facecluster doctor`."
            )
        facts = {(kind, subject, obj): value for kind, subject, obj, value in rows}
        return self._caught_up(_Known(int(first["revision"]), facts))

    def _caught_up(self, known: _Known) -> _Known | None:
        """The same after all that was written since; None where something was erased, which no decision tells."""
        revision, facts = known.revision, known.facts
        while True:
            news = self._call("fc_changes", dict, since=revision)
            if not news["records"]:
                return _Known(revision, facts, news["live_faces"])
            if any(record["n_erased"] for record in news["records"]):
                self._runs.clear()
                return None
            facts = folded(facts, (Decision(*row) for record in news["records"] for row in record["decisions"]))
            revision = int(news["records"][-1]["revision"])
            if revision == news["revision"]:
                return _Known(revision, facts, news["live_faces"])

    def history(self, limit: int, before: int | None = None) -> Sequence[ChangeRecord]:
        """Change sets, newest first."""
        found: list[ChangeRecord] = []
        while len(found) < limit:
            wanted = min(limit - len(found), PAGE)
            rows = self._call("fc_history", list, limit=wanted, before=found[-1].revision if found else before)
            found += [_record(row) for row in rows]
            if len(rows) < wanted:
                break
        return found

    def runs(self) -> Sequence[RunRecord]:
        """Published runs, newest first."""
        return [RunRecord(**row) for row in self._call("fc_runs", list)]

    def run(self, run_id: str) -> Run:
        """One run, whole."""
        with self._lock:
            if run_id not in self._runs:
                self._runs[run_id] = self._read_run(run_id)
                for old in list(self._runs)[:-_RUNS_KEPT]:
                    del self._runs[old]
            return self._runs[run_id]

    def _read_run(self, run_id: str) -> Run:
        for _ in range(_LOOKS):
            head = self._call("fc_run", dict, run=run_id)
            page = partial(self._call, "fc_run_faces", dict, run=run_id, limit=PAGE)
            with ThreadPoolExecutor(_READERS) as pool:
                pages = list(pool.map(lambda after, page=page: page(after=after), ["", *head["starts"]]))
            faces, owners, labels, strengths = ([one for page in pages for one in page[key]] for key in "vols")
            # Where faces are erased between two pages, the first reaches into the second, and the number is right.
            if len(set(faces)) == len(faces) == head["n_faces"]:
                break
        else:
            raise StoreDataError(
                f"Of the run {run_id!r} {len(faces):,} of {head['n_faces']:,} faces were read. Nothing was changed. "
                "Reload; if it stays, go back to another run on History."
            )
        return Run(
            id=run_id,
            params=head["params"],
            fingerprint=head["fingerprint"],
            faces=tuple(FaceId(face) for face in faces),
            owner=tuple(PersonId(owner) if owner is not None else None for owner in owners),
            label=np.array(labels, np.int32),
            strength=np.array(strengths, np.float32),
            reason={FaceId(face): why for face, why in head["reason"].items()},
            questions=tuple(Question(kind, person, other, n) for kind, person, other, n in head["questions"]),
        )

    # --- writing -----------------------------------------------------------------------------------------------

    def apply(self, change: ChangeSet) -> int:
        """Stage the run, if there is one, then write all of it in one call."""
        if change.run is not None:
            self._stage(change.run, change.author)
        said = {
            "id": str(uuid.uuid4()),  # of this change, not of an attempt: sent twice it is written once
            "base": change.base_revision,
            "author": change.author,
            "title": change.title,
            "undoes": change.undoes,
            "decisions": [[d.kind, d.subject, d.object, d.value, d.before] for d in change.decisions],
            "run": change.run.id if change.run is not None else None,
            "erased": list(change.erased),
        }
        with self._lock:
            try:
                revision = int(self._call("fc_apply", dict, p=said)["revision"])
            except StoreError as exc:
                self._seen = (-np.inf, 0)  # whoever was first is to be seen at the next look
                if change.run is not None and isinstance(exc, StoreDataError):
                    for begun in (change.run.id, f"{change.run.id} whole"):
                        self._call("fc_discard_run", object, run=begun)
                raise
            self._look(revision)
            if change.erased:
                self._known = None
            if change.erased or change.run is not None:  # one of which somebody was erased may have become whole again
                self._runs.clear()
        if change.run is not None or change.erased:
            self._prune()
        return revision

    def _prune(self) -> None:
        """Let rows of old runs go. The change is written by now: what cannot be done today is done at the next run."""
        with suppress(StoreError):
            while self._call("fc_prune", int):
                pass

    def _stage(self, run: Run, author: str) -> None:
        faces = self._faces.read()
        at = np.array([faces.row.get(face, -1) for face in run.faces], np.int64)
        people = {owner for owner in run.owner if owner is not None}
        noise = sum(owner is None and label == -1 for owner, label in zip(run.owner, run.label.tolist(), strict=True))
        head = {
            "author": author,
            "params": dict(run.params),
            "fingerprint": run.fingerprint,
            "reason": dict(run.reason),
            "questions": [[q.kind, q.person, q.other, q.n_faces] for q in run.questions],
            "n_faces": len(run.faces),
            "n_people": len(people),
            "n_noise": noise,
            "covers": _covers(run, faces, at),
        }
        status = self._call("fc_begin_run", dict, run=run.id, p=head)["status"]
        if status == "ready":
            return  # the id is the content: publishing the same run again only moves the pointer
        # A run of which somebody was erased is staged beside itself; it is whole again all at once.
        stage_as = f"{run.id} whole" if status == "mending" else run.id
        for start in range(0, len(run.faces), _STAGED):
            part = slice(start, start + _STAGED)
            rows = {
                "v": run.faces[part],
                "o": run.owner[part],
                "l": run.label[part].tolist(),
                "s": run.strength[part].astype(np.float64).tolist(),
                "m": [_mark(faces, row) for row in at[part].tolist()],
            }
            unknown = self._call("fc_stage", list, run=stage_as, p=rows)
            for body in self._shown(faces, unknown):
                self._call("fc_know_faces", int, p=body)

    def _shown(self, faces: FaceSet, unknown: Sequence[FaceId]) -> Iterator[dict[str, list[Any]]]:
        """What is shown of some faces, in columns and in bodies of a bounded size."""
        body: dict[str, list[Any]] = {key: [] for key in ("v", "url", "folder", "crop", "blur", "m")}
        size = 0
        for face in unknown:
            row = faces.row.get(face, -1)
            picture = self._faces.crop(face) if row >= 0 and faces.picture_marks[row] else b""
            crop = b64encode(picture).decode("ascii") or (faces.crop_urls[row] if row >= 0 else "")
            blur = float(faces.blur_score[row]) if row >= 0 else np.nan
            url, folder = (faces.url[row], faces.folder[row]) if row >= 0 else ("", "")
            values = (face, url, folder, crop, None if np.isnan(blur) else blur, _mark(faces, row))
            for column, value in zip(body.values(), values, strict=True):
                column.append(value)
            size += len(crop) + len(url) + 200
            if size > _BODY:
                yield body
                body, size = {key: [] for key in body}, 0
        if body["v"]:
            yield body


def open_people(
    settings: Settings,
    user: UserId,
    faces: FaceStore,
    token: str = "",
    patience_s: float = 120.0,
    glance_s: float = 0.0,
) -> SupabasePeopleStore:
    """People of one user in the project of the settings: by the user's own token, else by the service key."""
    client = connect(settings, token, patience_s)
    functions = Functions(client, user, names_user=not token, patience_s=patience_s)
    return SupabasePeopleStore(functions, faces, glance_s)


def _record(row: dict[str, Any]) -> ChangeRecord:
    decisions = tuple(Decision(*said) for said in row["decisions"])
    return ChangeRecord(
        row["revision"], row["at"], row["author"], row["title"], decisions, row["undoes"], row["n_erased"]
    )


def _covers(run: Run, faces: FaceSet, at: NDArray[np.int64]) -> dict[str, str]:
    """The face that stands for each person, by the rule of the People page."""
    here = [i for i, owner in enumerate(run.owner) if owner is not None and at[i] >= 0]
    people, owner = np.unique(np.array([run.owner[i] for i in here], object), return_inverse=True)
    rows = at[here]
    known = run.params.get("blur_threshold")
    threshold = float(known) if isinstance(known, int | float) else 0.0
    chosen = covers(owner.astype(np.int32), faces.vectors[rows], faces.blur_score[rows], threshold)
    return {person: faces.ids[rows[i]] for person, i in zip(people.tolist(), chosen.tolist(), strict=True)}


def _mark(faces: FaceSet, row: int) -> str:
    """Short hash of what is shown of a face."""
    if row < 0:
        return "unknown"
    shown = [
        faces.url[row],
        faces.folder[row],
        faces.crop_urls[row],
        faces.picture_marks[row],
        str(faces.blur_score[row]),
    ]
    return blake2b("\0".join(shown).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
