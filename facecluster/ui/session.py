"""What one browser session holds: its library, its selection, its last news. The only file that touches session_state.

Nothing of value lives here; a reload loses a selection and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import streamlit as st

from facecluster.config import Settings
from facecluster.errors import FaceClusterError, StoreError, StoreUnavailableError
from facecluster.jobs import Jobs
from facecluster.leftovers import look_alike_now
from facecluster.meanwhile import and_said, standing_on
from facecluster.model import FaceId, PersonId
from facecluster.ports import KEPT_RUNS as KEPT_RUNS
from facecluster.service import Service
from facecluster.ui import sign_in
from facecluster.ui.ahead import page_is_drawn
from facecluster.ui.settings_now import settings_now
from facecluster.view import View
from facecluster.wiring import demo_settings, open_jobs, open_service, settings_of

# Seconds that a page waits for a hosted store, all attempts together, before it says so.
_PATIENCE_S = 10.0


@dataclass(frozen=True)
class News:
    """What was just done, and the change that takes it back."""

    text: str
    revision: int | None = None
    confirm: PersonId | None = None  # a person just named, whose faces could be confirmed as well
    alike: tuple[PersonId, tuple[FaceId, ...]] | None = None  # loose faces that are likely a person's since


@dataclass(frozen=True)
class TypedName:
    """A name that was typed for `person` (who was called `seen`), and the others who have it already."""

    person: PersonId
    name: str
    seen: str
    others: tuple[PersonId, ...] = ()


@st.cache_resource(show_spinner=False)
def _open(_settings: Settings, key: str, is_guarded: bool) -> tuple[Service, Jobs]:
    """One Service for all sessions of a user; `key` stands for the settings, and the user is one of them."""
    del key
    may_write = sign_in.may_write if is_guarded else None
    return open_service(_settings, patience_s=_PATIENCE_S, may_write=may_write), open_jobs(_settings)


def _opened(of: Settings) -> tuple[Service, Jobs]:
    return _open(of, _told(of), sign_in.is_on())


@lru_cache(maxsize=64)
def _told(of: Settings) -> str:
    return repr(of)


def _own_settings() -> Settings:
    """Settings of whoever looks; `SignedOutError` where that is nobody, so that whatever needs a library ends here."""
    found = settings_now()
    user = sign_in.user()
    return found if user is None else settings_of(found, user)


def has_sign_in() -> bool:
    """Whether people sign in here, so that others have libraries on this server too."""
    return sign_in.is_on()


class _Look(NamedTuple):
    settings: Settings
    service: Service
    is_demo: bool


# What `one_library` found out: a page asks a hundred times, and each time the whole environment was read.
_look: ContextVar[_Look | None] = ContextVar("look", default=None)


def _found() -> _Look:
    """The library that is shown: the demo stands in while nothing hosted is set up and the user's library is empty."""
    look = _look.get()
    if look is not None:
        return look
    own, wanted = _own_settings(), st.session_state.get("fc_library")
    if wanted == "demo" or (wanted != "own" and not own.is_hosted and _is_empty(_opened(own)[0])):
        demo = _demo_of(own)
        return _Look(demo, _opened(demo)[0], True)
    return _Look(own, _opened(own)[0], False)


def _is_empty(service: Service) -> bool:
    known = service.last  # one that had faces a moment ago is looked at again before it is drawn
    return (known is None or not len(known.faces)) and not len(service.view().faces)


def settings() -> Settings:
    """Settings of the library that is shown."""
    return _found().settings


def _demo_of(own: Settings) -> Settings:
    """Each user's own demo: what somebody tries out in it is nobody else's to see."""
    return demo_settings(own, own.user) if has_sign_in() else demo_settings(own)


def library() -> str:
    """What tells the library that is shown from every other: the key of what is kept for all its sessions."""
    return _told(settings())


def service() -> Service:
    """The library that is shown."""
    return _found().service


