"""One promise, how it is tried, and what came of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
# The servers that tests run against, and their small libraries, are used here too.
for folder in (ROOT, TESTS, TESTS / "e2e"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@dataclass
class Found:
    """What trying came to.

    Attributes
    ----------
    n : int
        Cases tried.
    failures : list of str
        One sentence for each case that broke the promise: enough to repeat it.
    seconds : float
        Time it took.
    not_run : str
        Why nothing was tried; "" where something was.
    note : str
        Figures beside the count: a slope, a percentile, which stores.
    """

    n: int = 0
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0
    not_run: str = ""
    note: str = ""


@dataclass(frozen=True)
class Measure:
    """A promise.

    Attributes
    ----------
    id : str
        "R4", or "R4a" where one promise is tried in several ways.
    what : str
        The promise in a curator's words, a line of the table.
    unit : str
        What is counted: "kills", "histories".
    goal : int
        Cases that are aimed at in eight hours.
    share : float
        Of the time, in parts of the sum of all shares; 0 for what takes the time it takes.
    run : callable
        `run(seed, seconds)`: tries cases until all are done or the seconds are over, whichever is first. It uses no
        chance but the seed.
    """

    id: str
    what: str
    unit: str
    goal: int
    share: float
    run: Callable[[int, float], Found]


def cases(seconds: float, most: int | None = None) -> Iterator[int]:
    """0, 1, 2, … until the time is over, at least one; no more than `most`."""
    end = time.monotonic() + seconds
    n = 0
    while most is None or n < most:
        yield n
        n += 1
        if time.monotonic() >= end:
            return
