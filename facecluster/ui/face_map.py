"""The face map: a component that draws it with plotly.js, what it is told, and what it tells back.

The browser gets places and colours, never faces; what is drawn there comes back as a shape in the units of the map and
is held against all faces here.
"""

from __future__ import annotations

import gzip
from base64 import b64encode
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from typing import Any
from zlib import crc32

import numpy as np
import plotly
import streamlit as st
from numpy.typing import NDArray
from scipy.spatial import KDTree
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from facecluster import lasso
from facecluster.lasso import FaceMap, Likeness, Window
from facecluster.model import FaceId, PersonId
from facecluster.ui import pictures, session, widgets
from facecluster.ui.crops import prefix
from facecluster.view import PersonCard, View

SCOPE = "map"
KEY = "face-map"
CARD = "face-map-card"
ACTS = "face-map-acts"
# Faces that are compared with everybody at once, 0.2 s at most, and those that are on demand, up to 3 s.
COMPARED_AT_ONCE = 200
MOST_COMPARED = 3000
N_LABELS = 12
N_HUES = 12
_LONGEST_LABEL = 24
_CROP = 96  # pixels of the picture beside the pointer

_FOLDER = files("facecluster.ui")
_HTML = """
<div class="fc-map-tools">
  <div role="radiogroup" aria-label="What dragging does">
    <button type="button" role="radio" data-drag="pan">
      <svg viewBox="0 0 16 16" aria-hidden="true"><path d="M8 2v12M2 8h12M6 4l2-2 2 2M6 12l2 2 2-2M4 6 2 8l2 2M12 6l2 2
        -2 2"/></svg>Move</button>
    <button type="button" role="radio" data-drag="lasso">
      <svg viewBox="0 0 16 16" aria-hidden="true"><path d="M8 2.5c3.3 0 6 1.6 6 3.8s-2.7 3.8-6 3.8-6-1.6-6-3.8
        2.7-3.8 6-3.8ZM5 9.6c-1.3.6-1.5 2.2-.2 2.6 1 .3 1.6.7 1.4 1.8"/></svg>Lasso</button>
    <button type="button" role="radio" data-drag="select">
      <svg viewBox="0 0 16 16" aria-hidden="true"><path d="M2.5 2.5h11v11h-11z" stroke-dasharray="2.2 1.8"/></svg>
      Box</button>
  </div>
  <button type="button" data-do="view" title="Select every face that is in view (Enter)">All in view</button>
  <div>
  <button type="button" data-do="out" aria-label="Look from further away" title="Further away (-)">
    <svg viewBox="0 0 16 16" aria-hidden="true"><path d="M3 8h10"/></svg></button>
  <button type="button" data-do="in" aria-label="Look closer" title="Closer (+)">
    <svg viewBox="0 0 16 16" aria-hidden="true"><path d="M3 8h10M8 3v10"/></svg></button>
  <button type="button" data-do="whole" title="The whole map (0)">Whole map</button>
  <button type="button" data-do="save" title="Save what is seen as a picture">Save picture</button>
  </div>
</div>
<div class="fc-map-field">
  <div class="fc-map-plot" tabindex="0" role="group"></div><canvas aria-hidden="true"></canvas>
</div>
<p class="fc-map-said" role="status"></p>
"""
# isolate_styles=False: plotly puts its own sheet into the page's head, where a shadow root does not see it.
_map = st.components.v2.component(
    "facecluster_face_map",
    html=_HTML,
    css=_FOLDER.joinpath("face_map.css").read_text("utf-8"),
    js=_FOLDER.joinpath("face_map.js").read_text("utf-8"),
    isolate_styles=False,
)
_card = st.components.v2.component(
    "facecluster_map_card",
    html='<div class="card" hidden><span><img alt=""></span><div><b></b><p></p><p></p></div></div>',
    css="""
.card { position: fixed; z-index: 50; display: flex; gap: 12px; width: max-content; max-width: 260px; padding: 8px;
  background: var(--st-secondary-background-color); color: var(--st-text-color);
  border: 1px solid var(--st-border-color); border-radius: 12px; box-shadow: 0 2px 6px #2b241a12, 0 12px 32px #2b241a1f;
  pointer-events: none;  font: 13px/1.35 var(--st-font); }
.card[hidden] { display: none; }
span { flex: none; width: 72px; height: 72px; border-radius: 8px; overflow: hidden;
  background: var(--st-border-color); }
img { display: block; width: 100%; height: 100%; object-fit: cover; }
img:not([src]) { visibility: hidden; }
div > div { align-self: center; min-width: 0; padding-right: 6px; }
b { display: block; font-size: 15px; font-weight: 500; overflow-wrap: anywhere; }
p { margin: 0; color: var(--st-gray-text-color); overflow-wrap: anywhere; }
""",
    js=_FOLDER.joinpath("face_map_card.js").read_text("utf-8"),
)
# Says what was drawn, from within the fragment that answers it: told by the map itself, it would put the whole map
# together again, a fifth of a second at 100,000 faces.
_acts = st.components.v2.component(
    "facecluster_map_acts",
    js="""
export default function ({ data, parentElement, setTriggerValue }) {
  parentElement.tell = setTriggerValue;
  if (parentElement.turn !== undefined && parentElement.turn !== data.turn) {
    window.dispatchEvent(new CustomEvent("facecluster-map-clear"));
  }
  parentElement.turn = data.turn;
  if (!parentElement.heard) {
    parentElement.heard = ({ detail }) => parentElement.tell("selection", detail);
    window.addEventListener("facecluster-map-act", parentElement.heard);
  }
  return () => window.removeEventListener("facecluster-map-act", parentElement.heard);
}
""",
)


