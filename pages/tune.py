"""Tune: move the sliders, see what would change, publish exactly that."""

from dataclasses import replace

import streamlit as st

from facecluster.ui import (
    face_grid,
    fetching,
    gauge_words,
    photo,
    plan_diff,
    plan_lines,
    plan_words,
    session,
    settings_map,
    stability,
    strictness,
    tuning,
    uploading,
    widgets,
)

METHODS = {
    "eom": "Steadiest groups (eom)",
    "leaf": "Smallest groups (leaf)",
    "cut": "One distance for all (cut)",
}
LATER = 30  # questions that come with publishing
FOUND = 300  # people shown before anything was published


def main() -> None:
    view = session.view()
    widgets.page_head("Tune", "Nothing is written until you publish")
    if not len(view.faces):
        uploading.no_faces("and this page sorts them into people.")
        return
    if fetching.coverage():
        with st.container(key="fc-warn-coverage"):
            st.text(fetching.coverage())
    params, _ = tuning.wanted()
    if not tuning.is_ready(params, len(view.faces)):
        prepare(params)
        return
    bench()


def prepare(params) -> None:
    """The slow part, in a worker: afterwards every slider is live."""
    view = session.view()
    n_left_out = tuning.left_out(view, params.blur_threshold)
    st.text(
        f"Comparing {widgets.faces(len(view.faces) - n_left_out)} with each other, once. "
        "Afterwards the sliders answer at once. Leaving this page does not stop it."
    )
    widgets.wait_for(
        "prepare", "Comparing faces", blur_threshold=params.blur_threshold,
        min_samples=tuning.min_samples_choices(params, len(view.faces)),
    )  # fmt: skip
    start = tuning.start_params(session.service())
    if start.blur_threshold != params.blur_threshold:
        st.button(f"Keep the blur threshold at {start.blur_threshold:g}", key="tune-keep-blur", on_click=tuning.discard)


@st.fragment
def bench() -> None:
    """Sliders, gauges, plan and the bar with Publish: all that moves with a slider."""
    with session.errors(), session.one_look():
        top = st.container(key="fc-gauges")
        below = st.container(key="fc-tune-aside")
        with st.container(key="fc-bench"):
            with st.container(key="fc-tune-sliders"):
                params, epsilons = controls()
            tuning.want(params)
            shown = tuning.bench(params)
            with st.container(key="fc-tune-plan"):
                questions(shown)
                changes(shown)
            with st.container(key="fc-tune-more"):
                steady = st.container(key="fc-steady", gap="xsmall")
                blur(params)
        with top:
            gauges(shown)
        with below:
            asides(shown)
        bar(shown, params)
        with steady:
            where_little_changes(params)
        tuning.look_ahead(params, epsilons)
        face = photo.shown()
        if face is not None:
            photo.dialog(face)


# --- controls ------------------------------------------------------------------------------------------------------


def controls():
    params, turn = tuning.wanted()
    n_faces = len(session.view().faces)
    strict = st.container(key="fc-strict", gap="xsmall")
    size = st.slider(
        "A person needs at least", 2, max(20, params.min_cluster_size), params.min_cluster_size,
        format="%d faces", key=f"tune-size-{turn}",
    )  # fmt: skip
    choices = tuning.min_samples_choices(params, n_faces)
    samples = params.min_samples
    if len(choices) > 1:
        samples = st.select_slider(
            "Neighbours that make a face dense", choices, params.min_samples, key=f"tune-samples-{turn}",
            help="min_samples: fewer finds more people with few photos, and takes more strangers for people.",
        )  # fmt: skip
    with st.expander("More", key="tune-more"):
        method = st.radio(
            "How people are read from the hierarchy", list(METHODS), list(METHODS).index(params.method),
            format_func=METHODS.get, key=f"tune-method-{turn}",
        )  # fmt: skip
        refine = st.toggle(
            "Mend what HDBSCAN finds", params.refine, key=f"tune-refine-{turn}",
            help="Finds people with few photos, takes out strangers, keeps a photo's faces apart. Off: HDBSCAN only.",
        )  # fmt: skip
        whole = st.toggle("The whole range of distances, 0 to 2", key="tune-whole", persist_state="session")
    params = replace(params, min_cluster_size=size, min_samples=samples, method=method, refine=refine)
    with strict:
        epsilon, others = how_strict(params, whole, turn)
    return replace(params, epsilon=epsilon), others


