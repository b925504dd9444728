"""One user's part of a Pinecone index: every request to Pinecone is made here, with patience, and its errors told.

The SDK retries by itself, for as long as it likes. Its retries are switched off, so that one clock bounds a request
with all its repetitions: `patience_s`.
"""

from __future__ import annotations

import re
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import msgspec
import numpy as np
from pinecone import Index, Pinecone, RetryConfig, Vector
from pinecone._internal.constants import DATA_PLANE_API_VERSION
from pinecone._internal.http_client import HTTPClient
from pinecone.errors.exceptions import (
    ApiError,
    PineconeConnectionError,
    PineconeError,
    PineconeTimeoutError,
    ResponseParsingError,
)
from pinecone.grpc import GrpcIndex
from pinecone.models.indexes.deployment import PodDeployment
from pinecone.models.vectors.responses import (
    DescribeIndexStatsResponse,
    FetchByMetadataResponse,
    FetchResponse,
    ListResponse,
    QueryResponse,
    UpdateResponse,
    UpsertResponse,
)
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    sleep_using_event,
    stop_before_delay,
    stop_when_event_set,
    wait_random_exponential,
)

from facecluster.errors import (
    CancelledError,
    ConfigError,
    InputError,
    StoreDeniedError,
    StoreError,
    StoreUnavailableError,
)
from facecluster.stores.pinecone_part import Part

PAGE = 100  # ids of one list page, and of one fetch: 1,000 long ones would not fit into an address
MAX_QUERY = 16_000  # characters of the ids of one fetch, as the address spells them; gateways end at about 60,000
MAX_DELETED = 1_000
MAX_TOP_K = 10_000
MIN_TOP_K = 100
PROBES_IN_VAIN = 6
LONGEST_ATTEMPT_S = 10.0  # without a byte; also how long a stalled request can hold up a cancelled fetch

# msgspec, which decodes for the SDK, prepares a type when it first meets it; a second thread that meets it in the same
# moment crashes the process. So the types of all answers are met here, before there are threads.
for _answer in (
    DescribeIndexStatsResponse, FetchByMetadataResponse, FetchResponse, ListResponse, QueryResponse, UpdateResponse,
    UpsertResponse,
):  # fmt: skip
    msgspec.json.Decoder(_answer)

_PASSING = frozenset({408, 429, 500, 502, 503, 504})
# A limit of the plan, not of the moment: asking again only costs time.
_QUOTA = re.compile(r"current month|upgrade|quota|your plan|max storage", re.IGNORECASE)
_DENSE_FIELDS = {"_values", "_sparse_values"}
_T = TypeVar("_T")


