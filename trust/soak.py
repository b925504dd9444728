"""R10: ten curators for hours: memory does not grow, and file handles stay as many as they were.

The mixed script of `trust.curators` at its usual pace against one real server. A sample every five seconds; after a
warm-up (a quarter of the time, at most ten minutes) a line is laid through the memory of the server by least squares.
Its slope is promised to be below 1 MB an hour over eight hours; in a shorter time the error of the slope is larger than
that, so a run fails only where the slope is above it by more than twice its standard error, and both are printed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import psutil

from trust.curators import OPENED, Log
from trust.load import N_SETTINGS, crowd, percentiles, serving, tracebacks, warm, weight
from trust.measure import Found, Measure

N_SESSIONS = 10
N_FACES = 10_000
MOST_MB_AN_HOUR = 1.0
MORE_HANDLES = 8  # pictures and sockets in flight
_EVERY_S = 5.0
_WARM_UP_S = 600.0
_LEAST_S = 900.0  # two megabytes of a young process would be hundreds an hour


def slope(seconds: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Growth an hour by least squares, and its standard error with the samples' autocorrelation taken in.

    Neighbouring samples of a process's memory are nearly the same number, so they do not count as independent: the
    error is widened as for an autoregressive series of first order.
    """
    hours, y = np.asarray(seconds) / 3600, np.asarray(values, float)
    at = hours - hours.mean()
    spread = float(at @ at)
    found = float(at @ y / spread)
    rest = y - y.mean() - found * at
    error = float(np.sqrt(rest @ rest / max(len(y) - 2, 1) / spread))
    before, after = rest[:-1], rest[1:]
    alike = float(np.clip(before @ after / max(float(rest @ rest), 1e-12), 0.0, 0.99))
    return found, error * float(np.sqrt((1 + alike) / (1 - alike)))


async def tried(n_sessions: int, seconds: float, seed: int, n_faces: int = N_FACES, pace: float = 1.0) -> Found:
    """Curators at work, and a sample of the server every five seconds."""
    log = Log()
    at: list[float] = []
    memory: list[float] = []
    handles: list[int] = []
    with serving(n_faces) as dashboard:
        server = psutil.Process(dashboard.process.pid)
        await warm(dashboard, seed, log, n_settings=N_SETTINGS, n_people=OPENED)
        work = asyncio.create_task(crowd(dashboard, n_sessions, seconds, seed, log, pace))
        began = asyncio.get_running_loop().time()
        while not work.done():
            await asyncio.wait({work}, timeout=_EVERY_S)
            now = weight(server)
            at.append(asyncio.get_running_loop().time() - began)
            memory.append(now.own_mb)
            handles.append(now.n_handles)
        await work
        log.failures += tracebacks(dashboard)
    return judged(at, memory, handles, seconds, log)


def judged(at: Sequence[float], memory: Sequence[float], handles: Sequence[int], seconds: float, log: Log) -> Found:
    """What the samples come to."""
    first = next((i for i, t in enumerate(at) if t >= min(_WARM_UP_S, seconds / 4)), 0)
    found = Found(len(log.timed), list(log.failures))
    if at[-1] - at[first] < _LEAST_S:
        found.not_run = f"too short for a slope: {_LEAST_S / 60:.0f} minutes after the warm-up are the least"
        return found
    growth, error = slope(at[first:], memory[first:])
    n_first, n_last = (int(np.median(some)) for some in (handles[first:][:20], handles[-20:]))
    if growth - 2 * error > MOST_MB_AN_HOUR:
        found.failures.append(f"memory grows by {growth:.1f} ± {error:.1f} MB an hour")
    if n_last > n_first + MORE_HANDLES:
        found.failures.append(f"file handles grow from {n_first} to {n_last}")
    hours = (at[-1] - at[first]) / 3600
    found.note = (
        f"{hours:.1f} h after warm-up: {growth:+.1f} ± {error:.1f} MB an hour, {memory[first]:,.0f} to "
        f"{memory[-1]:,.0f} MB; file handles {n_first} to {n_last}; p50/p95/p99 {percentiles(log.timed)}"
    )
    return found


def run(seed: int, seconds: float) -> Found:
    """Ten curators for the time there is."""
    return asyncio.run(tried(N_SESSIONS, seconds, seed))


MEASURES = [
    Measure("R10", "hours of work by ten curators leave memory and file handles as they were", "acts", 25_000, 1.0, run)
]