def how_strict(params, whole: bool, turn: int) -> tuple[float, list[float]]:
    """The epsilon slider, spanning the values at which something changes; its value, and those a step away."""
    points = tuning.changes(params)
    span = strictness.span_of(points, whole)
    head = st.container(horizontal=True, key="fc-strict-head", vertical_alignment="bottom")
    position = st.slider(
        "How strict: epsilon as a distance", span.low, span.high, span.position(params.epsilon), span.step,
        format="%.3f", key=f"tune-epsilon-{turn}-{span.low}-{span.high}", label_visibility="collapsed",
        disabled=not len(points),
    )  # fmt: skip
    start = tuning.start_params(session.service()).epsilon
    epsilon = span.epsilon(position, params.epsilon, start)
    with head:
        st.text("How strict", width="stretch")
        st.text(strictness.strict_words(epsilon, points), width="content")
    met = tuning.meeting(params)
    alt = f"{widgets.plural(len(points), 'value', 'values')} at which the people change"
    st.image(strictness.rug(points, span, met.epsilon if met else None), width="stretch", alt=alt)
    with st.container(horizontal=True, key="fc-strict-foot"):
        st.text("strict", width="stretch")
        st.text("loose", width="content")
    named = session.view().card_of
    names = (met.epsilon, *(named[p].name if p in named else "" for p in met.people)) if met else None
    widgets.small(strictness.span_words(points, names, sum(card.name != "" for card in named.values())), "tune-span")
    steps = [position + d * span.step for d in (1, -1) if span.low <= position + d * span.step <= span.high]
    return epsilon, [span.epsilon(step, params.epsilon, start) for step in steps]


def blur(params) -> None:
    with st.expander("Rebuild with another blur threshold", key="tune-blur"):
        threshold = st.number_input(
            "Faces blurrier than this are left out", 0.0, None, float(params.blur_threshold), 10.0, format="%g",
            key=f"tune-threshold-{params.blur_threshold}",
            help="Variance of the Laplacian: about 1 % of good crops lie below 50. Faces without a score are kept.",
        )  # fmt: skip
        n = tuning.left_out(session.view(), threshold)
        label = f"Rebuild ({widgets.faces(n)} would be left out)"
        if st.button(label, key="tune-rebuild", disabled=threshold == params.blur_threshold):
            tuning.want(replace(params, blur_threshold=threshold))
            st.rerun()


# --- where little changes ------------------------------------------------------------------------------------------


def where_little_changes(params) -> None:
    """The map of settings; drawn last, because nothing else waits for it."""
    st.text("Where little changes")
    if not stability.is_at_hand(params):
        widgets.small("Every setting of the sliders is tried once. You can go on meanwhile.", "steady-wait")
        widgets.wait_for("stability", "Looking where little changes", **stability.job(params))
        return
    with st.spinner("Trying every setting of the sliders"):
        shown = stability.outlook(params)
    settings_map.show(
        "tune-steady", shown.drawing, shown.stability, shown.here, shown.found.cell, stability.alt_words(shown, params),
        tuning.adopt,
    )  # fmt: skip
    with st.container(key="fc-steady-here"):
        st.text(stability.here_words(shown, params))
    for at, text in enumerate(stability.legend_words(shown)):
        widgets.small(text, f"steady-{at}")
    if shown.found.setting is not None:
        st.button(
            f"Use suggested: {stability.setting_words(shown.found.setting)}", key="tune-suggested", width="stretch",
            wrap=True, disabled=shown.is_there, on_click=tuning.adopt, args=(shown.found.setting,),
        )  # fmt: skip
    widgets.small(stability.suggestion_words(shown), "steady-why")


# --- gauges and warnings -------------------------------------------------------------------------------------------


def gauges(shown) -> None:
    row = gauge_words.gauge_row(shown.plan, session.view(), shown.then, shown.today, shown.warnings)
    for at, gauge in enumerate(row):
        with st.container(key=f"fc-gauge-{gauge.level}-{at}", gap=None):
            st.text(gauge.title)
            st.text(gauge.value)
            st.text(gauge.words)
            if gauge.title == gauge_words.PAIRS and gauge.level != "fine":
                impossible(shown)


def impossible(shown) -> None:
    """The faces of an impossible pair side by side."""
    with widgets.opened("See them", "tune-impossible", "tertiary") as is_open:
        for at, (words, rows) in enumerate(tuning.impossible(shown.plan) if is_open else ()):
            with st.container(horizontal=True, vertical_alignment="center", key=f"fc-pair-{at}"):
                plan_lines.strip(rows, len(rows))
                st.text(words)


def asides(shown) -> None:
    with st.container(horizontal=True, key="fc-aside", gap="medium"):
        for at, (text, is_wrong) in enumerate(gauge_words.aside(shown.plan.gauges, shown.today is None)):
            with st.container(key=f"fc-{'wrong' if is_wrong else 'quiet'}-{at}", width="content"):
                st.text(text, width="content")
    for at, warning in enumerate(shown.warnings):
        with st.container(key=f"fc-{'problem' if warning.level == 'stop' else 'warn'}-tune-{at}"):
            st.text(warning.text)
    if shown.is_single_person:
        with st.container(key="fc-warn-tune-single"):
            st.text("HDBSCAN found no two groups; these faces are close enough to be one person.")


