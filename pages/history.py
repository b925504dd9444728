"""History: every change with who made it and when, and the published runs that are kept; both can be taken back."""

import streamlit as st

from facecluster.ui import belongings, fetching, log_files, session, two_runs, widgets

MORE = 50


def main() -> None:
    view = session.view()
    total = view.snapshot.revision
    widgets.page_head("History", widgets.plural(total, "change", "changes") + ", the newest first")
    if not total:
        widgets.empty(
            "Nothing has happened yet",
            "Each name, move and published run is written here, and each can be taken back.",
            "pages/tune.py" if len(view.faces) else "pages/status.py",
            "Find people on Tune" if len(view.faces) else "See where this library is, or open the demo",
        )
        return
    changes, runs = st.tabs(["Changes", "Published runs"])
    with changes:
        all_changes(total)
    with runs:
        all_runs()


def all_changes(total) -> None:
    with st.container(horizontal=True, key="fc-quiet-log", vertical_alignment="center"):
        for kind, mime in (("CSV", "text/csv"), ("JSON", "application/json")):
            name = f"facecluster-history.{kind.lower()}"
            st.download_button(
                f"Save all {widgets.plural(total, 'change', 'changes')} as {kind}",
                belongings.made(log_files.maker(kind, total), name, mime), name, mime,
                key=f"log-{kind}", type="tertiary", on_click="ignore",
            )  # fmt: skip
    n_shown = session.n_shown("changes", MORE)
    taken_back = set()
    for record in session.service().history(n_shown):  # newest first: what takes back stands before what it takes back
        is_gone = record.revision in taken_back
        if record.undoes is not None and not is_gone:
            taken_back.add(record.undoes)
        change(record, is_gone)
    if total > n_shown:
        n_more = min(MORE, total - n_shown)
        st.button(
            f"Show {n_more:,} older of {total - n_shown:,}", key="older", on_click=session.show_more,
            args=("changes", n_shown + n_more),
        )  # fmt: skip


def change(record, is_gone) -> None:
    with st.container(horizontal=True, key=f"fc-row-{record.revision}", vertical_alignment="center"):
        with st.container(gap=None):
            st.text(record.title)
            widgets.small(f"{widgets.when(record.at)} · {record.author}", f"change-{record.revision}")
        if is_gone or record.n_erased:
            with st.container(width="content"):
                said = "taken back" if is_gone else "cannot be taken back"
                widgets.small(said, f"gone-{record.revision}")
        else:
            st.button(
                "Undo", key=f"undo-{record.revision}", on_click=session.undo, args=(record.revision,),
                help="Takes this one change back; what came after it stays.",
            )  # fmt: skip


def all_runs() -> None:
    found = session.service().runs()
    live = session.view().snapshot.run
    if not found:
        widgets.empty("Nothing published yet", "People are found and published on Tune.", "pages/tune.py", "Go to Tune")
        return
    if two_runs.asked(found) is not None:
        st.button("← All runs", key="compare-close", type="tertiary", on_click=two_runs.close)
        two_runs.panel(found)
        return
    widgets.small(f"Kept are the last {session.KEPT_RUNS}, the live one, and each that has a name.", "runs-kept")
    for run in found:
        with st.container(horizontal=True, key=f"fc-row-{run.id}", vertical_alignment="center"):
            with st.container(gap="xsmall"):
                name_of(run)
                people = widgets.plural(run.n_people, "person", "people")
                st.text(f"{people} in {widgets.faces(run.n_faces)}, {widgets.faces(run.n_noise)} nobody's")
                widgets.small(widgets.in_words(run.params), f"params-{run.id}")
                if fetching.of_run(run.params):
                    widgets.small(fetching.of_run(run.params), f"source-{run.id}")
                widgets.small(f"{widgets.when(run.at)} · {run.author} · {run.id}", f"run-{run.id}")
            if live is not None and run.id == live.id:
                st.badge("Live", color="blue")
            else:
                st.button(
                    "Compare", key=f"compare-{run.id}", on_click=two_runs.ask, disabled=live is None,
                    args=(run.id, live.id if live is not None else ""),
                    help="Side by side with the live run, or with any other: who differs, and by which faces.",
                )  # fmt: skip
                st.button(
                    "Go back to this run", key=f"restore-{run.id}", on_click=session.act,
                    args=(lambda run_id=run.id: session.service().restore(run_id),),
                    help="Shows these people again. Names, and whatever you said about faces, stay as they are.",
                )  # fmt: skip


def name_of(run) -> None:
    """The name of a run, typed in place; without one it looks like a run that goes when five newer ones have come."""
    name = session.view().snapshot.facts.get(("run_name", run.id, ""), "")
    key = f"name-run-{run.id}-{name}"
    st.text_input(
        widgets.escaped(f"Name of the run {run.id}"), name, key=key, placeholder="Name it to keep it", width=360,
        label_visibility="collapsed", on_change=session.name_run, args=(run.id, key, name),
    )  # fmt: skip


main()
