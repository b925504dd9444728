"""Pieces that several pages share: page head, face grid, action bar, news, empty states."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, tzinfo
from functools import lru_cache
from importlib.resources import files
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from facecluster.answers import certainty as certainty
from facecluster.jobs import Jobs, JobState
from facecluster.model import FaceId, PersonId
from facecluster.search import cosine
from facecluster.ui import pictures, session
from facecluster.view import PersonCard, View

PAGE = 60
ON_BAR = 3  # faces on the action bar

_CSS = files("facecluster.ui").joinpath("style.css").read_text("utf-8")
# isolate_styles=False: the sheet is for Streamlit's own widgets. The script hands it the theme, and says which mode is
# on for the few values that the theme has no name for.
_style = st.components.v2.component(
    "facecluster_style",
    css=_CSS,
    js="""
export default function (component) {
  const root = document.documentElement;
  const theme = getComputedStyle(component.parentElement);
  // Components have the theme as variables, the page around them has not.
  for (const name of ["background", "secondary-background", "text", "border", "link", "primary"]) {
    const variable = `--st-${name}-color`;
    root.style.setProperty(variable, theme.getPropertyValue(variable));
  }
  const paper = theme.getPropertyValue("--st-background-color").trim();
  const probe = document.createElement("canvas").getContext("2d");
  probe.fillStyle = paper || "#fff";
  const value = parseInt(probe.fillStyle.slice(1), 16);
  const light = ((value >> 16) & 255) + ((value >> 8) & 255) + (value & 255);
  root.classList.toggle("fc-dark", light < 384);
  if (root.dataset.fcKeys) return;
  root.dataset.fcKeys = "heard";
  // Streamlit hears no key while a field has the focus, and a checkbox that was clicked keeps it: the keys of the
  // action bar would be dead just when it appears. Heard on the way down: the checkbox lets no click come back up.
  document.addEventListener("click", (event) => {
    const box = event.target.closest('[class*="st-key-pick-"]');
    if (box && event.detail > 0) setTimeout(() => box.querySelector("input")?.blur());
  }, true);
  // Streamlit puts the sections of its menu into a list as what is no item of one, and a screen reader counts wrongly.
  const mend = () => {
    for (const section of document.querySelectorAll('[data-testid="stSidebarNavItems"] > div:not([role])')) {
      section.setAttribute("role", "listitem");
      for (const link of section.querySelectorAll("li")) link.setAttribute("role", "none");
    }
  };
  mend();
  new MutationObserver(mend).observe(document.body, { childList: true, subtree: true });
}
""",
    isolate_styles=False,
)


def plural(n: int, one: str, many: str) -> str:
    """A count with its word: "1 face", "1,204 faces"."""
    return f"{n:,} {one if n == 1 else many}"


def faces(n: int) -> str:
    """A count of faces."""
    return plural(n, "face", "faces")


def alike(distance: float, cosine: float) -> str:
    """A distance, always with its cosine."""
    return f"cosine {cosine:.2f} · distance {distance:.2f}"


def called(name: str) -> str:
    """A name, or what stands for one."""
    return name or "Unnamed"


def escaped(text: str) -> str:
    """Data as part of a widget's label, which Streamlit reads as markdown, also where the label is not shown.

    Unescaped, a name could load a picture from anywhere. Icons are put in after escapes are read, and so are links for
    whatever looks like an address, so joiners of no width stand in them.
    """
    text = re.sub(r":(?=material/|//)|\bwww(?=\.)|(?<=\w)@(?=\w)", "\\g<0>\u2060", text, flags=re.IGNORECASE)
    text = re.sub(r"([\\`*_\[\]#!|~<>:$&^={}])", r"\\\1", text)
    return re.sub(r"^(\s*\d*)([-+.)])", r"\1\\\2", text)  # what begins a list


def whom(name: str, instead: str = "this person") -> str:
    """A name for the label of a button: escaped, and cut so that a button stays a button."""
    most = 28
    return escaped(name if len(name) <= most else f"{name[: most - 1].rstrip()}…") or instead


def clock(at: str | datetime) -> str:
    """A moment (ISO 8601) in the reader's own time: "14 July 2026, 18:05"."""
    local = _moment(at).astimezone(_time_zone())
    return f"{local.day} {local:%B %Y, %H:%M}"


