"""Importing from the page: files are chosen, a worker imports them, and a report says what was taken and what not."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from facecluster import uploads
from facecluster.importing import READERS
from facecluster.ui import session, widgets
from facecluster.uploads import Uploaded
from facecluster.wiring import uploads_of, where_it_is

_NAMED = 10  # refusals that are listed


def no_faces(what_for: str) -> None:
    """Say why the library holds no face, and lead on; `what_for` ends the sentence on importing some."""
    coverage = session.view().faces.coverage
    if coverage is not None:
        where = where_it_is(session.settings())["faces_from"]
        text = coverage.why or f"There are none where they are read from: {where}."
        widgets.empty("No faces yet", text, "pages/status.py", "See where faces are read from, and look again")
        return
    widgets.empty("No faces yet", f"Import some, {what_for}")
    section()
    with st.container(horizontal=True, key="fc-first", vertical_alignment="center"):
        st.button("Look around in the demo first", key="first-demo", on_click=session.show_library, args=("demo",))
        st.page_link("pages/status.py", label="See where this library is", width="content")


def section() -> None:
    """Choose files for the user's own library; or how far their import is, or what became of it."""
    if session.own_service().settings.has_pinecone:
        return  # such files are imported into the index, by the command line
    if reports():
        return
    turn = session.recall("upload-turn") or 0
    files = st.file_uploader(
        "Face files", [ending.removeprefix(".") for ending in READERS], accept_multiple_files=True,
        key=f"upload-{turn}",
        help="The vectors, and where known photo, folder, blur score and cut-out picture of each face. docs/import.md "
        "shows the formats.",
    )  # fmt: skip
    if files:
        what = f"{widgets.plural(len(files), 'file', 'files')}, {sum(file.size for file in files) / 1e6:,.1f} MB"
        st.button(f"Import {what}", key="upload-import", type="primary", on_click=_start, args=(turn,))
    st.text("Larger files, and many at once, come in quicker by  facecluster import FILE  in a terminal.")


def reports() -> bool:
    """How far an import is, and what became of those before; whether one is going on."""
    for folder in uploads.waiting(uploads_of(session.own_service().settings)):
        found = uploads.report_of(folder)
        if found is None:
            _wait(folder)
            return True
        _report(folder, found)
    return False


def _start(turn: int) -> None:
    """Keep the chosen files and start a worker, as a button's callback; the field is a new and empty one then."""
    chosen = session.chosen(f"upload-{turn}")
    files = [(file.name, file) for file in chosen] if isinstance(chosen, list) else []
    with session.told():
        folder = uploads.keep(uploads_of(session.own_service().settings), files)
        session.remember("upload-turn", turn + 1)
        session.own_jobs().start("import", folder=folder.name)


def _wait(folder: Path) -> None:
    jobs = session.own_jobs()
    job = jobs.id("import", folder=folder.name)

    @st.fragment(run_every=0.4)
    def watch() -> None:
        state = jobs.state(job)
        if uploads.report_of(folder) is not None or not folder.is_dir():
            jobs.forget(job)
            st.rerun()
        if state.status == "running":
            widgets.how_far(jobs, job, state, "Import")
            return
        # Files that lie here while nobody works on them: the worker or this server was stopped.
        session.problem(state.message or "These files were sent and not imported: the server was stopped meanwhile.")
        with st.container(horizontal=True, key="fc-upload-again"):
            st.button("Import them now", key="upload-again", on_click=_again, args=(job, folder.name))
            st.button("Drop these files", key="upload-drop", type="tertiary", on_click=uploads.drop, args=(folder,))

    watch()


def _again(job: str, folder: str) -> None:
    session.own_jobs().forget(job)
    session.own_jobs().start("import", folder=folder)


def _report(folder: Path, found: Uploaded) -> None:
    with st.container(key=f"fc-upload-{folder.name[:8]}"):
        for text in found.problems:
            session.problem(text)
        if found.added or found.replaced or found.unchanged or found.n_refused:
            st.text(
                f"{widgets.faces(found.added)} added, {found.replaced:,} replaced, {found.unchanged:,} there already."
            )
        if found.n_blocked:
            st.text(f"{widgets.faces(found.n_blocked)} left out: of people who were erased and may not come back.")
        for what, n, some in (
            ("refused", found.n_refused, found.refused),
            ("taken without their picture", found.n_without_picture, found.without_picture),
        ):
            if n:
                with st.expander(f"{widgets.faces(n)} {what}: see why"):
                    widgets.facts(some[:_NAMED], f"{what}-{folder.name[:8]}")
                    if n > _NAMED:
                        st.text(f"and {n - _NAMED:,} more; facecluster import FILE --json  lists all")
        with st.container(horizontal=True, key="fc-upload-then", vertical_alignment="center"):
            if found.added and session.own_service().view().snapshot.run is None:
                st.page_link("pages/tune.py", label="Find people among them on Tune", width="content")
            elif found.added:
                st.page_link("pages/tune.py", label="Sort them in on Tune", width="content")
            st.button("Close", key=f"upload-close-{folder.name[:8]}", on_click=uploads.drop, args=(folder,))
