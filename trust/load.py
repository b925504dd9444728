"""R9: fifty sessions at once on one server: how long each act takes, what goes wrong, what is left afterwards.

Raw websocket clients against a real server process over a library of 100,000 faces, and then of 10,000; nothing is
mocked. Clients and server share this machine, so a client's own work counts against the figures. A time runs from
sending to "script finished", all messages of the run included. Figures: p95 at most 1.0 s for looking, naming and
answering, at most 2.0 s where a slider extracts people anew, no error, nobody sees another library, and memory within
10 % of what it was within three minutes of the last session's end.
"""

from __future__ import annotations

import asyncio
import ssl
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil
from driving import Dashboard, start, stop

from benchmarks import screens
from facecluster.config import load_settings
from facecluster.wiring import open_service
from trust.curators import ACTS, OPENED, Curator, Kind, Log, Owner, Timed
from trust.measure import Found, Measure

N_SESSIONS = 50
SIZES = (100_000, 10_000)  # faces
MOST_S: dict[Kind, float] = {"view": 1.0, "extract": 2.0}  # at the 95th percentile
MOST_GROWTH = 1.10
BACK_WITHIN_S = 180.0
# Everything is on this machine, and fifty clients that read the certificates take a second.
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
N_SETTINGS = 12  # plans that the server keeps for going back
ARRIVE_S = 20.0  # fifty curators do not come in the same second
OWNER = Owner("local", "face")


@dataclass(frozen=True)
class Weight:
    """What the server process weighs: memory of its own, and file handles.

    Pages of files that are mapped, such as the vectors, are the system's to take back at any moment, and do not count.
    """

    own_mb: float
    n_handles: int


def weight(server: psutil.Process) -> Weight:
    """What a process weighs now."""
    memory = server.memory_info()
    return Weight((memory.rss - memory.shared) / 1e6, server.num_fds())


@contextmanager
def serving(n_faces: int) -> Iterator[Dashboard]:
    """A dashboard on a library of so many faces, published, with all positions of the sliders prepared."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "library"
        screens.make(library, n_faces)
        service = open_service(load_settings(library=library))
        service.prepare(service.defaults.blur_threshold)
        del service
        dashboard = start(library)
        try:
            yield dashboard
        finally:
            stop(dashboard)


async def warm(
    dashboard: Dashboard,
    seed: int,
    log: Log,
    owners: Sequence[Owner] = (OWNER,),
    n_settings: int = 0,
    n_people: int = 0,
) -> None:
    """One curator of each library does everything once: what is loaded or compiled once is no session's."""
    async with client() as http:
        for owner in owners:
            await Curator(dashboard.url, http, owner, seed, log, pace=0.0).everything(n_settings, n_people)


async def crowd(
    dashboard: Dashboard,
    n_sessions: int,
    seconds: float,
    seed: int,
    log: Log,
    pace: float = 1.0,
    owners: Sequence[Owner] = (OWNER,),
) -> None:
    """So many curators work for so long, each in a session of their own, in turn for each of the owners."""
    until = time.monotonic() + seconds
    async with AsyncExitStack() as open_browsers:
        curators = [
            Curator(dashboard.url, await open_browsers.enter_async_context(client()), owners[i % len(owners)],
                    seed + 1 + i, log, pace)
            for i in range(n_sessions)
        ]  # fmt: skip

        async def come(at: int) -> None:
            await asyncio.sleep(min(ARRIVE_S, seconds / 4) * at / n_sessions)
            await curators[at].work(until)

        for result in await asyncio.gather(*map(come, range(n_sessions)), return_exceptions=True):
            if isinstance(result, BaseException):
                log.failures.append(f"a session broke off: {type(result).__name__}: {result}")
    log.failures += log.foreign()


def client() -> httpx.AsyncClient:
    """What fetches pictures for one browser: six at a time, as browsers do."""
    return httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=6), verify=_NO_TLS)


def tracebacks(dashboard: Dashboard) -> list[str]:
    """The end of each traceback in the server's log."""
    text = dashboard.log.read_text("utf-8", "replace")
    return [f"the server's log: {part[-300:]!r}" for part in text.split("Traceback")[1:]]