def when(at: str | datetime) -> str:
    """A moment, and how long ago it was: "14 July 2026, 18:05 · 3 minutes ago"."""
    moment = _moment(at)
    minutes = int((datetime.now(moment.tzinfo) - moment).total_seconds() // 60)
    if minutes < 1:
        age = "just now"
    elif minutes < 60:
        age = f"{plural(minutes, 'minute', 'minutes')} ago"
    elif minutes < 48 * 60:
        age = f"{plural(minutes // 60, 'hour', 'hours')} ago"
    else:
        age = f"{plural(minutes // 1440, 'day', 'days')} ago"
    return f"{clock(moment)} · {age}"


def _moment(at: str | datetime) -> datetime:
    return datetime.fromisoformat(at) if isinstance(at, str) else at


def _time_zone() -> tzinfo | None:
    """Where the reader is; None (this machine's) where the browser does not say."""
    try:
        return ZoneInfo(st.context.timezone) if st.context.timezone else None
    except (ZoneInfoNotFoundError, ValueError):
        return None


def style() -> None:
    """The sheet for Streamlit's own widgets: once a run, before anything is looked at, for it may take its time."""
    with st.container(key="fc-style"):
        _style(key="fc-style-sheet")


def page_head(title: str = "", line: str = "", draw: Callable[[], None] | None = None) -> None:
    """Title and one grey line, or what `draw` puts there; what was just done, or could not be, stands below."""
    if draw is not None:
        draw()
    else:
        with st.container(horizontal=True, key="fc-head", vertical_alignment="bottom"):
            st.title(escaped(title), anchor=False, width="content")
            if line:
                st.text(line, width="content")
    text = session.pending_problem()
    if text:
        session.problem(text)
    _unsaved()
    _news()


def _unsaved() -> None:
    """The names that were typed while the store was away."""
    waits = session.unsaved()
    if not waits:
        return
    every = "" if len(waits) == 1 else f" all {len(waits):,}"
    with st.container(horizontal=True, key="fc-unsaved", vertical_alignment="center"):
        st.text(f"Not saved yet: {', '.join(map(_typed, waits))}", width="content")
        st.button(f"Save{every or ' it'} now", key="fc-unsaved-save", on_click=session.save_again)
        drop = f"Drop{every or ' it'}"
        st.button(drop, key="fc-unsaved-drop", type="tertiary", on_click=session.forget, args=("unsaved",))


def _typed(one: session.TypedName) -> str:
    name = one.name.strip()
    return f"“{name}” for {called(one.seen)}" if name else f"no name for {one.seen}"


def _news() -> None:
    said = session.news()
    if said is None:
        return
    # At the foot of the page: nothing above it jumps when it comes and goes.
    with st.bottom, st.container(horizontal=True, key="fc-news", vertical_alignment="center"):
        st.text(said.text, width="stretch")
        if said.confirm is not None:
            card = session.view().card_of.get(said.confirm)
            if card is not None and card.n_confirmed < card.n_faces:
                st.button(
                    f"Confirm all {faces(card.n_faces)}",
                    key="fc-news-confirm",
                    on_click=session.act,
                    args=(lambda: session.service().confirm(card.id),),
                    help="Pins these faces: no later clustering moves them.",
                )
        if said.alike is not None and said.alike[1]:
            st.button(
                like_now(*said.alike, more=" more"), key="fc-news-alike", on_click=_show_alike, args=said.alike,
                help="Faces that are nobody's and are as much like this person as nearly all of their own, since now.",
            )  # fmt: skip
        if said.revision is not None:
            st.button("Undo", key="fc-news-undo", shortcut="Mod+Z", on_click=session.undo, args=(said.revision,))
        st.button("Close", key="fc-news-close", type="tertiary", on_click=session.dismiss_news)


def nobody_found(what_then: str = "") -> None:
    """Say why there is nobody, and lead on: no run yet, or every face was set aside; `what_then` ends the sentence."""
    view = session.view()
    n = faces(len(view.faces))
    if view.state.is_masked.all():
        text = f"All {n} were ignored, or said to be none. Take back those that count."
        empty("Every face is set aside", text, "pages/noise.py", "See them on Noise, under “Set aside”")
    else:
        empty(
            "Nobody found yet", f"{n} wait to be sorted into people{what_then}.", "pages/tune.py", "Find people on Tune"
        )


def like_now(person: PersonId, some: Sequence[FaceId], more: str = "") -> str:
    """That some loose faces look like somebody, for a label."""
    card = session.view().card_of.get(person)
    n = len(some)
    return f"{n:,}{more} look{'s' if n == 1 else ''} like {whom(card.name if card is not None else '')} now"


def _show_alike(person: PersonId, some: tuple[FaceId, ...]) -> None:
    """Go to Noise and see just these faces, which are likely a person's, as a button's callback."""
    session.remember("alike", (person, some))
    session.open_page("noise", like=person)


def empty(title: str, text: str, page: str = "", label: str = "") -> None:
    """Say why there is nothing to see, and lead on."""
    st.space("medium")
    st.subheader(title, anchor=False)
    st.text(text)
    if page:
        st.page_link(page, label=label)


def dialog(
    title: str, on_dismiss: Callable[[], None], width: Literal["small", "medium"] = "small"
) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """`st.dialog` for what draws itself anew without its page: with one look of its own, and its problems told in it.

    For a function that draws; called, it opens the dialog.
    """

    def make(draw: Callable[[], None]) -> Callable[[], None]:
        @st.dialog(title, width=width, on_dismiss=on_dismiss)
        def opened_now() -> None:
            with session.errors(), session.one_look():
                draw()

        return opened_now

    return make


def face_tile(
    face: FaceId | None,
    key: str,
    label: str,
    *,
    scope: str | None = None,
    item: str = "",
    on_open: Callable[..., None] | None = None,
    args: tuple[object, ...] = (),
    below: Callable[[], None] | None = None,
) -> None:
    """One face: the picture opens it, the corner selects it, `below` writes under it."""
    with st.container(key=f"fc-tile-{key}"):
        st.image(pictures.of_face(face), width="stretch", alt=label)
        if on_open is not None:
            st.button(escaped(label), key=f"fc-open-{key}", on_click=on_open, args=args)
        if scope is not None:
            turn = session.generation(scope)
            st.checkbox(
                escaped(f"Select {label}"),
                value=item in session.selected(scope),
                key=session.checkbox_key(scope, item, turn),
                label_visibility="collapsed",
                on_change=session.toggle,
                args=(scope, item, turn),
            )
        if below is not None:
            below()


def small(text: str, key: str) -> None:
    """A grey line under a face."""
    with st.container(key=f"fc-small-{key}"):
        st.text(text)


def grid(n: int, draw: Callable[[int], None], key: str, size: Literal["large", "medium", "thumb"] = "large") -> None:
    """Draw items 0 to n - 1 side by side, as many to a row as fit: six large ones at 1400 pixels, two on a phone."""
    with st.container(horizontal=True, key=f"fc-grid-{size}-{key}"):
        for at in range(n):
            draw(at)


def paged(n: int, key: str) -> range:
    """Choose a page of `n` items; the items on it."""
    n_pages = -(-n // PAGE)
    number = st.pagination(n_pages, key=f"page-{key}") if n_pages > 1 else 1
    number = min(number, max(n_pages, 1))
    return range((number - 1) * PAGE, min(number * PAGE, n))


def action_bar(scope: str, noun: str, draw: Callable[[list[str]], None]) -> None:
    """The ink bar at the foot of the page, only while something is selected."""
    chosen = session.selected(scope)
    if not chosen:
        return
    with st.bottom, st.container(horizontal=True, key="fc-bar", vertical_alignment="center"):
        _some_of(chosen, noun)
        st.text(f"{len(chosen):,} {noun if len(chosen) == 1 else noun_plural(noun)} selected", width="content")
        draw(chosen)
        st.button("Clear", key=f"clear-{scope}", on_click=session.clear_selection, args=(scope,))


def _some_of(chosen: Sequence[str], noun: str) -> None:
    """A few of the selected faces, one over the other."""
    view = session.view()
    some: Sequence[FaceId | None]
    if noun == "person":
        cards = [view.card_of[PersonId(person)] for person in chosen if person in view.card_of]
        some = [card.cover for card in cards[:ON_BAR]]
    else:
        some = [FaceId(face) for face in chosen if face in view.faces.row][:ON_BAR]
    with st.container(key="fc-bar-faces", width="content"):
        if some:
            st.image(pictures.of_faces(some, 96), width=34, alt=[""] * len(some))


def noun_plural(noun: str) -> str:
    """The two nouns that are ever selected."""
    return {"face": "faces", "person": "people"}[noun]


@contextmanager
def opened(label: str, key: str, kind: Literal["secondary", "tertiary"] = "secondary") -> Iterator[bool]:
    """A popover; draw into it only while it is open, because a list of thousands of people is not free."""
    popover = st.popover(label, key=key, type=kind, on_change="rerun")
    with popover:
        yield bool(popover.open)


def choose_person(
    label: str,
    key: str,
    but: Sequence[PersonId] = (),
    named_first: bool = True,
    placeholder: str = "Type a name",
    label_visibility: Literal["visible", "collapsed"] = "visible",
) -> PersonCard | None:
    """A box in which a person is found by typing."""
    view = session.view()
    words = _choices(session.library(), view.version, named_first, view)
    chosen = st.selectbox(
        label,
        [person for person in words if person not in but],
        index=None,
        key=key,
        format_func=words.__getitem__,
        placeholder=placeholder,
        label_visibility=label_visibility,
    )
    return view.card_of.get(chosen) if chosen is not None else None


# Made once for all sessions: of 5,000 people it took as long as the rest of the page.
@st.cache_resource(show_spinner=False, max_entries=4)
def _choices(library: str, version: str, named_first: bool, _view: View) -> Mapping[PersonId, str]:
    del library, version
    cards = _view.people(show_hidden=True)
    if named_first:
        cards.sort(key=lambda card: (not card.name, card.name.casefold(), -card.n_faces))
    return {card.id: _choice(card.name, card.n_faces) for card in cards}


@lru_cache(maxsize=20_000)
def _choice(name: str, n_faces: int) -> str:
    return f"{called(name)} · {faces(n_faces)}"


def wait_for(use_case: str, title: str, keep: bool = False, **args: object) -> None:
    """Start long work unless it runs already; show how far it is, with Cancel, and rerun the page when it is done.

    Who wants to `keep` the outcome of the last time asks only while the work runs.
    """
    job = session.jobs().start_once(use_case, **args)

    @st.fragment(run_every=0.4)
    def watch() -> None:
        state = session.jobs().state(job)
        if state.status == "running":
            how_far(session.jobs(), job, state, title)
            return
        if state.status == "done":
            if not keep:
                session.jobs().forget(job)
            st.rerun()
        session.problem(state.message)
        st.button("Start again", key=f"again-{job}", on_click=session.jobs().forget, args=(job,))

    watch()


def how_far(jobs: Jobs, job: str, state: JobState, title: str) -> None:
    """How far long work is, the time left, and the button that stops it."""
    left = state.seconds_left
    st.progress(min(state.fraction, 1.0), text=escaped(state.message))
    if left is not None and left >= 2:
        st.text(f"About {duration(left)} left")
    st.button(f"Cancel: {title.lower()}", key=f"cancel-{job}", on_click=jobs.cancel, args=(job,))


def duration(seconds: float) -> str:
    """A time still to wait: seconds, from two minutes on minutes."""
    if seconds < 120:
        return plural(max(round(seconds), 1), "second", "seconds")
    return plural(round(seconds / 60), "minute", "minutes")


def facts(rows: Sequence[tuple[str, str]], key: str) -> None:
    """What is so, in two columns: what it is, and its value, both shown as they are."""
    with st.container(key=f"fc-facts-{key}"):
        for name, value in rows:
            st.text(name)
            st.text(value)


def in_words(params: Mapping[str, object]) -> str:
    """Parameters of a run as a sentence's worth of words; an epsilon with its cosine."""
    epsilon = params.get("epsilon")
    said = [
        f"at least {params.get('min_cluster_size', '?')} faces a person",
        f"min_samples {params.get('min_samples', '?')}",
        f"epsilon {epsilon:.2f} (cosine {cosine(epsilon):.2f})" if isinstance(epsilon, int | float) else "",
        f"method {params.get('method', '?')}",
        f"blur score from {params.get('blur_threshold', '?')}",
        "" if params.get("refine", True) else "HDBSCAN alone",
        "hdbscan package" if params.get("engine") == "hdbscan" else "",
    ]
    return ", ".join(word for word in said if word)


def quoted(text: str) -> str:
    """A value as a shell or a settings file takes it."""
    return text if re.fullmatch(r"[\w@.+:/-]+", text) else shlex.quote(text)


def same_name() -> None:
    """Ask what to do about a name that somebody has already, as `session.rename` left it."""
    asked = session.same_name()
    if asked is None:
        return
    known = [card for card in map(session.view().card_of.get, asked.others) if card is not None]

    @dialog("There is somebody of this name already", session.forget_same_name)
    def ask() -> None:
        if session.same_name() is None:
            st.rerun()  # answered: a dialog closes only with the whole page
        with st.container(horizontal=True):
            for card in known[:5]:
                st.image(pictures.of_face(card.cover), width=96, alt=called(card.name))
        st.text(f"“{asked.name}” has {faces(sum(card.n_faces for card in known))} already. Is this the same human?")
        if known:
            st.button(
                escaped(f"Merge: make them one “{known[0].name}”"), key="same-merge", type="primary",
                on_click=session.merge_same_name, args=(known[0].id,),
            )  # fmt: skip
        st.button(
            escaped(f"Keep both: two people named “{asked.name}”"), key="same-both",
            on_click=session.keep_same_name,
        )  # fmt: skip
        st.button("Cancel: change nothing", key="same-cancel", type="tertiary", on_click=session.forget_same_name)

    ask()
