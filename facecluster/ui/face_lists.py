"""The lists that face grids have in the browser, as bytes: made once for all sessions that show the same tiles.

Streamlit writes what a component is given as JSON twice in every run, 0.3 s for 17,000 tiles, and each session had a
list of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any, NamedTuple
from weakref import ReferenceType, ref

from facecluster.model import FaceSet
from facecluster.ui import crops, session
from facecluster.ui.face_rows import Deeds, Row, Section, Target
from facecluster.view import View

# Rows that may differ from the list before it is made anew.
_MOST_CHANGED = 100
# Lists, and headings, that are kept for other sessions; one of 17,000 faces takes 10 MB.
_MOST_SHARED = 4


@dataclass(frozen=True)
class FaceList:
    """A list as browsers have it, and the rows it was made of.

    Attributes
    ----------
    sent : bytes
        What the component is given: JSON.
    place : Mapping[str, int]
        Row number of each tile.
    last : list[_Compared]
        What was compared with it last, if anything was.
    """

    rows: tuple[Row, ...]
    shape: int
    kind: str
    version: str
    sent: bytes
    place: Mapping[str, int]
    faces: ReferenceType[FaceSet]  # of whose pictures it has the names; an import brings others
    last: list[_Compared] = field(default_factory=list)

    def changed(self, rows: tuple[Row, ...]) -> tuple[Row, ...]:
        """Those that are told otherwise by now, of rows that it serves."""
        return self._compared(rows).changed or ()

    def gone(self, rows: tuple[Row, ...]) -> tuple[str, ...]:
        """Ids that are in it and not in these rows."""
        return self._compared(rows).gone

    def hidden(self, rows: tuple[Row, ...]) -> tuple[str, ...]:
        """Ids of those who are hidden now."""
        return self._compared(rows).hidden

    def serves(self, rows: tuple[Row, ...], shape: int, faces: FaceSet) -> bool:
        """Whether these tiles are in it, few of them told otherwise; some that are in it may be gone."""
        return self.shape == shape and self.faces() is faces and self._compared(rows).changed is not None

    def _compared(self, rows: tuple[Row, ...]) -> _Compared:
        """Rows beside its own: once for all windows that show the same."""
        last = next(iter(self.last), None)
        if last is None or last.rows is not rows:
            ids = {row.id for row in rows}
            gone = tuple(one for one in self.place if one not in ids)
            last = _Compared(rows, self._differing(rows), gone, tuple(row.id for row in rows if row.is_hidden))
            self.last[:] = [last]
        return last

    @cached_property
    def _own(self) -> frozenset[int]:
        return frozenset(map(id, self.rows))

    def _differing(self, rows: tuple[Row, ...]) -> tuple[Row, ...] | None:
        if not len(self.rows) / 2 <= len(rows) <= len(self.rows):
            return None
        # Most rows are the same objects as before, and looking into two of them costs ten times as much.
        new = [row for row in rows if id(row) not in self._own]
        if not all(row.id in self.place for row in new):
            return None
        found = tuple(row for row in new if row != self.rows[self.place[row.id]])
        return found if len(found) <= _MOST_CHANGED else None


class _Compared(NamedTuple):
    """Rows beside those of a list: who is told otherwise (None: it does not serve them), who is gone, who is hidden."""

    rows: tuple[Row, ...]
    changed: tuple[Row, ...] | None
    gone: tuple[str, ...]
    hidden: tuple[str, ...]


# The newest first. Sessions write it at the same time: a list that gets lost is made again.
_shared: list[FaceList] = []
_headings: list[tuple[Sequence[Section], FaceList, str, bytes]] = []


def listed(
    held: FaceList | None,
    view: View,
    rows: tuple[Row, ...],
    key: str,
    label: str,
    kind: str,
    deeds: Deeds,
    targets: Sequence[Target],
) -> FaceList:
    """The list there is, while it holds these tiles and few of them changed; else another session's, or a new one.

    Faces that were given away, and people who are somebody else now, stay in it, not shown: an act on a page of
    thousands sends a few of its rows.
    """
    base = crops.base_of(session.service(), view.faces)
    shape = hash(
        (key, base, label, kind, deeds.rename is not None, tuple(targets), *deeds.keys, deeds.passing, deeds.hint)
    )
    for one in [held, *_shared] if held is not None else [*_shared]:
        if one is not None and one.serves(rows, shape, view.faces):
            return one
    data = _data(view, rows, key, base, label, kind, deeds, targets)
    version = sha256(data).hexdigest()[:16]
    sent = b'{"version": "%s", %s' % (version.encode(), data[1:])
    place = {row.id: i for i, row in enumerate(rows)}
    made = FaceList(rows, shape, kind, version, sent, place, ref(view.faces))
    _shared[:] = [made, *_shared[: _MOST_SHARED - 1]]
    return made


def _data(
    view: View,
    rows: Sequence[Row],
    key: str,
    base: str,
    label: str,
    kind: str,
    deeds: Deeds,
    targets: Sequence[Target],
) -> bytes:
    hosts = session.settings().image_hosts
    is_named = deeds.rename is not None
    told = {
        "key": key,
        "ids": [row.id for row in rows],
        "names": [row.name for row in rows] if is_named else [],
        "lines": [row.line for row in rows],
        "warnings": {row.id: row.warning for row in rows if row.warning},
        "likeness": [rounded(row.likeness) for row in rows] if any(row.likeness for row in rows) else [],
        "counts": [row.n_faces for row in rows] if is_named else [],
        "pictures": [crops.name_of(view, row.face, hosts) for row in rows],
        "targets": [{"id": t.id, "name": t.name, "picture": crops.name_of(view, t.face, hosts)} for t in targets],
        "base": base,
        "sizes": list(crops.SIZES),
        "label": label,
        "kind": kind,
        "isNamed": is_named,
        "keys": list(deeds.keys),
        "passing": deeds.passing,
        "hint": deeds.hint,
    }
    return _bytes(told)


def ordered(
    key: str, held: FaceList, spec: str, order: Sequence[int] | None, view: View, sections: Sequence[Section]
) -> bytes:
    """Which of a list in which order, and the headings over it; JSON of the part "order"."""
    if order is None:
        for some, of, what, sent in [*_headings]:
            if some is sections and of is held and what == f"{key} {spec}":
                return sent
    told = {"version": held.version, "spec": spec, "rows": order, "sections": _titles(view, sections)}
    made = _bytes({"key": key, "part": "order", "value": told})
    if order is None and sections:
        _headings[:] = [(sections, held, f"{key} {spec}", made), *_headings[: _MOST_SHARED - 1]]
    return made


def _titles(view: View, sections: Sequence[Section]) -> list[dict[str, Any]]:
    hosts = session.settings().image_hosts
    return [
        {
            "id": section.id,
            "title": section.title,
            "line": section.line,
            "picture": crops.name_of(view, section.face, hosts),
            "deeds": [list(deed) for deed in section.deeds],
            "n": section.n,
        }
        for section in sections
        if section.n
    ]


def rounded(likeness: tuple[float, float | None] | None) -> list[float | None] | None:
    """A likeness as the browser is told it."""
    return None if likeness is None else [None if one is None else round(one, 3) for one in likeness]


def _bytes(told: Mapping[str, Any]) -> bytes:
    # Escaped, so that half a character in a name (which files may hold) does not stop the page.
    return json.dumps(told).encode("ascii")
