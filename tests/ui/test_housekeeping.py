"""Garbage is collected while the server runs, and no more when it is over; modules are left out of it."""

import asyncio
import gc
import tomllib
import weakref

import pytest

from facecluster.ui import crops, housekeeping


class Cycle:
    """What only a collection frees."""

    def __init__(self):
        self.me = self


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    monkeypatch.setattr(crops, "_served", False)
    yield
    gc.unfreeze()


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


def test_streamlit_collects_after_no_run(request):
    """Otherwise each session's run stops all others for a full collection."""
    settings = tomllib.loads((request.config.rootpath / ".streamlit" / "config.toml").read_text("utf-8"))
    assert settings["runner"]["postScriptGC"] is False