# --- plotly.js, from this machine ----------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _plotly_js() -> tuple[bytes, bytes]:
    plain = files("plotly").joinpath("package_data", "plotly.min.js").read_bytes()
    return plain, gzip.compress(plain, 6)  # 4.8 MB; a third of it on the wire


def plotly_js(request: Request) -> Response:
    """The copy inside the plotly package: the page asks nobody else for it, and once only."""
    plain, small = _plotly_js()
    is_small = "gzip" in request.headers.get("accept-encoding", "")
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    if is_small:
        headers["Content-Encoding"] = "gzip"
    return Response(small if is_small else plain, media_type="text/javascript", headers=headers)


_ADDRESS = f"{prefix()}/plotly.min.js"
ROUTES = [Route(_ADDRESS, plotly_js)]


# --- what is drawn -------------------------------------------------------------------------------------------------


def _moment(view: View) -> str:
    """Under what a thing made of this view is kept: two libraries may well have the same faces and revision."""
    return f"{session.settings()!r}/{view.faces.fingerprint}/{view.version}"


def points() -> FaceMap:
    """The faces of the map as they are now."""
    view = session.view()
    return _points(view, _moment(view))


@st.cache_resource(show_spinner=False, max_entries=4)
def _points(_view: View, moment: str) -> FaceMap:
    del moment
    return FaceMap.of(_view, *session.service().map())


def hues(people: Sequence[PersonId], centres: NDArray[np.float64], near: int = 5) -> NDArray[np.int8]:
    """A hue for each person, by id and thus the same each time, but never that of one of the nearest on the map.

    `people`, with `centres` of shape (n, 2), come in the order in which they choose.
    """
    found = np.zeros(len(people), np.int8)
    if not len(people):
        return found
    _, beside = KDTree(centres).query(centres, k=min(near + 1, len(people)))
    for i, person in enumerate(people):
        taken = {int(found[j]) for j in np.atleast_1d(beside[i]) if j < i}
        wanted = crc32(person.encode())
        found[i] = next(hue % N_HUES for hue in range(wanted, wanted + N_HUES) if hue % N_HUES not in taken)
    return found


@st.cache_resource(show_spinner=False, max_entries=4)
def _hue_of_owner(_view: View, _points: FaceMap, moment: str) -> NDArray[np.int8]:
    """Shape (n_people,): the hue of each person number; 0 for those without a point."""
    del moment
    owned = _points.owner >= 0
    sizes = np.bincount(_points.owner[owned], minlength=len(_view.state.people))
    present = np.flatnonzero(sizes)
    present = present[np.lexsort((present, -sizes[present]))]
    sums = np.stack([np.bincount(_points.owner[owned], _points.xy[owned, axis], len(sizes)) for axis in (0, 1)], axis=1)
    found = np.zeros(len(sizes), np.int8)
    found[present] = hues([_view.state.people[p] for p in present], sums[present] / sizes[present, None])
    return found


