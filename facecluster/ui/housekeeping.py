"""What the server does between pages: let go, once a minute, of what nobody looks at any more."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cache
from typing import Any, cast

from streamlit import config
from streamlit.runtime import Runtime, exists, get_instance

from facecluster.stores.local import close_unused
from facecluster.ui import crops

# Seconds. No session's page moves while a collection looks for what nothing refers to any more.
_EVERY_S = 60.0
# Objects more than before a collection of the young ones (Python's own number is 700); each 20th looks at the middle
# ones too, and none by itself at the old ones: with fifty people at work that was half a second of each six.
_THRESHOLDS = 10_000, 20, 100_000
# Seconds that a thread may go on while others wait; Python's own are 0.005. Serving a picture takes several turns, and
# with fifty people at work it waited for all of them each time: 1.8 s at the median, and 0.3 s so.
_TURN_S = 0.001
# The C library of Linux gives each thread a heap of its own, up to eight a processor, and after fifty sessions at
# 100,000 faces these held 0.2 GB that nobody used. One is enough: who makes an array has the interpreter. Arrays up to
# 32 MB (it allows no more) come out of it, because to get each from the system takes longer than to reckon with it: the
# second layer took 0.12 s instead of 0.05. What is free in it goes back once a minute, and what is more than 256 MB.
_SETTINGS = {"M_ARENA_MAX": (-8, 1), "M_MMAP_THRESHOLD": (-3, 32 << 20), "M_TRIM_THRESHOLD": (-1, 256 << 20)}


@asynccontextmanager
async def lifespan(app: object) -> AsyncIterator[None]:
    """While the server runs, pictures are served and memory is given back."""
    # Modules are four fifths of what a collection looks at (0.17 of 0.20 s at 100,000 faces), and they stay. Nobody is
    # here yet, so nothing of a session is kept with them.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    _bound_heaps()
    _read_theme_once()
    sys.setswitchinterval(_TURN_S)
    async with crops.lifespan(app):
        collecting = asyncio.create_task(_collect(), name="collect garbage")
        try:
            yield
        finally:
            collecting.cancel()
            with suppress(asyncio.CancelledError):
                await collecting


async def _collect() -> None:
    while True:
        await asyncio.sleep(_EVERY_S)
        if exists():
            forget_sessions(get_instance())
        await asyncio.to_thread(close_unused)  # the last one of a library tidies its log
        gc.collect()
        _give_back()


def forget_sessions(runtime: Runtime) -> None:
    """Let go of sessions whose browser has been away for longer than `server.disconnectedSessionTTL`.

    Streamlit lets go of them when the next browser goes away: after the last one, fifty sessions stayed for the night.
    """
    storage = cast(Any, runtime._session_mgr)._session_storage  # Streamlit has no public way to it
    storage._cache.expire()


def _read_theme_once() -> None:
    """Keep what Streamlit's settings say of the theme, which are those of the start.

    For each page it goes through all of its 300 settings six times, under the lock that every element of every page
    waits for: with fifty people at work one in eight moments of a page was spent there.
    """
    setattr(config, "get_options_for_section", cache(config.get_options_for_section))  # noqa: B010  (not ours to type)


def _bound_heaps() -> None:
    with suppress(OSError, AttributeError, TypeError):  # another system, or another C library
        for parameter, value in _SETTINGS.values():
            ctypes.CDLL(None).mallopt(parameter, value)


def _give_back() -> None:
    """Give freed memory back to the system; the C library of Linux keeps what lies between what is in use."""
    with suppress(OSError, AttributeError, TypeError):  # another system, or another C library
        ctypes.CDLL(None).malloc_trim(0)