class RefusedError(StoreError):
    """Pinecone understood the request and did not do it."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Stats:
    """What an index says of itself.

    Attributes
    ----------
    dimension : int
        Numbers of a vector.
    count : int | None
        Vectors of the namespace; None where a metadata field divides it, which nobody counts.
    elsewhere : tuple[str, ...]
        Other namespaces that hold vectors, the largest first; none where they are other users'.
    """

    dimension: int
    count: int | None
    elsewhere: tuple[str, ...] = ()


class IndexOfUser:
    """One user's part of an index. Connects at the first request, not before.

    Parameters
    ----------
    part : Part
        Which records.
    api_key : str
        Used where there is no `client`.
    client : Pinecone | None
        A client whose key, addresses, proxy and certificates are taken over.
    patience_s : float
        Seconds that one request may take with all its repetitions.
    """

    def __init__(self, part: Part, api_key: str, client: Pinecone | None = None, patience_s: float = 120.0) -> None:
        self.part = part
        self.patience_s = patience_s
        self.is_pod = False
        self.host = part.host
        self._api_key = api_key
        self._like = client
        self._attempt_s = min(LONGEST_ATTEMPT_S, max(1.0, patience_s / 4))
        self._connecting = threading.Lock()
        self._opened: Index | GrpcIndex | None = None

    # --- reading -----------------------------------------------------------------------------------------------

    def stats(self, stop: threading.Event) -> Stats:
        """Dimension and count, which lag behind writes.

        Raises
        ------
        ConfigError
            If the index holds no dense vectors.
        """
        index = self._index(stop)
        said = self._call("Counting the faces", lambda s: index.describe_index_stats(timeout=s), stop)
        if not said.dimension:
            raise ConfigError(
                f"The Pinecone index {self.part.index!r} holds no dense vectors. Nothing was read. "
                "Set IDX_FACES_ARCFACE or PINECONE_HOST to the index of the faces."
            )
        if self.part.user_field:
            return Stats(said.dimension, None)
        counts = {name: space.vector_count for name, space in said.namespaces.items()}
        here = sum(counts.pop(name, 0) for name in {self.part.namespace, self.part.namespace or "__default__"})
        others = sorted((name for name in counts if counts[name]), key=lambda name: -counts[name])
        return Stats(said.dimension, here, tuple(others) if self.part.is_only_user else ())

    def listed(self, stop: threading.Event) -> Iterator[list[str]]:
        """All ids of the namespace, page by page. A pod index cannot: `is_pod` is set, and nothing comes."""
        index, token = self._index(stop), None
        while True:
            ask = partial(
                index.list_paginated, limit=PAGE, pagination_token=token or None, namespace=self.part.namespace
            )
            try:
                page = self._call("Listing the faces", partial(_within, ask), stop)
            except RefusedError as exc:
                if token is None and exc.status == 404:  # no such namespace
                    return
                if token is None and exc.status in (400, 501):
                    self.is_pod = True
                    return
                raise
            yield [item.id for item in page.vectors if item.id]
            token = page.pagination.next if page.pagination is not None else None
            if not token:
                return

    def owned(self, stop: threading.Event) -> Iterator[list[Vector]]:
        """All records of the user's metadata field, page by page, each looked at once more here; not of a pod index."""
        index, token = self._index(stop), None
        while True:
            ask = partial(
                index.fetch_by_metadata,
                filter=self.part.filter,
                namespace=self.part.namespace,
                limit=PAGE,
                pagination_token=token or None,
            )
            try:
                page = self._call("Reading the faces", partial(_within, ask), stop)
            except RefusedError as exc:
                if token is None and exc.status == 404:
                    return
                if token is None and exc.status in (400, 501):
                    self.is_pod = True
                    return
                raise
            yield [record for record in page.vectors.values() if self.part.holds(record.metadata)]
            token = page.pagination.next if page.pagination is not None else None
            if not token:
                return

    def fetched(self, ids: Sequence[str], stop: threading.Event) -> list[Vector]:
        """The records of these ids, in no order; those that are not there, or another user's, are left out."""
        return [record for record in self._records(ids, stop) if self.part.holds(record.metadata)]

    def probed(self, dimension: int, stop: threading.Event) -> Iterator[list[str]]:
        """Ids that searches find, only new ones, until several searches in a row find nothing new.

        Every other search starts from a face that was found before: random directions rarely reach into tight people.
        """
        rng = np.random.default_rng(0)
        seen: dict[str, None] = {}
        in_vain, top_k = 0, MAX_TOP_K
        for turn in range(1_000_000):
            if in_vain >= PROBES_IN_VAIN:
                return
            start: dict[str, Any] = {"vector": rng.standard_normal(dimension).tolist()}
            if turn % 2 and seen:
                start = {"id": list(seen)[int(rng.integers(len(seen)))]}
            found, top_k = self._neighbours(start, top_k, stop)
            new = [face for face in found if face not in seen]
            seen.update(dict.fromkeys(new))
            in_vain = 0 if new else in_vain + 1
            yield new

    def _neighbours(self, start: dict[str, Any], top_k: int, stop: threading.Event) -> tuple[list[str], int]:
        """Ids near a start, and how many could be asked for: an answer must fit into 4 MB."""
        index = self._index(stop)
        if self.part.user_field:
            start = {**start, "filter": self.part.filter}
        while True:
            ask = partial(index.query, top_k=top_k, namespace=self.part.namespace, **start)
            try:
                answer = self._call("Searching the faces", partial(_within, ask), stop)
            except RefusedError as exc:
                if exc.status != 400 or top_k <= MIN_TOP_K:
                    raise
                top_k //= 2
            else:
                return [match.id for match in answer.matches], top_k

    def _records(self, ids: Sequence[str], stop: threading.Event) -> Iterator[Vector]:
        index = self._index(stop)
        for some in in_addresses(ids):
            ask = partial(index.fetch, ids=some, namespace=self.part.namespace)
            try:
                found = self._call("Reading the faces", partial(_within, ask), stop).vectors
            except RefusedError as exc:
                if exc.status != 404:
                    raise
            else:
                yield from (found[face] for face in some if face in found)

    # --- writing -----------------------------------------------------------------------------------------------

    def foreign(self, ids: Sequence[str], stop: threading.Event) -> set[str]:
        """Those of these ids under which another user's record is kept."""
        if not self.part.user_field:
            return set()
        return {record.id for record in self._records(ids, stop) if not self.part.holds(record.metadata)}

    def upsert(self, records: Sequence[dict[str, Any]], stop: threading.Event) -> None:
        """Write records; one call, so the caller minds the limits. Safe to repeat."""
        index = self._index(stop)
        ask = partial(index.upsert, vectors=records, namespace=self.part.namespace)
        self._call("Writing the faces", partial(_within, ask), stop)

    def delete(self, ids: Sequence[str], stop: threading.Event) -> None:
        """Delete records; ids that are not there are no error, nor is a namespace that is not there."""
        index = self._index(stop)
        for start in range(0, len(ids), MAX_DELETED):
            ask = partial(index.delete, ids=list(ids[start : start + MAX_DELETED]), namespace=self.part.namespace)
            try:
                self._call("Deleting the faces", partial(_within, ask), stop)
            except RefusedError as exc:
                if exc.status != 404:
                    raise

    # --- connection --------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of the connections; the next request makes new ones."""
        with self._connecting:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def _index(self, stop: threading.Event) -> Any:
        """The SDK's index, connected at the first call; Any, because REST and gRPC have no common type."""
        with self._connecting:
            if self._opened is None:
                client = self._client()
                try:
                    if not self.host:
                        self.host = self._looked_up(client, stop)
                    self._opened = _opened(client, self.host, self.part.is_grpc)
                except PineconeError as exc:
                    raise self._told(exc, "Opening the index", 1) from exc
                finally:
                    client.close()
                weakref.finalize(self, self._opened.close)
            return self._opened

    def _client(self) -> Pinecone:
        """A client that asks once and leaves repeating to us."""
        once = RetryConfig(max_retries=0)
        try:
            if self._like is not None:
                config = self._like.config
                same = {f.name: getattr(config, f.name) for f in fields(config) if f.name != "retry_config"}
                return Pinecone(**{**same, "timeout": self._attempt_s}, retry_config=once)
            scheme: Literal["http"] | None = "http" if self.part.host.startswith("http://") else None
            return Pinecone(self._api_key, timeout=self._attempt_s, grpc_scheme=scheme, retry_config=once)
        except PineconeError as exc:
            raise ConfigError(f"The key for Pinecone cannot be used: {exc}. Set PINECONE_API_KEY.") from exc

    def _looked_up(self, client: Pinecone, stop: threading.Event) -> str:
        name = self.part.index
        try:
            found = self._call("Looking up the index", lambda _: client.indexes.describe(name), stop)
        except StoreDeniedError as exc:
            raise StoreDeniedError(f"{exc} If it may not look up indexes, set PINECONE_HOST.") from exc
        except RefusedError as exc:
            if exc.status != 404:
                raise
            raise ConfigError(
                f"There is no Pinecone index {name!r} for this key. Nothing was read. Set IDX_FACES_ARCFACE to its "
                "name, or PINECONE_HOST to its address."
            ) from exc
        # An index with a schema of documents answers every request about vectors as if it were empty.
        if not set(found.schema.fields) <= _DENSE_FIELDS:
            raise ConfigError(
                f"The Pinecone index {name!r} holds documents, not vectors. Nothing was read. "
                "Make one with a dimension and a metric, and set IDX_FACES_ARCFACE to it."
            )
        if not found.host:
            raise StoreUnavailableError(f"The Pinecone index {name!r} is still being made. Try again in a minute.")
        self.is_pod = isinstance(found.deployment, PodDeployment)
        return found.host

    # --- patience ----------------------------------------------------------------------------------------------

    def _call(self, what: str, request: Callable[[float], _T], stop: threading.Event) -> _T:
        """What a request answers, repeated until it succeeds, is refused, or patience ends.

        `request` takes the seconds that this attempt may wait. Setting `stop` ends the waiting between attempts.
        """
        end = time.monotonic() + self.patience_s

        def attempt() -> _T:
            if stop.is_set():
                raise CancelledError(f"{what} was stopped. Nothing was changed.")
            return request(max(0.05, min(self._attempt_s, end - time.monotonic())))

        retrying = Retrying(
            retry=retry_if_exception(_is_passing),
            wait=_pause,
            stop=stop_before_delay(self.patience_s) | stop_when_event_set(stop),
            sleep=sleep_using_event(stop),
            reraise=True,
        )
        try:
            return retrying(attempt)
        except PineconeError as exc:
            raise self._told(exc, what, retrying.statistics.get("attempt_number", 1)) from exc

    def _told(self, exc: PineconeError, what: str, attempts: int) -> Exception:
        """The error as our own, in a sentence that says what to do."""
        failed = f"{what} at Pinecone (index {self.part.index!r}) failed"
        said = _shortened(exc)
        if isinstance(exc, ApiError):
            if _is_quota(exc):
                return StoreDeniedError(
                    f"{failed}: a limit of your plan is reached ({said}). It was not tried again. "
                    "Wait until it renews, or raise it at Pinecone."
                )
            if exc.status_code in (401, 402, 403):
                return StoreDeniedError(
                    f"{failed}: Pinecone refuses the key ({said}). Check PINECONE_API_KEY and its rights."
                )
            if exc.status_code not in _PASSING:
                return RefusedError(f"{failed}: {said}. Check the index and the namespace.", exc.status_code)
        if _is_passing(exc):
            times = "once" if attempts == 1 else f"{attempts} times within {self.patience_s:.0f} s"
            return StoreUnavailableError(f"{failed} {times}; the last time: {said}.")
        return InputError(f"{failed}: {said}. Nothing was sent.")


