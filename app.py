"""The dashboard: imported it is the ASGI app, run as a script it draws one page for one session."""

import streamlit as st

if __name__ != "__main__":
    from streamlit.runtime.pages_manager import PagesManager

    from facecluster.ui import crops, face_map, housekeeping
    from facecluster.ui.headers import MIDDLEWARE

    # A folder named pages/ beside the entry file puts a fresh server into an old mode until st.navigation has run once:
    # the first visitor of a deep link would see a bare page. A private flag; a browser test watches it.
    PagesManager.uses_pages_directory = False
    app = st.App(
        __file__, routes=[*crops.ROUTES, *face_map.ROUTES], middleware=MIDDLEWARE, lifespan=housekeeping.lifespan
    )
else:
    from facecluster.ui import shell

    shell.run()
