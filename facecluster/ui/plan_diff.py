"""A plan as a diff by person: lines to choose from, or all faces of the line that is open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import streamlit as st

from facecluster.model import FaceId
from facecluster.plan import Plan
from facecluster.ui import face_grid, giving, photo, plan_faces, plan_lines, plan_words, session, widgets
from facecluster.ui.plan_words import Rows, Story

LINES = 30  # at first
MORE = 300  # with each "Show more"


def show(key: str, title: str, plan: Plan, told: Sequence[Story]) -> None:
    """Draw what a plan does to each person.

    Parameters
    ----------
    key : str
        Names the diff: which line is open is kept under it.
    title : str
        The heading over all lines.
    told : Sequence[Story]
        As `plan_words.stories` gives them, at least one.
    """
    asked = session.recall(f"{key}-line")
    if isinstance(asked, tuple):  # as `open_line` left it
        _one(key, plan, _found(told, *asked))
        return
    counts = Counter(story.kind for story in told)
    words = {"all": f"All {len(told):,}"}
    words |= {kind: f"{word} {counts[kind]:,}" for kind, word in plan_words.KINDS.items() if counts[kind]}
    with st.container(horizontal=True, key="fc-changes-head", vertical_alignment="center"):
        st.subheader(title, anchor=False, width="stretch")
        kind = st.segmented_control(
            "Show", list(words), format_func=lambda one: words[one], default="all", required=True,
            key=f"{key}-kind-{'-'.join(words)}", label_visibility="collapsed", width="content",
        )  # fmt: skip
    lines = plan_words.gathered(told) if kind == "all" else [story for story in told if story.kind == kind]
    n = session.n_shown(key, LINES)
    plan_lines.show(f"{key}-lines", lines[:n], title, lambda chosen: open_line(key, lines, chosen))
    if len(lines) > n:
        more = min(MORE, len(lines) - n)
        st.button(
            f"Show {more:,} more of {len(lines) - n:,}", key=f"{key}-longer", type="tertiary",
            on_click=session.show_more, args=(key, n + more),
        )  # fmt: skip


def is_open(key: str) -> bool:
    """Whether all faces of one line are shown."""
    return session.recall(f"{key}-line") is not None


def open_line(key: str, lines: Sequence[Story], chosen: str) -> None:
    """Show all faces of a line, as a callback."""
    story = next((one for one in lines if one.key == chosen), None)
    if story is not None:
        session.remember(f"{key}-line", (story.key, story.people))


def close_line(key: str) -> None:
    """Show all lines again, as a button's callback."""
    session.forget(f"{key}-line")


def _found(told: Sequence[Story], key: str, people: Sequence[str]) -> Story | None:
    """The story that was opened; where a slider has moved since, what is told of the same person by now."""
    for story in (*plan_words.gathered(told), *told):
        if story.key == key:
            return story
    return next((story for story in told if len(people) == 1 and story.people == people), None)


def _one(key: str, plan: Plan, story: Story | None) -> None:
    """All faces of one line."""
    with st.container(gap=None, key=f"fc-diff-head-{key}"):
        st.button("← All changes", key=f"{key}-back", type="tertiary", on_click=close_line, args=(key,))
        if story is None:
            st.text("At this place of the sliders nothing changes for whom you looked at.")
            return
        st.subheader(widgets.escaped(story.title), anchor=False)
        if story.detail:
            widgets.small(story.detail, f"{key}-detail")
        if story.alarm:
            with st.container(key=f"fc-wrong-{key}"):
                st.text(story.alarm)
    groups = plan_faces.groups(plan, story)
    view = session.view()
    rows = [row for group in groups for row in group.rows.tolist()]
    session.keep_selected(f"{key}-faces", {view.faces.ids[row] for row in rows})
    _about_selected(f"{key}-faces")
    face_grid.show(
        f"{key}-faces",
        [face_grid.Row(view.faces.ids[row], "", said, view.faces.ids[row]) for row, said in _told(plan, rows)],
        None,
        face_grid.Deeds(
            open=lambda face: photo.open_it(FaceId(face)),
            keys={"o": lambda face: photo.open_it(FaceId(face)), "w": lambda face: photo.open_why(FaceId(face))},
        ),
        label=f"Faces: {story.title}",
        kind="faces",
        spec=story.key,
        sections=[
            face_grid.Section(f"{at}", group.title, len(group.rows), widgets.faces(len(group.rows)))
            for at, group in enumerate(groups)
        ],
    )


def _about_selected(scope: str) -> None:
    """What a curator can say of selected faces before anything is published: the plan is made anew with it."""
    chosen = [FaceId(face) for face in session.selected(scope)]
    owner, *others = {session.view().owner(face) for face in chosen} or {None}
    service = session.service()
    with st.container(horizontal=True, key=f"fc-quiet-{scope}", vertical_alignment="center"):
        if not chosen:
            st.text("Select faces to say whose they are.", width="content")
            return
        st.text(f"{widgets.faces(len(chosen))} selected", width="content")
        if owner is not None and not others:
            name = widgets.whom(session.view().card_of[owner].name, "theirs")
            st.button(
                f"Confirm {len(chosen):,} as {name}", key=f"{scope}-confirm", on_click=_written,
                args=(scope, lambda: service.confirm(owner, giving.still(chosen, owner))),
                help="They stay where they are today, whatever is published.",
            )  # fmt: skip
        st.button(f"Move {len(chosen):,} to…", key=f"{scope}-move", on_click=giving.ask, args=(scope,))
        st.button("Clear", key=f"clear-{scope}", type="tertiary", on_click=session.clear_selection, args=(scope,))
    giving.dialog(scope, "Move", chosen, lambda to: _written(scope, lambda: service.move(chosen, to)))


def _written(scope: str, do: Callable[[], object]) -> None:
    """Write, then draw the whole page anew: the news stands outside the fragment."""
    giving.close()
    session.act(do)
    if session.is_done():
        session.clear_selection(scope)
    st.rerun()


def _told(plan: Plan, rows: Sequence[int] | Rows) -> list[tuple[int, str]]:
    """What stands under each face: how sure the plan is of it."""
    pin, strength, label = session.view().state.pin, plan.strength, plan.label
    return [
        (row, widgets.certainty(bool(pin[row] >= 0), float(strength[row])) if label[row] >= 0 else "in no cluster")
        for row in rows
    ]
