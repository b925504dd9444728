"""Status: where this library is, what is in it, what it is set to, and what waits."""

import streamlit as st

from facecluster import wiring
from facecluster.ui import fetching, session, tuning, uploading, widgets

ASIDE = "aside"
OTHERS = ("FACECLUSTER_ALLOWED",)  # names other people
ASIDE_WORDS = {"ignored": "ignored", "not_a_face": "not a face"}


def main() -> None:
    known = wiring.status_of(session.service())
    widgets.page_head("Status", "Demo library" if session.is_demo() else f"Library of {known['user']}")
    other_libraries()
    nobody_here()
    bring_in()
    kept_elsewhere(known)
    waiting(known["waiting_for_rebuild"])
    hosts()
    set_aside()
    in_it(known)


def other_libraries() -> None:
    if session.is_demo():
        own = session.own_service()
        # A hosted one may be unread or away, and then the demo must still lead back to it.
        n_own = "" if own.settings.is_hosted else f" and has {widgets.faces(len(own.view().faces))}"
        st.text(
            "You are looking at the demo: drawn faces, for trying things out. Your own library is untouched by it"
            f"{n_own}."
        )
        st.button("Open your own library", key="open-own", on_click=session.show_library, args=("own",))
    else:
        if not len(session.view().faces) and not fetching.is_hosted():
            st.text("This library is empty. Import faces below, or look around first:")
        st.button("Open the demo library", key="open-demo", on_click=session.show_library, args=("demo",))


def bring_in() -> None:
    if session.own_service().settings.has_pinecone:
        return
    st.subheader("Import faces" if not session.is_demo() else "Import faces of your own", anchor=False)
    uploading.section()


def nobody_here() -> None:
    own = session.own_service()
    if own.settings.is_hosted or session.has_sign_in():  # who else is here is nobody's business
        return
    others = {} if len(own.view().faces) else wiring.other_users(own.settings)
    if not others:
        return
    n_faces = sum(others.values())
    with st.container(key="fc-warn-user"):
        st.text(
            f"The user {own.user} has no faces, but this library holds {widgets.faces(n_faces)} of "
            f"{widgets.plural(len(others), 'other user', 'other users')}. To see them, set one of these and restart:"
        )
    for user in sorted(others, key=lambda one: -others[one])[:20]:
        st.text(f"{user}: {widgets.faces(others[user])}")
        st.code(f"FACECLUSTER_USER={widgets.quoted(user)}", language=None)


def kept_elsewhere(known) -> None:
    """Which index and which project, and whether all of it is here."""
    if not is_elsewhere(known):
        return
    st.subheader("Where faces and people are kept", anchor=False)
    rows = [
        ("Faces", known["faces_from"] or "On this machine"),
        ("People", known["people_in"] or "On this machine"),
        ("Folder here", known["library"]),
        ("User", known["user"]),
    ]
    if fetching.is_hosted():
        rows[1:1] = [("Of these", known["coverage"]), ("Last looked", fetching.last_looked())]
    widgets.facts(rows, "kept")
    if fetching.is_hosted():
        fetching.on_status()


def is_elsewhere(known) -> bool:
    return bool(known["faces_from"] or known["people_in"])


def waiting(n: int) -> None:
    if not n:
        if session.recall("rebuild"):
            session.forget("rebuild")
            st.text("Rebuilt without the faces that were set aside. Publish on Tune to find people by it.")
        return
    st.subheader("Waiting for a rebuild", anchor=False)
    are = "face was" if n == 1 else "faces were"
    st.text(
        f"{n:,} {are} set aside since the likenesses were last computed. Nobody sees them any more; the next rebuild "
        "leaves them out of the computation as well. People stay as they are until you publish on Tune."
    )
    if session.recall("rebuild"):
        widgets.wait_for("prepare", f"Rebuilding without {widgets.faces(n)}", **tuning.rebuilding())
    else:
        st.button(
            f"Rebuild without {widgets.faces(n)}", key="rebuild", on_click=session.remember, args=("rebuild", True)
        )


def hosts() -> None:
    allowed = session.settings().image_hosts
    seen = {host: n for host, n in session.view().image_hosts.items() if host not in allowed}
    if not seen:
        return
    st.subheader("Pictures that are not shown", anchor=False)
    st.text(
        "Faces here name pictures on these hosts, and your browser may not load from them yet; a face without another "
        "picture is a drawn head. To allow it, add the line to the environment (or, with quotes, to "
        ".streamlit/secrets.toml) and restart."
    )
    widgets.facts([(host, widgets.faces(n)) for host, n in list(seen.items())[:20]], "hosts")
    st.code(f"FACECLUSTER_IMAGE_HOSTS={','.join([*allowed, *seen])}", language=None, wrap_lines=True)


def set_aside() -> None:
    faces = session.view().set_aside
    if not faces:
        return
    st.subheader(f"Set aside: {widgets.faces(len(faces))}", anchor=False)
    on_page = widgets.paged(len(faces), ASIDE)
    widgets.grid(len(on_page), lambda at: aside(*faces[on_page[at]]), ASIDE, "medium")
    widgets.action_bar(ASIDE, "face", take_back)


def aside(face, why) -> None:
    widgets.face_tile(
        face, f"aside-{face}", f"Set aside: {ASIDE_WORDS[why]}", scope=ASIDE, item=face,
        below=lambda: widgets.small(ASIDE_WORDS[why], f"aside-{face}"),
    )  # fmt: skip


def take_back(chosen: list[str]) -> None:
    st.button(
        f"Take back {widgets.faces(len(chosen))}", key="take-back", on_click=taken_back, args=(chosen,),
        help="They count as faces again, and the next clustering sorts them.",
    )  # fmt: skip


def taken_back(chosen) -> None:
    session.act(lambda: session.service().mark(chosen, None))
    if session.is_done():
        session.clear_selection(ASIDE)


def in_it(known) -> None:
    st.subheader("What is in it", anchor=False)
    n_new = known["new_since_last_run"]
    widgets.facts(
        [
            ("Faces", f"{known['faces']:,} in {known['photos']:,} photos"),
            ("People", f"{known['people']:,}, {known['named']:,} named"),
            ("Nobody's", widgets.faces(known["in_nobody"])),
            ("Too blurred", widgets.faces(known["too_blurred"])),
            ("Set aside", widgets.faces(known["set_aside"])),
            ("Not sorted yet", widgets.faces(n_new) if n_new else "none"),
            ("Live run", known["live_run"]),
            ("Changes", f"{known['changes']:,}"),
        ],
        "counts",
    )
    if not is_elsewhere(known):
        st.subheader("Where it is", anchor=False)
        widgets.facts([("Store", known["store"]), ("Folder", known["library"]), ("User", known["user"])], "where")
    st.subheader("Settings in force", anchor=False)
    st.text("From the environment, then .streamlit/secrets.toml, then the defaults. Secrets are never shown.")
    widgets.facts(in_force(), "settings")
    st.subheader("Versions", anchor=False)
    widgets.facts([tuple(one.split(" ", 1)) for one in known["versions"].split(", ")], "versions")


def in_force() -> list[tuple[str, str]]:
    """Environment name and value of each setting; secrets stay masked."""
    s = session.settings()
    values = {str(field.alias): getattr(s, name) for name, field in type(s).model_fields.items()}
    return [
        (name, (", ".join(value) if isinstance(value, tuple) else str(value)) or "not set")
        for name, value in values.items()
        if name not in OTHERS or not session.has_sign_in()
    ]


main()