def percentiles(timed: Sequence[Timed]) -> str:
    """The 50th, 95th and 99th: "0.12/0.50/0.90 s"."""
    found = np.percentile([one.seconds for one in timed], (50, 95, 99))
    return "/".join(f"{value:.2f}" for value in found) + " s"


def by_act(timed: Sequence[Timed]) -> list[str]:
    """A line for each act: how often, its percentiles, and what it sends."""
    acts = defaultdict(list)
    for one in timed:
        acts[one.act].append(one)
    return [
        f"{act:16} {len(some):6,}  {percentiles(some)}  {np.median([one.n_bytes for one in some]) / 1000:,.0f} kB"
        for act, some in sorted(acts.items())
    ]


def too_slow(timed: Sequence[Timed], where: str) -> list[str]:
    """Kinds of acts whose 95th percentile is above what is promised."""
    found = []
    for kind, most in MOST_S.items():
        some = [one.seconds for one in timed if one.kind == kind]
        p95 = float(np.percentile(some, 95)) if some else 0.0
        if p95 > most:
            found.append(f"{where}: p95 of {kind} is {p95:.2f} s, {most:g} s are promised")
    return found


async def settled(server: psutil.Process, before: Weight, within_s: float) -> tuple[Weight, float]:
    """What the server weighs once it is back where it was, and after how long; or when the time is over."""
    began = time.monotonic()
    while True:
        now, waited = weight(server), time.monotonic() - began
        if now.own_mb <= MOST_GROWTH * before.own_mb or waited >= within_s:
            return now, waited
        await asyncio.sleep(5)


async def tried(n_faces: int, n_sessions: int, seconds: float, seed: int) -> Found:
    """One library under one crowd."""
    log, where = Log(), f"{n_faces // 1000}k faces"
    with serving(n_faces) as dashboard:
        server = psutil.Process(dashboard.process.pid)
        await warm(dashboard, seed, log, n_settings=N_SETTINGS, n_people=OPENED)
        log.timed.clear()
        before = weight(server)
        work = asyncio.create_task(crowd(dashboard, n_sessions, seconds, seed, log))
        peak = before
        while not work.done():
            await asyncio.sleep(2)
            now = weight(server)
            peak = Weight(max(peak.own_mb, now.own_mb), max(peak.n_handles, now.n_handles))
        await work
        after, waited = await settled(server, before, BACK_WITHIN_S)
        log.failures += tracebacks(dashboard)
    if after.own_mb > MOST_GROWTH * before.own_mb:
        log.failures.append(
            f"{where}: {waited:.0f} s after the last session the server holds {after.own_mb:,.0f} MB, "
            f"{before.own_mb:,.0f} MB before"
        )
    log.failures += too_slow(log.timed, where)
    for line in by_act(log.timed):
        print(f"     {line}", flush=True)
    kinds = {kind: [one for one in log.timed if one.kind == kind] for kind in ("view", "extract", "picture")}
    said = ", ".join(f"{kind} {percentiles(some)}" for kind, some in kinds.items() if some)
    note = (
        f"{where}, {n_sessions} sessions: p50/p95/p99 {said}; memory {before.own_mb:,.0f}, at most {peak.own_mb:,.0f}, "
        f"{after.own_mb:,.0f} MB {waited:.0f} s after; file handles {before.n_handles}, at most {peak.n_handles}, "
        f"{after.n_handles} after"
    )
    print(f"     {note}", flush=True)
    return Found(len(log.timed), log.failures, note=note)


def run(seed: int, seconds: float) -> Found:
    """Fifty sessions on the large library, then on the small one; building them takes a minute or two of the time."""
    found = Found()
    for n_faces in SIZES:
        part = asyncio.run(tried(n_faces, N_SESSIONS, max(seconds / len(SIZES) - BACK_WITHIN_S / 2, 30.0), seed))
        found.n += part.n
        found.failures += part.failures
        found.note = ". ".join(filter(None, (found.note, part.note)))
    return found


MEASURES = [
    Measure(
        "R9",
        f"{N_SESSIONS} curators at once wait no longer than promised, and none sees an error or another library",
        "acts",
        6_000,
        1.0,
        run,
    )
]
assert sum(act.weight for act in ACTS.values()) == 100, "weights are per cent"
