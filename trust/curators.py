"""What one curator does in the mixed script of the load and the soak: looks, searches, names, tunes, answers.

Acts are drawn with the weights of `ACTS`. Between two of them lies a think time of 5 to 15 s, drawn evenly: a curator
reads a page of faces, compares them and decides, and usability tests of lists give 5 to 15 s for such a page. Fifty
curators so ask five times a second, in no step with each other. `pace` shortens it for the short form.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import httpx
from servers.streamlit_client import Answered, AskedInVainError, Tab
from websockets.exceptions import WebSocketException

THINK_S = (5.0, 15.0)
OPENED = 100  # people with most faces, whom curators open and name
IN_SIGHT = 24  # tiles of a screen, whose pictures a browser asks for
Kind = Literal["view", "extract", "picture"]

# Ids of faces and names that are given in these libraries tell whose they are; the scope of a picture's address is the
# library's. Looked for in the bytes of every message, whatever element they are in.
_MARK = re.compile(rb"([a-z]+)-[0-9]{7}\b|Named by ([a-z]+)-")
_SCOPE = re.compile(rb"/crops/([0-9a-f]+)-")


@dataclass(frozen=True)
class Owner:
    """A user, and the word by which faces, photos and names of their library are known."""

    user: str
    mark: str
    cookies: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Timed:
    """One act that was answered."""

    act: str
    kind: Kind
    seconds: float
    n_bytes: int
    at: float


@dataclass
class Log:
    """What all curators of a run saw."""

    timed: list[Timed] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    scopes: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # by user

    def foreign(self) -> list[str]:
        """Addresses of pictures that two users were given alike."""
        users = sorted(self.scopes)
        return [
            f"{a} and {b} were given addresses of one library"
            for i, a in enumerate(users)
            for b in users[i + 1 :]
            if self.scopes[a] & self.scopes[b]
        ]


class Curator:
    """One session: a tab, what it looks at, and what it does next."""

    def __init__(self, url: str, http: httpx.AsyncClient, owner: Owner, seed: int, log: Log, pace: float = 1.0) -> None:
        self._tab = Tab(url, http, self._saw)
        self._http = http
        self._url = url
        self._owner = owner
        self._random = random.Random(seed)
        self._log = log
        self._pace = pace
        self._pictures: set[str] = set()  # the browser keeps what it has: they are said never to change
        self._n = 0
        self.seed = seed

    async def work(self, until: float) -> None:
        """Come, act until the moment (of `time.monotonic`) is there, and leave."""
        try:
            await self._do("come", "view", lambda: self._tab.open(cookies=self._owner.cookies))
            acts, weights = list(ACTS), [ACTS[act].weight for act in ACTS]
            while time.monotonic() < until:
                await self.think()
                await self.once(self._random.choices(acts, weights)[0])
        finally:
            await self._tab.close()

    async def everything(self, n_settings: int = 0, n_people: int = 0) -> None:
        """Come, do each act once, and leave: what is loaded or compiled once is there afterwards.

        What is kept for the next one is bounded, and its memory is not to count as the sessions': `n_settings` more
        places of the slider fill the kept plans, and everybody whom a curator may open the kept pictures.
        Noise groups all loose faces the first time, some seconds of a processor at 100,000 faces.
        """
        self._tab.patience_s = 600.0
        try:
            await self._do("come", "view", lambda: self._tab.open(cookies=self._owner.cookies))
            for act in (*ACTS, *["tune"] * n_settings):
                await self.once(act)
            await self._at("people", "people-grid")
            for turn, who in enumerate(self._tab.data("people-grid")["ids"][:n_people]):
                await self._at("people", "people-grid")
                await self._look("people-grid", turn * IN_SIGHT)
                await self._open(who)
        finally:
            await self._tab.close()

    async def think(self) -> None:
        """Look at what is there."""
        await asyncio.sleep(self._random.uniform(*THINK_S) * self._pace)

    async def once(self, act: str) -> None:
        """Do one act; what went wrong is written down, and the next one follows."""
        await ACTS[act].do(self)

    # --- acts --------------------------------------------------------------------------------------------------------

    async def people(self) -> None:
        """The grid of everybody, and the pictures in sight."""
        await self._do("People", "view", lambda: self._tab.go("people"))
        await self._look("people-grid")

    async def search(self) -> None:
        """Type a part of a name, and clear it."""
        await self._at("people", "people-search")
        for typed in (self._random.choice(("grace", "ada", "named", "q")), ""):
            await self._do("search", "view", lambda text=typed: self._tab.type("people-search", text))

    async def sort(self) -> None:
        """Another order, and the usual one again."""
        await self._at("people", "people-sort")
        for order in (self._random.choice(("Fewest faces", "Name", "Unnamed first")), "Most faces"):
            await self._do("sort", "view", lambda chosen=order: self._tab.choose("people-sort", chosen))

    async def scroll(self) -> None:
        """Further down the grid: nothing but pictures."""
        await self._at("people", "people-grid")
        await self._look("people-grid", self._random.randrange(20) * IN_SIGHT)

    async def person(self) -> None:
        """Somebody from the grid, with all their faces."""
        await self._at("people", "people-grid")
        who = self._somebody()
        if who is not None:
            await self._open(who[0])

    async def rename(self) -> None:
        """Name somebody, and see that it is said to be done."""
        await self._at("people", "people-grid")
        who = self._somebody()
        if who is None:
            return
        self._n += 1
        name = f"Named by {self._owner.mark}-{self.seed} {self._n}"
        await self._do(
            "rename", "view", lambda: self._tab.act("people", kind="rename", id=who[0], name=name, seen=who[1])
        )
        said = self._tab.texts()
        # Another curator may have named this person a moment ago, or merged them away: a sentence says so then.
        if not any(name in text or "Nothing was changed" in text for text in said):
            self._log.failures.append(f"curator {self.seed} named {who[0]} {name!r}, and nothing said so: {said[:3]}")

    async def tune(self) -> None:
        """Where people are found: another place of the slider that says how strict."""
        if not self._tab.has("tune-epsilon", starts=True):
            await self._do("Tune", "extract", lambda: self._tab.go("tune"))
        slider = self._tab.widget("tune-epsilon", starts=True).proto
        at = slider.min + slider.step * self._random.randrange(round((slider.max - slider.min) / slider.step) // 2)
        key = slider.id.split("-", 2)[2]
        await self._do("move a slider", "extract", lambda: self._tab.slide(key, at))

    async def noise(self) -> None:
        """Faces that are nobody's."""
        await self._do("Noise", "view", lambda: self._tab.go("noise"))
        await self._look("noise-nobody-grid")

    async def find(self) -> None:
        """Whom a loose face looks like."""
        if not self._tab.has("find-loose-grid"):
            await self._do("Find", "view", lambda: self._tab.go("find"))
        faces = self._tab.data("find-loose-grid")["ids"] if self._tab.has("find-loose-grid") else []
        if faces:
            face = self._random.choice(faces)
            await self._do("find by a face", "view", lambda: self._tab.act("find-loose", kind="open", id=face))
            await self._look("find-grid")

    async def history(self) -> None:
        """What was changed."""
        await self._do("History", "view", lambda: self._tab.go("history"))

    async def review(self) -> None:
        """The first question, answered or left."""
        await self._do("Review", "view", lambda: self._tab.go("review"))
        letter = self._random.choices("YNS", (1, 4, 2))[0]
        if self._tab.has(f"review-{letter}-", starts=True):
            key = self._tab.widget(f"review-{letter}-", starts=True).proto.id.split("-", 2)[2]
            await self._do("answer", "view", lambda: self._tab.press(key))

    # --- inside ------------------------------------------------------------------------------------------------------

    async def _open(self, who: str) -> None:
        await self._do("open a person", "view", lambda: self._tab.act("people", kind="open", id=who))
        await self._look(f"faces-{who}-grid")

    async def _at(self, page: str, key: str) -> None:
        if not self._tab.has(key):
            await self._do("People", "view", lambda: self._tab.go(page))

    def _somebody(self) -> tuple[str, str] | None:
        """One of the first hundred people, and the name that stands there."""
        if not self._tab.has("people-grid"):
            return None
        grid = self._tab.data("people-grid")
        if not grid["ids"]:
            return None
        at = self._random.randrange(min(len(grid["ids"]), OPENED))
        changed = self._tab.part("people", "now").get("changed", {})
        who = grid["ids"][at]
        return who, changed[who][0] if who in changed else grid["names"][at]

    async def _do(self, act: str, kind: Kind, do: Callable[[], Awaitable[Answered]]) -> None:
        who = f"curator {self.seed} ({self._owner.user}), {act}"
        try:
            answered = await do()
        except (AskedInVainError, WebSocketException, httpx.HTTPError, OSError) as exc:
            self._log.failures.append(f"{who}: {type(exc).__name__}: {exc}")
            return
        self._log.timed.append(Timed(act, kind, answered.seconds, answered.n_bytes, time.monotonic()))
        self._log.failures += [f"{who}: {error}" for error in self._tab.errors()]

    async def _look(self, grid: str, first: int = 0) -> None:
        """Load the pictures of a grid that are in sight and not loaded yet, six at a time as a browser does."""
        if not self._tab.has(grid):
            return
        data = self._tab.data(grid)
        names = [name for name in data["pictures"][first : first + IN_SIGHT] if name]
        new = [name for name in dict.fromkeys(names) if name not in self._pictures]
        self._pictures.update(new)
        gate = asyncio.Semaphore(6)

        async def load(name: str) -> None:
            async with gate:
                began = time.perf_counter()
                address = f"{self._url}{data['base']}{name}.jpg?s=176"
                try:
                    found = await self._http.get(address)
                except (httpx.ReadError, httpx.RemoteProtocolError):
                    # The server was just closing a connection that had been idle for 5 s: browsers ask once more.
                    found = await self._http.get(address)
                seconds = time.perf_counter() - began
                if found.status_code != 200 or found.headers["content-type"] != "image/jpeg":
                    self._log.failures.append(f"curator {self.seed}: picture {name}: {found.status_code}")
                self._log.timed.append(Timed("picture", "picture", seconds, len(found.content), time.monotonic()))

        try:
            await asyncio.gather(*map(load, new))
        except (httpx.HTTPError, OSError) as exc:
            self._log.failures.append(f"curator {self.seed}: pictures: {type(exc).__name__}: {exc}")

    def _saw(self, raw: bytes) -> None:
        """Every face, photo, name and address that came must be of this user's library."""
        strange = {(face or name).decode() for face, name in _MARK.findall(raw)} - {self._owner.mark}
        if strange:
            self._log.failures.append(f"curator {self.seed} ({self._owner.user}) was sent faces of {sorted(strange)}")
        self._log.scopes[self._owner.user] |= {scope.decode() for scope in _SCOPE.findall(raw)}


@dataclass(frozen=True)
class Act:
    """What a curator does, and how often of all acts."""

    do: Callable[[Curator], Awaitable[None]]
    weight: int


ACTS: Mapping[str, Act] = {
    "people": Act(Curator.people, 14),
    "scroll": Act(Curator.scroll, 12),
    "search": Act(Curator.search, 8),
    "sort": Act(Curator.sort, 4),
    "person": Act(Curator.person, 16),
    "rename": Act(Curator.rename, 12),
    "tune": Act(Curator.tune, 10),
    "noise": Act(Curator.noise, 5),
    "find": Act(Curator.find, 7),
    "history": Act(Curator.history, 3),
    "review": Act(Curator.review, 9),
}
