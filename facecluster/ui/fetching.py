"""Faces that lie in a hosted index: the first reading, the look for new ones at each start, and how both went."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import streamlit as st

from facecluster.jobs import Jobs, JobState
from facecluster.ui import session, widgets

_TITLES = {False: "Looking for new faces", True: "Reading all faces again"}


def is_hosted() -> bool:
    """Whether the faces of the library that is shown lie in an index and are only copied here."""
    return session.settings().has_pinecone


def first() -> None:
    """Read everything at the first visit, in a worker, under a progress bar: there is nothing else to show yet."""
    if not is_hosted() or not session.service().must_fetch():
        return
    job = look_at_start()
    if session.jobs().state(job).status == "done":  # and the copy is gone since
        session.jobs().forget(job)
    widgets.page_head("Welcome", "Reading your faces from Pinecone, once")
    st.text(
        f"All faces of the index {session.settings().pinecone_index} are copied to this machine. Next time only new "
        "ones are read. What was read is kept: after a Cancel or a failure, Start again goes on from there."
    )
    widgets.wait_for("fetch", "Reading faces", keep=True, everything=False)
    st.stop()


def look_at_start() -> str:
    """Look for new faces once for each start of the server, in a worker; returns the job."""
    s = session.settings()
    return _look_once(session.jobs(), f"{s.library}|{s.user}")


@st.cache_resource(show_spinner=False)
def _look_once(_jobs: Jobs, library: str) -> str:
    del library
    return _jobs.start("fetch", everything=False)


def aside() -> None:
    """In the sidebar: that new faces are looked for, while they are, or that it failed."""
    if not is_hosted():
        return
    job = look_at_start()
    status = session.jobs().state(job).status
    if status == "failed":
        st.text("New faces could not be looked for; Status says why.")
    if status != "running":
        return

    @st.fragment(run_every=2)
    def watch() -> None:
        if session.jobs().state(job).status != "running":
            st.rerun()
        st.text("Looking for new faces …")

    watch()


def news() -> None:
    """Lead to Tune where the index brought faces that no run has sorted yet."""
    view = session.view()
    if view.faces.coverage is None or view.snapshot.run is None or not view.n_new:
        return
    with st.container(horizontal=True, key="fc-quiet-new", vertical_alignment="center"):
        new = widgets.plural(view.n_new, "new face", "new faces")
        st.text(f"{new} from Pinecone", width="content")
        st.page_link("pages/tune.py", label="Sort them in on Tune", width="content")


def coverage() -> str:
    """What to know before people are made of a part of the index; "" where all of it is here."""
    found = session.view().faces.coverage
    return "" if found is None or found.is_complete else found.in_words()


def share() -> str:
    """The same in the few words that fit beside a button."""
    found = session.view().faces.coverage
    if found is None or found.is_complete:
        return ""
    return f"Sorts {_part(found.n_read, found.n_there).rstrip(',')}."


def of_run(params: dict[str, object]) -> str:
    """How much of the index a run was made of; "" for all of it."""
    source = params.get("source")
    if not isinstance(source, dict) or source.get("complete"):
        return ""
    read, there = source.get("read"), source.get("there")
    part = _part(read if isinstance(read, int) else 0, there if isinstance(there, int) else None)
    return f"Made of {part} in the index"


def _part(n_read: int, n_there: int | None) -> str:
    if n_there is None or n_there <= n_read:  # pods do not say what they hold, and lagging counts say too little
        return f"{widgets.faces(n_read)}, perhaps not all,"
    return f"{n_read:,} of {widgets.faces(n_there)}"


def on_status() -> None:
    """The two buttons, and how the work is going or how it ended."""
    jobs = session.jobs()
    for everything, title in _TITLES.items():
        if jobs.state(_job(everything)).status == "running":
            widgets.wait_for("fetch", title, keep=True, everything=everything)
            return
    last = _last()
    if last is not None and last.status in ("failed", "cancelled"):
        session.problem(last.message)
    n = widgets.faces(len(session.view().faces))
    with st.container(horizontal=True, key="fc-fetch"):
        st.button(
            "Look for new faces", key="fetch-new", on_click=_start, args=(False,),
            help="Lists the index, fetches what is not here yet, and lets go of what is gone there.",
        )  # fmt: skip
        st.button(
            "Read all again", key="fetch-all", on_click=_start, args=(True,),
            help=f"Fetches all {n} anew: after vectors or pictures of faces that were here already were changed. "
            "Pinecone charges for it as for the first reading.",
        )  # fmt: skip


def last_looked() -> str:
    """When the index was last looked at, and how that ended."""
    last = _last()
    if last is None or last.status == "running":
        return "now" if last else "not since this library was opened"
    ended = {"failed": ", and failed", "cancelled": ", and was stopped"}
    return widgets.when(datetime.now(UTC) - timedelta(seconds=last.seconds)) + ended.get(last.status, "")


def _start(everything: bool) -> None:
    job = _job(everything)
    session.jobs().forget(job)
    session.jobs().start("fetch", everything=everything)


def _job(everything: bool) -> str:
    return session.jobs().id("fetch", everything=everything)


def _last() -> JobState | None:
    """The newer of the two kinds of looks."""
    states = [session.jobs().state(_job(everything)) for everything in _TITLES]
    return min((state for state in states if state.status != "none"), key=lambda state: state.seconds, default=None)