def own_service() -> Service:
    """The user's own library, also while the demo is shown."""
    return _opened(_own_settings())[0]


def jobs() -> Jobs:
    """The long work of the library that is shown."""
    sign_in.user()  # a job is started within a look too, and the session may have ended since it began
    return _opened(settings())[1]


def own_jobs() -> Jobs:
    """The long work of the user's own library, also while the demo is shown."""
    return _opened(_own_settings())[1]


def view() -> View:
    """The library as it is now."""
    return service().view()


def is_demo() -> bool:
    """Whether the demo stands in for the user's library, or was asked for."""
    return _found().is_demo


def show_library(which: str) -> None:
    """Show "demo" or "own" from now on, in this session."""
    st.session_state["fc_library"] = which
    dismiss_news()  # its undo would take back another library's change
    forget("unsaved")
    clear_selection()


@contextmanager
def errors() -> Iterator[None]:
    """Show what went wrong as a sentence, and how to go on where a store failed; a bug keeps its traceback."""
    try:
        yield
    except FaceClusterError as exc:
        for text in dict.fromkeys(
            [pending_problem(), str(exc)]
        ):  # often the same: what failed for a button, fails here
            if text:
                problem(text)
        if isinstance(exc, StoreError):
            st.button("Try again", key=f"fc-again-{abs(hash(str(exc)))}")


@contextmanager
def one_library() -> Iterator[None]:
    """Find out once which library is shown, however often it is asked within."""
    look = _look.set(_found())
    try:
        yield
    finally:
        _look.reset(look)


@contextmanager
def one_look() -> Iterator[None]:
    """Show one moment of the library: what is drawn within asks a hosted store once, however often it asks.

    Callbacks run before what is drawn, so each of them sees, and writes on, what is so by then.
    """
    with ExitStack() as kept:
        kept.enter_context(one_library())
        # A spinner is a thread, and waits for it to begin.
        is_quick = service().last is not None and not settings().is_hosted
        with nullcontext() if is_quick else st.spinner("Looking at faces and people"):
            shown = kept.enter_context(service().held())
            st.session_state["fc_seen"] = service().user, shown.snapshot.facts
        with page_is_drawn():
            yield


@contextmanager
def told() -> Iterator[None]:
    """What a callback could not do is said at the head of the next page."""
    st.session_state.pop("fc_problem", None)
    try:
        yield
    except FaceClusterError as exc:
        st.session_state["fc_problem"] = str(exc)
        st.session_state["fc_is_away"] = isinstance(exc, StoreUnavailableError)


def problem(text: str) -> None:
    """Show a sentence with a red mark. The text is shown as it is, never as markdown."""
    with st.container(key=f"fc-problem-{abs(hash(text))}"):
        st.text(text)


def act(do: Callable[[], object], text: str = "", confirm: PersonId | None = None) -> None:
    """Do what a button or a field asked for, as its callback: news on success, a sentence on failure.

    `text` is what to say; left out, it is the title under which history has it.
    """
    with told():
        before = service().view()
        seen = st.session_state.get("fc_seen")
        # What was seen of another library says nothing of this one.
        with standing_on(seen[1] if seen is not None and seen[0] == service().user else None):
            made = do()
        # By the number that it returns: another window may have written since, and undoing that is not offered here.
        after = made + 1 if isinstance(made, int) else None
        with suppress(StoreError):  # it is written; that its title cannot be read must not say otherwise
            record = next(iter(service().history(1, after)), None)
            if record is not None and record.revision > before.snapshot.revision:
                if seen is not None:  # a click that comes before the page is drawn anew stands on this one
                    st.session_state["fc_seen"] = seen[0], and_said(seen[1], record)
                undone_by = None if record.n_erased else record.revision
                alike = look_alike_now(before, service().view())
                st.session_state["fc_news"] = News(text or record.title, undone_by, confirm, alike)