@st.cache_resource(show_spinner=False, max_entries=8)
def drawing(
    _view: View, _points: FaceMap, moment: str, window: Window | None = None, chosen: PersonId | None = None
) -> dict[str, Any]:
    """What the browser draws: places, whose each is, and what is written; `moment` stands for view and points.

    Numbers travel as little-endian bytes in base64: x and y of each point, and the place of its person in `people`.
    """
    view, number = _view, _view.number.get(chosen, -1) if chosen is not None else -1
    at = _points.to_draw(window, always=number)
    owner = _points.owner[at]
    some, who = np.unique(owner[owner >= 0], return_inverse=True)
    place = np.full(len(owner), -1, np.int32)
    place[owner >= 0] = who
    hue = _hue_of_owner(view, _points, moment)
    cards = [view.card_of[view.state.people[p]] for p in some.tolist()]
    focus = None
    if number >= 0 and (theirs := _points.owner == number).any():
        focus = {"id": chosen, "frame": _frame(_points.xy[theirs]), "person": int(np.searchsorted(some, number))}
    said = f"{moment} {window} {chosen}"
    return {
        "key": sha256(said.encode("utf-8", "replace")).hexdigest()[:16],
        "plotly": f"{_ADDRESS}?v={plotly.__version__}",
        "xy": _packed(_points.xy[at], "<f4"),
        "who": _packed(place, "<i4"),
        "people": [[card.name, card.n_faces, int(hue[p])] for p, card in zip(some.tolist(), cards, strict=True)],
        "labels": _labels(view, _points, window, chosen),
        "frame": [*map(float, (*_points.xy.min(axis=0), *_points.xy.max(axis=0)))] if len(_points) else [0, 0, 1, 1],
        "isWhole": len(at) == len(_points),
        "focus": focus,
        "label": f"Map of {widgets.faces(len(_points))}: alike faces lie together.",
    }


def _packed(values: NDArray[Any], kind: str) -> str:
    return b64encode(np.ascontiguousarray(values, kind).tobytes()).decode("ascii")


def _labels(view: View, points: FaceMap, window: Window | None, chosen: PersonId | None) -> list[list[object]]:
    """Whose names stand where: the largest named people of what is looked at, of all where nobody is named there."""
    if chosen is not None and chosen in view.card_of:
        cards = [view.card_of[chosen]]
    else:
        owner = points.owner if window is None else points.owner[points.within(window)]
        n = np.bincount(owner[owner >= 0], minlength=len(view.state.people))
        order = np.argsort(-n, kind="stable")[: (n > 0).sum()].tolist()
        present = [card for p in order if (card := view.card_of[view.state.people[p]]) and not card.is_hidden]
        named = [card for card in present if card.name]
        cards = (named or present)[:N_LABELS]
    return [
        _label(card, points.xy[points.owner == view.number[card.id]]) for card in cards if _is_on(view, points, card)
    ]


def _is_on(view: View, points: FaceMap, card: PersonCard) -> bool:
    return bool((points.owner == view.number[card.id]).any())


def _label(card: PersonCard, xy: NDArray[np.float32]) -> list[object]:
    text = card.name or widgets.faces(card.n_faces)
    text = text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…"
    most = _core(xy)
    return [float(np.median(most[:, 0])), float(most[:, 1].max()), text, bool(card.name)]


def _core(xy: NDArray[np.float32]) -> NDArray[np.float32]:
    """The nine tenths of some points that are nearest to their middle: a stray face must not set the frame."""
    away = ((xy - np.median(xy, axis=0)) ** 2).sum(axis=1)
    return np.asarray(xy[away <= np.quantile(away, 0.9)])


def _frame(xy: NDArray[np.float32]) -> list[float]:
    """Left, bottom, right and top of where most of some points are, with room around them."""
    low, high = _core(xy).min(axis=0), _core(xy).max(axis=0)
    half = max(float((high - low).max()) * 1.3, 0.6)
    x, y = (float(v) for v in (low + high) / 2)
    return [x - half, y - half, x + half, y + half]


def show(chosen: PersonId | None = None) -> None:
    """Draw the map, as a fragment: it is sent again only where something on it changed."""
    view, shown = session.view(), points()
    window = session.recall("map-window")
    looked_at: Window | None = window if isinstance(window, tuple) else None
    data = drawing(view, shown, _moment(view), None if len(shown) <= lasso.MOST_DRAWN else looked_at, chosen)
    _map(key=KEY, data=data, on_selection_change=_looked)


def _looked() -> None:
    view = session.drawn_on(KEY).get("view")
    session.remember("map-window", tuple(view) if view else None)


def hear() -> None:
    """Hear what is done on the map, in the fragment that answers: it is left for its next run under `drawn-map`."""
    turn = session.recall("map-turn") or 0
    _acts(key=ACTS, data={"turn": turn}, on_selection_change=taken)


