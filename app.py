"""The dashboard: imported it is the ASGI app, run as a script it draws one page for one session."""

import streamlit as st

if __name__ != "__main__":
    from streamlit.runtime.pages_manager import PagesManager

    from facecluster.ui import crops, doorway, face_map, housekeeping, starting
    from facecluster.ui.gate import GATE
    from facecluster.ui.headers import MIDDLEWARE

    starting.check()

    # A folder named pages/ beside the entry file puts a fresh server into an old mode until st.navigation has run once:
    # the first visitor of a deep link would see a bare page. A private flag; a browser test watches it.
    PagesManager.uses_pages_directory = False
    app = st.App(
        __file__,
        routes=[*crops.ROUTES, *face_map.ROUTES],
        middleware=[*MIDDLEWARE, *GATE],
        lifespan=housekeeping.lifespan,
        on_script_error=doorway.on_error,
    )
else:
    from facecluster.ui import shell

    shell.run()
