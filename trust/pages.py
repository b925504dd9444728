"""The pages of the dashboard on a library of one's own, without a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.proto.RootContainer_pb2 import RootContainer
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest

from trust.measure import ROOT

PAGES = ("people", "person", "map", "find", "review", "tune", "noise", "history", "status")
Open = Callable[..., AppTest]


@contextmanager
def dashboard(library: Path, **settings: str) -> Iterator[Open]:
    """Open pages of a library: `page("person", id="p-1")`."""
    real = PagesManager.__init__

    def told(self: PagesManager, *args: Any, **kwargs: Any) -> None:
        PagesManager.uses_pages_directory = False  # as app.py tells a server; AppTest runs pages/ without the shell
        real(self, *args, **kwargs)

    def page(name: str, **query: str | list[str]) -> AppTest:
        test = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
        test.session_state["fc_library"] = "own"
        test.run()
        test.switch_page(f"pages/{name}.py")
        for key, value in query.items():
            test.query_params[key] = value
        return test.run()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PagesManager, "__init__", told)
        for key, value in {"FACECLUSTER_LIBRARY": str(library), **settings}.items():
            patch.setenv(key, value)
        st.cache_resource.clear()
        try:
            yield page
        finally:
            st.cache_resource.clear()


def protos(test: AppTest) -> Iterator[tuple[str, Any]]:
    """Everything that is sent to the browser: the kind of each element or block, and its message."""
    waiting: list[Any] = [test.main, test.sidebar]
    waiting += [
        block for key, block in test._tree.children.items() if key not in (RootContainer.MAIN, RootContainer.SIDEBAR)
    ]
    seen: set[int] = set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if getattr(node, "proto", None) is not None:
            yield str(getattr(node, "type", "")), node.proto
        waiting += list(getattr(node, "children", {}).values())