def taken() -> None:
    """Follow what was done on the map, as a callback: a face was clicked, a shape drawn, or all of it given up."""
    said = session.drawn_on(ACTS)
    if "points" in said:
        (at,) = said["points"]
        _clicked(points().nearest(at["x"], at["y"]))
    elif "lasso" in said:
        ids = session.view().faces.ids
        select([ids[row] for row in points().enclosed(said["lasso"]).tolist()])
    else:
        close()


def _clicked(row: int | None) -> None:
    if row is None:
        return
    view = session.view()
    owner = view.owner(view.faces.ids[row])
    if owner is None:
        select([view.faces.ids[row]])
    else:
        session.open_person(owner)
        session.remember("map-leaves", True)


def select(faces: Sequence[FaceId]) -> None:
    """List these faces; none is an answer too."""
    session.forget("map-name")
    session.forget("map-compare")
    session.remember(f"drawn-{SCOPE}", list(faces))
    session.select(SCOPE, faces)


def close() -> None:
    """Forget the list and what was drawn."""
    for name in ("map-name", "map-list", "map-compare", f"drawn-{SCOPE}"):
        session.forget(name)
    session.clear_selection(SCOPE)
    turn = session.recall("map-turn")
    session.remember("map-turn", (turn if isinstance(turn, int) else 0) + 1)


def leaves() -> bool:
    """Whether a click asked for another page; asked once."""
    found = session.recall("map-leaves") is True
    session.forget("map-leaves")
    return found


def name_selected() -> None:
    """Name what is selected, as the callback of its field; somebody of that name is asked about first."""
    view, name, chosen = session.view(), session.typed("map-name").strip(), session.selected(SCOPE)
    faces = [FaceId(face) for face in chosen]
    whole = lasso.whole_person(view, faces)
    if not name or not faces:
        return
    if whole is not None:
        session.rename(whole, "map-name", view.person(whole).name)
    elif others := view.named(name, but=PersonId("")):
        session.remember("map-name", (name, tuple(other.id for other in others)))
        return
    else:
        session.act(lambda: session.service().new_person(faces, name))
    if session.is_done() and session.same_name() is None:
        close()


def name_asked() -> tuple[str, tuple[PersonId, ...]] | None:
    """A name that was given to what is selected, and the people who have it already."""
    found = session.recall("map-name")
    living = session.view().card_of
    if not isinstance(found, tuple):
        return None
    others = tuple(person for person in found[1] if person in living)
    return (found[0], others) if others else None


def n_drawn() -> int:
    """Points that are drawn at a time."""
    return min(len(points()), lasso.MOST_DRAWN)


def is_on_map(person: PersonId) -> bool:
    """Whether any face of a person is on the map."""
    return bool((points().owner == session.view().number[person]).any())


def whom(faces: Sequence[FaceId]) -> Likeness | None:
    """Whom these faces are like by their whole vectors; None for many, until that was asked for."""
    view = session.view()
    most = MOST_COMPARED if session.recall("map-compare") is True else COMPARED_AT_ONCE
    if not faces or len(faces) > most:
        return None
    return _whom(view, _moment(view), tuple(faces))


@st.cache_resource(show_spinner=False, max_entries=8)
def _whom(_view: View, moment: str, faces: tuple[FaceId, ...]) -> Likeness:
    return lasso.likeness(_view, faces, _middles(_view, moment))


@st.cache_resource(show_spinner=False, max_entries=2)
def _middles(_view: View, moment: str) -> NDArray[np.float32]:
    del moment
    return lasso.middles(_view)


# --- the face beside the pointer -----------------------------------------------------------------------------------


def card() -> None:
    """Show the face under the pointer: a fragment of its own, so that a look at a face redraws nothing else."""

    @st.fragment
    def beside() -> None:
        with session.errors():
            said = session.recall("map-hover")
            view = session.view()
            data: dict[str, object] = {}
            if isinstance(said, tuple) and (face := FaceId(said[2])) in view.faces.row:
                about = view.face(face)
                picture = pictures.of_face(face, _CROP)
                data = {"x": said[0], "y": said[1], "origin": about.photo or about.folder, "picture": picture}
            _card(key=CARD, data=data, on_selection_change=pointed_at)

    beside()


def pointed_at() -> None:
    """Follow the pointer, as the card's callback."""
    at: dict[str, Any] = next(iter(session.drawn_on(CARD).get("points", ())), {})
    row = points().nearest(at["x"], at["y"]) if at else None
    if row is not None:
        session.remember("map-hover", (at["x"], at["y"], session.view().faces.ids[row]))
