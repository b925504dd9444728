"""Garbage is collected while the server runs, and no more when it is over; modules are left out of it."""

import asyncio
import gc
import inspect
import platform
import subprocess
import sys
import tomllib
import weakref
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from streamlit import config
from streamlit.proto.NewSession_pb2 import NewSession
from streamlit.runtime import Runtime, app_session
from streamlit.runtime.memory_session_storage import MemorySessionStorage
from streamlit.runtime.websocket_session_manager import WebsocketSessionManager

from facecluster.ui import crops, housekeeping


class Cycle:
    """What only a collection frees."""

    def __init__(self):
        self.me = self


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    monkeypatch.setattr(crops, "_served", False)
    monkeypatch.setattr(config, "get_options_for_section", config.get_options_for_section)
    turn, thresholds = sys.getswitchinterval(), gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(turn)


def test_cycles_are_freed_while_the_server_runs_and_modules_are_not_looked_at(monkeypatch):
    monkeypatch.setattr(housekeeping, "_EVERY_S", 0.01)

    async def server():
        gc.disable()
        try:
            async with housekeeping.lifespan(None):
                n_kept = gc.get_freeze_count()
                left = weakref.ref(Cycle())
                assert left() is not None
                assert crops.is_served()
                async with asyncio.timeout(20):
                    while left() is not None:
                        await asyncio.sleep(0.01)
                return n_kept, [task.get_name() for task in asyncio.all_tasks()]
        finally:
            gc.enable()

    async def whole():
        n_kept, during = await server()
        return n_kept, during, [task.get_name() for task in asyncio.all_tasks()]

    n_kept, during, after = asyncio.run(whole())
    assert n_kept > 10_000
    assert "collect garbage" in during
    assert "collect garbage" not in after
    assert not crops.is_served()


ARRAYS = """
import asyncio, resource
import numpy as np
from facecluster.ui import housekeeping

async def server():
    async with housekeeping.lifespan(None):
        for turn in range(60):
            if turn == 10:  # by then there is room for them
                before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            [np.full(n, 1.0) for n in (50_000, 500_000, 2_000_000)]
        print("pages", resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

asyncio.run(server())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told how to keep its memory")
def test_room_of_an_array_that_was_let_go_is_used_for_the_next_one():
    """From the system each time, it is filled with zeros page by page: half the time of a plan went there."""
    done = subprocess.run([sys.executable, "-c", ARRAYS], capture_output=True, text=True, check=True)
    n_pages = int(done.stdout.split("pages")[1])
    assert n_pages < 50 * 500  # 5,000 pages for 20 MB in each turn otherwise


def test_old_objects_are_looked_at_once_a_minute_and_by_nothing_else():
    """By themselves, with fifty people at work, they were looked at each six seconds, half a second long."""

    async def server():
        async with housekeeping.lifespan(None):
            before = gc.get_stats()
            kept = [[] for _ in range(300_000)]
            return len(kept), [
                now["collections"] - was["collections"] for now, was in zip(gc.get_stats(), before, strict=True)
            ]

    _, (young, middle, old) = asyncio.run(server())
    assert young >= 20
    assert middle >= 1
    assert old == 0


def test_streamlit_reads_its_theme_once_and_says_the_same(monkeypatch):
    def told():
        message = NewSession()
        app_session._populate_theme_msg(message.custom_theme.dark, "theme.dark")
        return message

    before, read = told(), []
    assert before.custom_theme.dark.primary_color, "the theme is ours"
    monkeypatch.setattr(config, "get_options_for_section", counted(config.get_options_for_section, read))

    async def server():
        async with housekeeping.lifespan(None):
            return [told() for _ in range(5)]

    assert asyncio.run(server()) == [before] * 5
    assert read == ["theme.dark"]


def counted(do, calls):
    def counting(section):
        calls.append(section)
        return do(section)

    return counting


def test_streamlit_collects_after_no_run(request):
    """Otherwise each session's run stops all others for a full collection."""
    settings = tomllib.loads((request.config.rootpath / ".streamlit" / "config.toml").read_text("utf-8"))
    assert settings["runner"]["postScriptGC"] is False


class _Away(NamedTuple):
    """A session whose browser went away."""

    session: Any


def test_sessions_whose_browser_is_long_away_are_let_go_without_another_that_leaves(monkeypatch):
    now = 0.0
    storage = MemorySessionStorage(ttl_seconds=120)
    monkeypatch.setattr(storage._cache, "_timer", lambda: now)
    for name in ("first", "second"):
        storage.save(_Away(SimpleNamespace(id=name)))
    runtime = SimpleNamespace(_session_mgr=SimpleNamespace(_session_storage=storage))
    housekeeping.forget_sessions(runtime)
    assert len(storage._cache._data) == 2
    now = 121.0
    housekeeping.forget_sessions(runtime)
    assert not storage._cache._data


def test_streamlit_keeps_sessions_where_housekeeping_looks_for_them():
    """Its own names, which may change with another version."""
    manager = WebsocketSessionManager(MemorySessionStorage(), None, None, None)
    housekeeping.forget_sessions(SimpleNamespace(_session_mgr=manager))
    assert "_session_mgr" in inspect.getsource(Runtime.__init__)