def is_done() -> bool:
    """Whether the last `act` could do it."""
    return "fc_problem" not in st.session_state


def undo(revision: int) -> None:
    """Take a change back, as a button's callback."""
    act(lambda: service().undo(revision))


def news() -> News | None:
    """What was just done."""
    found = st.session_state.get("fc_news")
    return found if isinstance(found, News) else None


def dismiss_news() -> None:
    """The bar has been read."""
    st.session_state.pop("fc_news", None)


def pending_problem() -> str:
    """What a callback could not do; shown once."""
    return str(st.session_state.pop("fc_problem", ""))


# --- selection: a set of ids under a name, owned here and nowhere else --------------------------------------------


def selected(scope: str) -> list[str]:
    """Selected ids of a scope, in the order they were chosen."""
    found: dict[str, None] = st.session_state.get(f"fc_selected_{scope}", {})
    return list(found)


def toggle(scope: str, item: str, generation: int) -> None:
    """Follow a checkbox, as its callback."""
    chosen: dict[str, None] = st.session_state.setdefault(f"fc_selected_{scope}", {})
    if st.session_state.get(checkbox_key(scope, item, generation)):
        chosen[item] = None
    else:
        chosen.pop(item, None)


def select(scope: str, items: Sequence[str]) -> None:
    """Select exactly these."""
    st.session_state[f"fc_selected_{scope}"] = dict.fromkeys(items)
    st.session_state[f"fc_generation_{scope}"] = generation(scope) + 1


def keep_selected(scope: str, items: Container[str]) -> None:
    """Drop from a selection what is no longer there to be selected."""
    if any(item not in items for item in selected(scope)):
        select(scope, [item for item in selected(scope) if item in items])


def clear_selection(scope: str | None = None) -> None:
    """Select nothing, in one scope or in all."""
    for key in [k for k in st.session_state if str(k).startswith("fc_selected_")]:
        if scope is None or key == f"fc_selected_{scope}":
            name = str(key).removeprefix("fc_selected_")
            select(name, [])


def generation(scope: str) -> int:
    """Part of the checkboxes' keys: they are new ones after the selection was set from outside."""
    return int(st.session_state.get(f"fc_generation_{scope}", 0))


def checkbox_key(scope: str, item: str, of_generation: int) -> str:
    """Key of the checkbox of one item."""
    return f"pick-{scope}-{of_generation}-{item}"


# --- values that a page's callbacks leave for its next run ---------------------------------------------------------


def typed(key: str) -> str:
    """What stands in a text field, for its callback."""
    return str(st.session_state.get(key, ""))


def chosen(key: str) -> object:
    """What a widget has, for its callback."""
    return st.session_state.get(key)


def drawn_on(chart: str) -> Mapping[str, Any]:
    """What was last drawn on a chart (`lasso`, `box`, `points`), for its callback."""
    found: Mapping[str, Any] = st.session_state.get(chart, {})
    return found.get("selection", {}) or {}


def told_by(component: str, what: str) -> list[Any]:
    """What a component of ours told (a list of acts, of selected ids), for its callback."""
    found: Mapping[str, Any] = st.session_state.get(component, {})
    return found.get(what) or []


def told_as(component: str, what: str) -> Any:
    """The one thing that a component of ours told, for its callback; None for nothing."""
    found: Mapping[str, Any] = st.session_state.get(component, {})
    return found.get(what)


def remember(name: str, value: object) -> None:
    """Keep something until the next run (a question to ask in a dialog)."""
    st.session_state[f"fc_note_{name}"] = value


def recall(name: str) -> object:
    """What was remembered, None for nothing."""
    return st.session_state.get(f"fc_note_{name}")


def forget(name: str) -> None:
    """Drop what was remembered."""
    st.session_state.pop(f"fc_note_{name}", None)


