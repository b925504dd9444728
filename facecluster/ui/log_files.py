"""The log of changes as files to save, made when they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from facecluster import exporting
from facecluster.ui import session


def maker(kind: Literal["CSV", "JSON"], n: int) -> Callable[[], str]:
    """What makes the file of the `n` newest changes; Streamlit calls it outside of the page's run."""
    service = session.service()

    def make() -> str:
        log = service.history(n)
        return exporting.log_as_csv(log) if kind == "CSV" else exporting.log_as_json(log)

    return make
