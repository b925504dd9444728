"""The frame around every page: navigation, where one is, the demo's notice, and the one place that catches errors."""

from __future__ import annotations

from base64 import b64encode
from copy import copy
from functools import lru_cache
from pathlib import Path

import streamlit as st

from facecluster.ui import doorway, fetching, session, widgets

_PAGES = Path(__file__).resolve().parent.parent.parent / "pages"
_ICON = Path(__file__).with_name("icon.png")

_SIDEBAR = 220  # pixels

# Section, file, title. A person is reached from a face, so it stands in no menu.
_MENU = {
    "": (("people", "People"), ("map", "Map"), ("find", "Find")),
    "Sort out": (("review", "Review"), ("tune", "Tune"), ("noise", "Noise")),
    "Record": (("history", "History"), ("status", "Status")),
}


def run() -> None:
    """Draw the page that the address names."""
    icon = _icon()
    st.set_page_config(
        page_title="facecluster", page_icon=icon, layout="wide", initial_sidebar_state=_SIDEBAR, menu_items={}
    )
    # Copies, because Streamlit notes on a page whether it is the one that is shown.
    menu = {section: [copy(page) for page in pages] for section, pages in _menu().items()}
    st.logo(icon, size="small")
    with session.errors():
        is_inside = doorway.is_inside()
        page = st.navigation(menu, position="sidebar" if is_inside else "hidden")
        session.go()
        widgets.style()
        if not is_inside:
            doorway.draw()
            return
        with session.one_library():
            fetching.first()
            with session.one_look():
                _prepare_demo()
                _sidebar()
                page.run()


@lru_cache(maxsize=1)
def _menu() -> dict[str, list[st.Page]]:
    """Pages by section; each looks for its file a dozen times, with a turn of the interpreter for each."""
    menu: dict[str, list[st.Page]] = {
        section: [
            st.Page(_PAGES / f"{name}.py", title=title, url_path=name, default=name == "people")
            for name, title in items
        ]
        for section, items in _MENU.items()
    }
    menu[""].append(st.Page(_PAGES / "person.py", title="Person", url_path="person", visibility="hidden"))
    return menu


def _icon() -> str:
    """Our mark, as a file of Streamlit's; in the page itself where files are for who is signed in only."""
    if not session.has_sign_in():
        return str(_ICON)
    return f"data:image/png;base64,{b64encode(_ICON.read_bytes()).decode('ascii')}"


def _prepare_demo() -> None:
    """Make the demo library ready on the first visit, in a worker, under a progress bar."""
    if not session.is_demo() or session.view().snapshot.run is not None:
        return
    widgets.page_head("Welcome", "Making a demo library of drawn faces")
    widgets.wait_for("demo", "Making the demo library")
    st.stop()


def _sidebar() -> None:
    view = session.view()
    with st.sidebar:
        st.space("small")
        with st.container(key="fc-where", gap="xsmall"):
            if session.is_demo():
                st.text("Demo library, drawn faces")
            else:
                st.text("Your library" if session.has_sign_in() else f"Library of {session.settings().user}")
            st.text(widgets.faces(len(view.faces)))
            if view.faces.n_photos:
                st.text(widgets.plural(view.faces.n_photos, "photo", "photos"))
            st.text("All saved")
            fetching.aside()
        doorway.aside()
        if session.is_demo():
            with st.container(key="fc-demo", gap="xsmall"):
                st.text("This is a demo. Your own faces are shown here once you import some.")
                st.page_link(_PAGES / "status.py", label="Import your own faces")