def in_addresses(ids: Sequence[str]) -> Iterator[list[str]]:
    """Ids in portions that one address holds."""
    some: list[str] = []
    length = 0
    for face in ids:
        cost = len(quote(face, safe="")) + len("&ids=")
        if some and (len(some) == PAGE or length + cost > MAX_QUERY):
            yield some
            some, length = [], 0
        some.append(face)
        length += cost
    if some:
        yield some


def _within(ask: Callable[..., _T], seconds: float) -> _T:
    return ask(timeout=seconds)


def _opened(client: Pinecone, host: str, is_grpc: bool) -> Index | GrpcIndex:
    if is_grpc:
        return client.index(host=host, grpc=True)
    index = client.index(host=host)
    # The retries of the client do not reach its indexes, and an index takes none: three more attempts, each with the
    # whole timeout, and waits of up to 60 s between them. Only another inner client makes it ask once.
    index._http.close()
    index._http = HTTPClient(replace(index._config, retry_config=RetryConfig(max_retries=0)), DATA_PLANE_API_VERSION)
    return index


def _is_quota(exc: ApiError) -> bool:
    return exc.status_code in (402, 403, 429) and _QUOTA.search(exc.message) is not None


def _is_passing(exc: BaseException) -> bool:
    """Whether the same request may succeed a moment later."""
    if isinstance(exc, ApiError):
        return exc.status_code in _PASSING and not _is_quota(exc)
    return isinstance(exc, PineconeConnectionError | PineconeTimeoutError | ResponseParsingError)


_backoff = wait_random_exponential(multiplier=0.25, max=8)


def _pause(state: RetryCallState) -> float:
    """Seconds until the next attempt: what the answer asks for, or a random time that grows."""
    exc = state.outcome.exception() if state.outcome is not None else None
    if isinstance(exc, ApiError):
        try:
            asked = float((exc.headers or {}).get("retry-after", ""))
        except ValueError:  # nothing, or a date
            asked = -1.0
        if asked >= 0:
            return asked
    return _backoff(state)


def _shortened(exc: PineconeError) -> str:
    text = str(exc).strip().rstrip(".") or type(exc).__name__
    return text if len(text) <= 300 else f"{text[:300]}…"