def n_shown(name: str, at_first: int) -> int:
    """How long a list is shown."""
    found = recall(f"shown_{name}")
    return found if isinstance(found, int) else at_first


def show_more(name: str, n: int) -> None:
    """Show a list this long, as a button's callback."""
    remember(f"shown_{name}", n)


def rename(person: PersonId, key: str, seen: str) -> None:
    """Name a person from a text field, as its callback; a name that exists is asked about first."""
    _save(TypedName(person, typed(key), seen))
    if is_done() or any(waits.person == person for waits in unsaved()):
        # The field of the name before is gone now; an Undo that is quicker than Streamlit forgets must not find in it
        # what was typed. What a store was not there to take stands at the head of the page instead.
        st.session_state[key] = seen


def name_or_ask(person: PersonId, name: str, seen: str) -> None:
    """Name a person, as the callback of what is no text field; a name that exists is asked about first."""
    _save(TypedName(person, name, seen))


def _save(asked: TypedName, is_asked: bool = False) -> None:
    """Name a person; others of that name are asked about first, unless that `is_asked`."""
    _kept_if_away(asked, lambda: _name(asked, is_asked))


def _name(asked: TypedName, is_asked: bool) -> None:
    name = asked.name.strip()
    others = service().view().named(name, but=asked.person) if name and not is_asked else []
    if others:
        remember("same_name", replace(asked, others=tuple(other.id for other in others)))
    else:
        name_now(asked.person, asked.name, asked.seen)


def _kept_if_away(asked: TypedName, do: Callable[[], None]) -> None:
    """Do what a typed name asked for; where the store is not there to take it, the name waits among the others."""
    remember("unsaved", tuple(one for one in unsaved() if one.person != asked.person))
    with told():
        do()
    if not is_done() and st.session_state.get("fc_is_away"):
        remember("unsaved", (*unsaved(), asked))


def unsaved() -> tuple[TypedName, ...]:
    """Names that wait because the store was not there to take them; the fields they were typed in may be gone."""
    found = recall("unsaved")
    return found if isinstance(found, tuple) else ()


def save_again() -> None:
    """Save the names that wait, as a button's callback: up to the first that cannot be, or has to be asked about."""
    for asked in unsaved():
        _save(asked)
        if not is_done() or same_name() is not None:
            return


def name_now(person: PersonId, name: str, seen: str) -> None:
    """Name a person; what somebody else named meanwhile is shown with what was typed."""
    act(lambda: service().rename(person, name, seen=seen), confirm=person if name.strip() else None)


def name_run(run: str, key: str, seen: str) -> None:
    """Name a published run from a text field, as its callback."""
    name = typed(key)
    act(lambda: service().name_run(run, name))
    if is_done():
        st.session_state[key] = seen  # as in `rename`: an Undo shows this field again


def same_name() -> TypedName | None:
    """The name to ask about."""
    found = recall("same_name")
    return found if isinstance(found, TypedName) else None


def forget_same_name() -> None:
    """Leave the person as it was."""
    forget("same_name")


def merge_same_name(into: PersonId) -> None:
    """Make the two people of one name one."""
    asked = same_name()
    forget("same_name")
    if asked is not None:
        _kept_if_away(asked, lambda: act(lambda: service().merge(into, [asked.person])))


def keep_same_name() -> None:
    """Let two people have one name."""
    asked = same_name()
    forget("same_name")
    if asked is not None:
        _save(asked, is_asked=True)


def open_person(person: PersonId) -> None:
    """Go to a person's page at the next run, as a button's callback."""
    open_page("person", id=person)


def open_page(page: str, **query: str) -> None:
    """Go to a page at the next run, as part of a callback."""
    st.session_state["fc_go"] = (f"pages/{page}.py", query)


def go() -> None:
    """Follow `open_page`; callbacks cannot switch pages themselves."""
    target = st.session_state.pop("fc_go", None)
    if target is not None:
        st.switch_page(target[0], query_params=target[1])
