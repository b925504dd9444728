"""A tab of the dashboard without a browser: Streamlit's websocket protocol, as far as its own frontend speaks it.

Written against Streamlit 1.67: protobuf `BackMsg` up, `ForwardMsg` down, over `/_stcore/stream`. A tab keeps the tree
of elements, the values of widgets that were touched, and the large messages that the server may refer to by their hash.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

import httpx
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

_XSRF = "_streamlit_xsrf"
_STREAM = "/_stcore/stream"


class AskedInVainError(AssertionError):
    """What a browser could not have done either: a widget or a page is not there, or the answer did not come."""


@dataclass(frozen=True)
class Drawn:
    """An element where it stands."""

    element: Element
    fragment: str
    run: int

    @property
    def kind(self) -> str:
        return self.element.WhichOneof("type") or ""

    @property
    def proto(self) -> Any:
        return getattr(self.element, self.kind)


@dataclass(frozen=True)
class Answered:
    """One run of the script, from what was sent to "script finished"; its messages are all there by then."""

    seconds: float
    n_bytes: int


class Tab:
    """A tab. `on_bytes` sees each message as it came."""

    def __init__(
        self,
        url: str,
        http: httpx.AsyncClient,
        on_bytes: Callable[[bytes], None] | None = None,
        patience_s: float = 120.0,
    ) -> None:
        self.url = url
        self.patience_s = patience_s
        self.page = ""
        self.query = ""
        self.session_id = ""
        self.n_bytes = 0
        self._http = http
        self._on_bytes = on_bytes
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._pages: dict[str, str] = {}
        self._tree: dict[tuple[int, ...], Drawn] = {}
        self._values: dict[str, dict[str, Any]] = {}
        self._kept: dict[str, list[Any]] = {}  # message by hash, and in which run it was needed last
        self._max_age = 0
        self._run = 0
        self._fragments: frozenset[str] = frozenset()
        self._finished = asyncio.Event()
        self._acts: dict[str, int] = {}

    # --- coming and going ----------------------------------------------------------------------------------------

    async def open(self, page: str = "", cookies: Mapping[str, str] | None = None, **query: str) -> Answered:
        """Load a page as a browser does: the health check, its cookie, the websocket, the first run."""
        found = await self._http.get(f"{self.url}/_stcore/health")
        found.raise_for_status()
        jar = SimpleCookie()
        for line in found.headers.get_list("set-cookie"):
            jar.load(line)
        xsrf = jar[_XSRF].value if _XSRF in jar else ""
        sent = {**(cookies or {}), **({_XSRF: xsrf} if xsrf else {})}
        began = time.perf_counter()
        self._socket = await connect(
            self.url.replace("http", "ws", 1) + _STREAM,
            origin=self.url,
            # The frontend hands tokens over as protocols: a browser lets nobody set headers of a websocket.
            subprotocols=["streamlit", *([xsrf] if xsrf else [])],
            additional_headers={"Cookie": "; ".join(f"{k}={v}" for k, v in sent.items())} if sent else None,
            max_size=None,
            open_timeout=120,
        )
        self._reader = asyncio.create_task(self._read())
        self.query = urlencode(query)
        return await self._rerun(page_name=page, began=began)

    async def close(self) -> None:
        if self._socket is not None:
            await self._socket.close()
        if self._reader is not None:
            with suppress(asyncio.CancelledError):
                await self._reader

    # --- what a curator does ---------------------------------------------------------------------------------------

    async def go(self, page: str, **query: str) -> Answered:
        """Follow a link of the menu."""
        if page not in self._pages:
            raise AskedInVainError(f"There is no page {page!r}, only {sorted(self._pages)}.")
        self.query = urlencode(query)
        return await self._rerun(page=self._pages[page])

    async def press(self, key: str) -> Answered:
        """Press a button."""
        drawn = self.widget(key)
        return await self._rerun(drawn.fragment, {drawn.proto.id: {"trigger_value": True}})

    async def type(self, key: str, text: str) -> Answered:
        """Type into a text field, and leave it."""
        return await self._set(key, {"string_value": text})

    async def choose(self, key: str, option: str) -> Answered:
        """Choose from a list, by what stands in it."""
        return await self._set(key, {"string_value": option})

    async def slide(self, key: str, *values: float) -> Answered:
        """Move the thumbs of a slider."""
        return await self._set(key, {"double_array_value": {"data": values}})

    async def _set(self, key: str, value: dict[str, Any]) -> Answered:
        drawn = self.widget(key)
        self._values[drawn.proto.id] = value
        return await self._rerun(drawn.fragment)

    async def act(self, grid: str, **what: Any) -> Answered:
        """Do something in a face grid: an act with its number, as face_grid.js sends it."""
        drawn = self.widget(f"{grid}-grid")
        self._acts[grid] = n = self._acts.get(grid, 0) + 1
        acts = [{**what, "n": n, "mount": f"{self.session_id}-{grid}"}]
        return await self.tell(drawn, "acts", acts)

    async def tell(self, drawn: Drawn, event: str, value: object) -> Answered:
        """Tell what happened in a component of version 2 (`setTriggerValue`)."""
        trigger = f"$$STREAMLIT_INTERNAL_KEY_{drawn.proto.id}__events"
        told = json.dumps([{"event": event, "value": value}])
        return await self._rerun(drawn.fragment, {trigger: {"json_trigger_value": told}})

    # --- what is on the page ---------------------------------------------------------------------------------------

    def drawn(self, kind: str = "") -> Iterator[Drawn]:
        """Elements on the page, in their order; of one kind."""
        for path in sorted(self._tree):
            if not kind or self._tree[path].kind == kind:
                yield self._tree[path]

    def widget(self, key: str, starts: bool = False) -> Drawn:
        """The widget or component with this key, or whose key starts so."""
        for drawn in self.drawn():
            said = str(getattr(drawn.proto, "id", "")).split("-", 2)
            if said[0] == "$$ID" and len(said) == 3 and (said[2].startswith(key) if starts else said[2] == key):
                return drawn
        raise AskedInVainError(f"There is no widget {key!r} on {self.page or 'the first page'}.")

    def has(self, key: str, starts: bool = False) -> bool:
        """Whether there is such a widget."""
        with suppress(AskedInVainError):
            return bool(self.widget(key, starts))
        return False

    def data(self, key: str) -> Any:
        """What a component was given."""
        proto = self.widget(key).proto
        return json.loads(proto.bytes if proto.WhichOneof("data") == "bytes" else proto.json)

    def part(self, grid: str, part: str) -> Any:
        """What a face grid was told beside its list: "order" or "now"."""
        return self.data(f"{grid}-{part}")["value"]

    def texts(self) -> list[str]:
        """What stands in `st.text`."""
        return [drawn.proto.body for drawn in self.drawn("text")]

    def errors(self) -> list[str]:
        """Exceptions on the page, and sentences with a red mark."""
        return [f"{one.proto.type}: {one.proto.message}" for one in self.drawn("exception")]

    # --- the protocol ----------------------------------------------------------------------------------------------

    async def _rerun(
        self,
        fragment: str = "",
        triggers: Mapping[str, dict[str, Any]] | None = None,
        page: str = "",
        page_name: str = "",
        began: float | None = None,
    ) -> Answered:
        assert self._socket is not None, "open it first"
        message = BackMsg()
        asked = message.rerun_script
        asked.query_string, asked.page_name, asked.fragment_id = self.query, page_name, fragment
        asked.page_script_hash = page or self.page
        there = {getattr(drawn.proto, "id", "") for drawn in self._tree.values()}
        self._values = {id: value for id, value in self._values.items() if id in there}
        for id, value in {**self._values, **(triggers or {})}.items():
            asked.widget_states.widgets.add(id=id, **value)
        asked.cached_message_hashes.extend(self._kept)
        context = asked.context_info
        context.timezone, context.timezone_offset, context.locale = "UTC", 0, "en"
        context.url, context.is_embedded, context.color_scheme = f"{self.url}/{page_name}", False, "light"
        self._finished.clear()
        before = self.n_bytes
        start = time.perf_counter() if began is None else began
        await self._socket.send(message.SerializeToString())
        try:
            await asyncio.wait_for(self._finished.wait(), self.patience_s)
        except TimeoutError:
            raise AskedInVainError(f"No answer within {self.patience_s:g} s on {self.page}.") from None
        if self._reader is not None and self._reader.done():
            raise AskedInVainError("The server closed the connection.")
        return Answered(time.perf_counter() - start, self.n_bytes - before)

    async def _read(self) -> None:
        assert self._socket is not None
        try:
            async for raw in self._socket:
                assert isinstance(raw, bytes)
                self.n_bytes += len(raw)
                if self._on_bytes is not None:
                    self._on_bytes(raw)
                self._hear(ForwardMsg.FromString(raw))
        finally:
            self._finished.set()

    def _hear(self, message: ForwardMsg) -> None:
        kind = message.WhichOneof("type")
        if kind == "ref_hash":
            kept = self._kept[message.ref_hash]
            kept[1] = self._run
            metadata = message.metadata
            message = ForwardMsg()
            message.CopyFrom(kept[0])
            message.metadata.CopyFrom(metadata)
            kind = message.WhichOneof("type")
        elif message.metadata.cacheable:
            self._kept[message.hash] = [message, self._run]
        if kind == "new_session":
            self._begin(message)
        elif kind == "navigation":
            pages = message.navigation.app_pages
            self._pages = {page.url_pathname or "people": page.page_script_hash for page in pages}
            self.page = message.navigation.page_script_hash
        elif kind == "page_info_changed":
            self.query = message.page_info_changed.query_string
        elif kind == "delta":
            self._draw(message)
        elif kind == "script_finished":
            self._end(message.script_finished)

    def _begin(self, message: ForwardMsg) -> None:
        self._run += 1
        begun = message.new_session
        self.page = begun.page_script_hash
        self.session_id = begun.initialize.session_id or self.session_id
        self._max_age = begun.config.max_cached_message_age or self._max_age
        self._fragments = frozenset(message.metadata.run.fragment_ids)

    def _draw(self, message: ForwardMsg) -> None:
        delta, path = message.delta, tuple(message.metadata.delta_path)
        if delta.WhichOneof("type") == "new_element":
            drawn = Drawn(delta.new_element, delta.fragment_id, self._run)
            self._tree[path] = drawn
            if getattr(drawn.proto, "set_value", False):  # the page's word goes before what was touched
                self._values.pop(drawn.proto.id, None)
        elif delta.WhichOneof("type") == "add_block":
            self._tree.pop(path, None)

    def _end(self, status: int) -> None:
        """Drop what the run did not draw again, as the frontend does; a run that another follows is no answer yet."""
        if status == ForwardMsg.FINISHED_SUCCESSFULLY:
            self._tree = {path: drawn for path, drawn in self._tree.items() if drawn.run == self._run}
            old = [hash for hash, (_, run) in self._kept.items() if self._run - run > self._max_age]
            for hash in old:
                del self._kept[hash]
        elif status == ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY:
            self._tree = {
                path: drawn
                for path, drawn in self._tree.items()
                if drawn.run == self._run or drawn.fragment not in self._fragments
            }
        if status != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
            self._finished.set()