# --- what would change ---------------------------------------------------------------------------------------------


def changes(shown) -> None:
    if shown.today is None:
        first_time(shown)
        return
    if not shown.told:
        st.subheader("What would change", anchor=False)
        st.text("Nothing would change: these parameters give the people you have.")
        return
    plan_diff.show("tune", "What would change", shown.plan, shown.told)


def first_time(shown) -> None:
    """Nobody is known yet: who was found, the largest first."""
    found = [story for story in shown.told if story.kind == "new"]
    if not found:
        widgets.empty(
            "Nobody would be found",
            "At no place are enough faces close together. Let a person need fewer faces, or fewer neighbours.",
        )
        return
    if plan_diff.is_open("tune"):
        plan_diff.show("tune", "", shown.plan, shown.told)
        return
    st.subheader(f"{widgets.plural(len(found), 'person', 'people')} found", anchor=False)
    st.text(
        f"{widgets.faces(sum(story.n_faces for story in found))} belong together, the largest person has "
        f"{found[0].n_faces:,}. Publish to give them names; everything can be tuned again afterwards."
    )
    ids = session.view().faces.ids
    face_grid.show(
        "tune-found",
        [face_grid.Row(one.key, "", widgets.faces(one.n_faces), ids[one.cover]) for one in found[:FOUND]],
        None, face_grid.Deeds(open=lambda chosen: plan_diff.open_line("tune", found, chosen)),
        label="People found", kind="faces",
    )  # fmt: skip
    if len(found) > FOUND:
        st.text(f"and {len(found) - FOUND:,} more")


# --- questions -----------------------------------------------------------------------------------------------------


def questions(shown) -> None:
    asked = tuning.open_questions()
    if asked:
        st.subheader(f"{widgets.plural(len(asked), 'question', 'questions')} for you", anchor=False)
        for question in asked[:10]:
            ask(question)
        if len(asked) > 10:
            st.text(f"and {len(asked) - 10:,} more, after these")
    later = tuning.later_questions(shown.plan, asked)
    if later:
        label = f"After publishing you will be asked {widgets.plural(len(later), 'question', 'questions')}"
        with st.expander(label, key="tune-later"):
            for text in later[:LATER]:
                st.text(text)
            if len(later) > LATER:
                st.text(f"and {len(later) - LATER:,} more")


def ask(question) -> None:
    found = tuning.evidence(question)
    with st.container(key=f"fc-ask-{question.id}", gap="small"):
        st.text(plan_words.question_words(question, session.view()))
        with st.container(horizontal=True, key=f"fc-sides-{question.id}", gap="medium"):
            for at, (name, rows, n) in enumerate(found.sides):
                with st.container(key=f"fc-side-{at}-{question.id}", width="content", gap="xsmall"):
                    with st.container(horizontal=True, gap="small", key=f"fc-strips-{at}-{question.id}"):
                        st.image(tuning.of_rows(rows, 144), width="content", alt=[""] * len(rows))
                    widgets.small(f"{widgets.called(name)}, {widgets.faces(n)}", f"side-{at}-{question.id}")
        st.text(found.words)
        with st.container(horizontal=True, gap="small"):
            for label, is_yes in ((found.yes, True), (found.no, False)):
                st.button(
                    label, key=f"tune-{'yes' if is_yes else 'no'}-{question.id}", on_click=written,
                    args=(lambda yes=is_yes: session.service().answer(question, yes),),
                )  # fmt: skip


# --- publish -------------------------------------------------------------------------------------------------------


def bar(shown, params) -> None:
    is_empty = shown.plan.is_empty
    start = tuning.start_params(session.service())
    with st.bottom, st.container(horizontal=True, key="fc-publish", vertical_alignment="center"):
        words, comfort = ("Nothing would change.", "") if is_empty else plan_words.summary(shown.plan, shown.told)
        with st.container(key="fc-publish-words", gap=None):
            st.text(words)
            for line_below in filter(None, (comfort, fetching.share())):
                st.text(line_below)
        st.button("Discard", key="tune-discard", type="tertiary", on_click=tuning.discard, disabled=params == start)
        label = f"Publish {widgets.plural(shown.then.people, 'person', 'people')}"
        # In a callback: the next run may have a newer plan, and what is written is what was on the screen.
        st.button(
            label, key="tune-publish", type="primary", disabled=is_empty, on_click=publish, args=(shown.plan,),
        )  # fmt: skip


def publish(plan) -> None:
    """Write exactly this plan; the line that is open is told of it no more."""
    plan_diff.close_line("tune")
    written(lambda: session.service().publish(plan))


def written(do) -> None:
    """Write, then draw the whole page anew: the news stands outside the fragment."""
    session.act(do)
    st.rerun()


main()
