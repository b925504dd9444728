"""Settings as they are: read again every two seconds, because pages ask a hundred times and each picture once."""

from __future__ import annotations

import os
import time
from threading import Lock

from facecluster.config import Settings, load_settings

READ_AGAIN_S = 2.0  # a changed file of settings counts after that

_lock = Lock()
_known: tuple[int, float, Settings] | None = None


def settings_now() -> Settings:
    """The settings, at most two seconds old; a changed environment counts at once.

    Raises
    ------
    ConfigError
        If one of them cannot be used.
    """
    # Not Streamlit's cache with a time to live: where that ends while it looks, it raises a KeyError.
    global _known
    environment = hash(frozenset(os.environ.items()))
    with _lock:
        if _known is None or _known[0] != environment or time.monotonic() >= _known[1]:
            _known = environment, time.monotonic() + READ_AGAIN_S, load_settings()
        return _known[2]
