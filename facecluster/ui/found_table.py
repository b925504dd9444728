"""An answer of Find as a table, and as files to take along."""

from __future__ import annotations

import streamlit as st

from facecluster.answers import Answer, answer_as_json, answer_table
from facecluster.exporting import as_csv
from facecluster.ui import session, widgets
from facecluster.ui.belongings import made
from facecluster.ui.finding import Query


def draw(asked: Query, answered: Answer) -> None:
    """The faces of an answer, in its order, and a button for each file, which is made when it is asked for."""
    view = session.view()
    table = answer_table(view, answered.faces)
    n = widgets.faces(len(table))
    with st.container(horizontal=True):
        st.download_button(
            f"CSV of these {n}", made(lambda: as_csv(table), "facecluster-find.csv", "text/csv"),
            "facecluster-find.csv", "text/csv", key="find-csv",
            on_click="ignore",
        )  # fmt: skip
        st.download_button(
            f"JSON of these {n}",
            made(lambda: answer_as_json(view, asked.asked, answered), "facecluster-find.json", "application/json"),
            "facecluster-find.json", "application/json", key="find-json", on_click="ignore",
        )  # fmt: skip
    number = st.column_config.NumberColumn(format="%.3f")
    st.dataframe(
        {name: [one[name] for one in table] for name in table[0]}, hide_index=True, height=560,
        column_config={"distance": number, "cosine": number}, key="find-table", alt="The faces that were found",
    )  # fmt: skip
