"""What a Pinecone index holds, and how it answers: its operations, limits and refusals, without the network.

What is documented is done as documented. Where the documentation is silent the stricter reading is taken: sizes are
counted in bytes of JSON, a fetch answers in another order than it was asked, and matches are not sorted by their score
(as Pinecone's own tests say of the real service).
"""

from __future__ import annotations

import base64
import binascii
import re
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote

import numpy as np
import orjson

from servers.pinecone_filters import FilterError, is_number, matcher

MAX_BODY = 2 * 2**20
MAX_RESULT = 4 * 2**20
MAX_RECORDS = 1000
MAX_METADATA = 40 * 2**10
MAX_TOP_K = 10_000
PAGE = 100
DEFAULT = "__default__"

Json = dict[str, Any]
Metric = Literal["cosine", "dotproduct", "euclidean"]


class RefusedError(Exception):
    """An answer that is not 200."""

    def __init__(self, message: str, status: int = 400, code: int = 3) -> None:
        super().__init__(message)
        self.status = status
        self.code = code  # of the gRPC service behind the real one: 3 is an invalid argument


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One stored vector; `body` is its JSON, made once so that reading costs the server next to nothing."""

    id: str
    values: np.ndarray  # float32
    metadata: Json
    body: bytes

    @classmethod
    def make(cls, id_: str, values: np.ndarray, given: Mapping[str, Any]) -> Record:
        """Numbers in metadata are kept as doubles, whatever they were."""
        metadata = {key: float(value) if is_number(value) else value for key, value in given.items()}
        fields = {"id": id_, "values": values} | ({"metadata": metadata} if metadata else {})
        return cls(id_, values, metadata, orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY))


@dataclass(frozen=True)
class Query:
    """What a query asks for."""

    vector: np.ndarray | None  # None: that of an id which is not stored
    top_k: int
    fits: Callable[[Json], bool] | None
    values: bool
    metadata: bool


class PineconeIndex:
    """The records of one index by namespace, and what is done with them; safe in threads."""

    def __init__(self, dimension: int, metric: Metric, pod: bool, documents: bool) -> None:
        self.dimension = dimension
        self.metric = metric
        self.pod = pod
        self.documents = documents
        self.namespaces: dict[str, dict[str, Record]] = {}
        self.stats_lag = 0
        self._lock = threading.RLock()
        self._counts: list[dict[str, int]] = [{}]
        self._ids: dict[str, list[str]] = {}
        self._matrix: dict[str, np.ndarray] = {}

    # What is stored

    def put(
        self,
        ids: Sequence[str],
        vectors: np.ndarray,
        metadata: Sequence[Mapping[str, Any]] | None = None,
        namespace: str = "",
    ) -> None:
        """Store records without a request; nothing about them is checked."""
        rows = np.ascontiguousarray(vectors, np.float32)
        facts = metadata if metadata is not None else [{}] * len(ids)
        made = {i: Record.make(i, row, m) for i, row, m in zip(ids, rows, facts, strict=True)}
        with self._lock:
            self.namespaces.setdefault(namespace or DEFAULT, {}).update(made)
            self._written(namespace or DEFAULT)

    def records(self, namespace: str = "") -> dict[str, Record]:
        """What one namespace holds; nothing where there is none."""
        return self.namespaces.get(namespace or DEFAULT, {})

    def sorted_ids(self, namespace: str = "") -> list[str]:
        """The ids of one namespace in the order in which they are listed."""
        name = namespace or DEFAULT
        with self._lock:
            if name not in self._ids:
                self._ids[name] = sorted(self.records(name))
            return self._ids[name]

    def counts(self) -> dict[str, int]:
        """Vectors in each namespace, as the statistics tell: `stats_lag` writes late."""
        place = len(self._counts) - 1 - self.stats_lag
        return self._counts[place] if place >= 0 else {}

    def _written(self, name: str) -> None:
        self._ids.pop(name, None)
        self._matrix.pop(name, None)
        self._counts.append({each: len(records) for each, records in self.namespaces.items()})

    # One request

    def answer(self, method: str, path: str, query: Mapping[str, list[str]], body: bytes) -> bytes:
        """The JSON for one request; RefusedError where there is none."""
        place, name = (
            ("/namespaces/", path.removeprefix("/namespaces/")) if path.startswith("/namespaces/") else (path, "")
        )
        handle = _ROUTES.get((method, place))
        if handle is None:
            raise RefusedError(f"{method} {path} is not known", 404, 5)
        if self.documents and place in ("/vectors/upsert", "/vectors/update", "/vectors/delete"):
            raise RefusedError("This index has a schema of its own: use the documents API, not vectors")
        if len(body) > MAX_BODY:
            raise RefusedError(
                f"Error, message length too large: found {len(body)} bytes, the limit is: {MAX_BODY} bytes", code=11
            )
        asked = _parsed(body) if method == "POST" else {k: v if k == "ids" else v[-1] for k, v in query.items()}
        try:
            with self._lock:
                said = handle(self, asked | ({"name": unquote(name)} if name else {}))
        except FilterError as exc:
            raise RefusedError(str(exc)) from exc
        return said if isinstance(said, bytes) else orjson.dumps(said)

    def _serverless_only(self, what: str) -> None:
        if self.pod:
            raise RefusedError(f"{what} is supported only for serverless indexes")

    def _must_exist(self, name: str) -> None:
        if not self.pod and name not in self.namespaces:
            raise RefusedError("Namespace not found", 404, 5)

    # Reading

    def list_ids(self, asked: Json) -> Json:
        """One page of ids in their order."""
        self._serverless_only("Listing vector IDs")
        ids, prefix = self.sorted_ids(_namespace(asked)), asked.get("prefix", "")
        start = max(bisect_left(ids, prefix), bisect_right(ids, _skipped(asked)))
        end = bisect_left(ids, prefix + "\x80") if prefix else len(ids)  # ids are ASCII
        page, more = _page(ids[start:end], _limit(asked, PAGE))
        return {"vectors": [{"id": i} for i in page], "usage": {"readUnits": 1}} | _echo(asked) | more

    def fetch(self, asked: Json) -> bytes:
        """Records by id; those that are not there are left out."""
        ids, records = _ids(asked), self.records(_namespace(asked))
        return _envelope((records[i] for i in reversed(dict.fromkeys(ids)) if i in records), asked)

    def fetch_by_metadata(self, asked: Json) -> bytes:
        """One page of records by filter."""
        self._serverless_only("Fetching by metadata")
        limit, fits = _limit(asked, MAX_TOP_K), _filter(asked)
        ids, records = self.sorted_ids(_namespace(asked)), self.records(_namespace(asked))
        rest = ids[bisect_right(ids, _skipped(asked)) :]
        page, more = _page([i for i in rest if fits(records[i].metadata)], limit)
        return _envelope((records[i] for i in page), asked, more)

    def query(self, asked: Json) -> bytes:
        """The nearest of a namespace, in no order."""
        wanted, name = self._wanted(asked), _namespace(asked)
        ids, records = self.sorted_ids(name), self.records(name)
        best, scores = self._ranked(wanted, name)
        matches: list[Json] = []
        for place in np.sort(best):
            record = records[ids[place]]
            matches.append({"id": record.id, "score": float(scores[place])})
            if wanted.values:
                matches[-1]["values"] = record.values
            if wanted.metadata and record.metadata:
                matches[-1]["metadata"] = record.metadata
        said = {"matches": matches, "usage": {"readUnits": 5}} | _echo(asked)
        body = orjson.dumps(said, option=orjson.OPT_SERIALIZE_NUMPY)
        if len(body) > MAX_RESULT:
            raise RefusedError(f"The result is of {len(body)} bytes, more than the limit of {MAX_RESULT} bytes")
        return body

    def _wanted(self, asked: Json) -> Query:
        top_k = asked.get("topK")
        if not isinstance(top_k, int) or not 1 <= top_k <= MAX_TOP_K:
            raise RefusedError(f"topK must be between 1 and {MAX_TOP_K}, but was {top_k}")
        if ("vector" in asked) == ("id" in asked):
            raise RefusedError("Either 'vector' or 'id' must be given, and not both")
        if "vector" in asked:
            vector: np.ndarray | None = self._values(asked["vector"])
        else:
            record = self.records(_namespace(asked)).get(_id(asked["id"]))
            vector = record.values if record else None
        fits = matcher(asked["filter"]) if asked.get("filter") else None
        return Query(vector, top_k, fits, bool(asked.get("includeValues")), bool(asked.get("includeMetadata")))

    def _ranked(self, wanted: Query, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Places of the best among the sorted ids, and the scores of all."""
        ids, records = self.sorted_ids(name), self.records(name)
        if not ids or wanted.vector is None:
            return np.empty(0, np.intp), np.empty(0, np.float32)
        if name not in self._matrix:
            self._matrix[name] = np.stack([records[i].values for i in ids])
        rows, vector = self._matrix[name], wanted.vector
        if self.metric == "euclidean":
            scores = np.square(rows - vector).sum(axis=1)
            order = np.argsort(scores, kind="stable")
        else:
            lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(vector) if self.metric == "cosine" else 1.0
            scores = rows @ vector / lengths
            order = np.argsort(-scores, kind="stable")
        if (fits := wanted.fits) is not None:
            order = np.array([place for place in order if fits(records[ids[place]].metadata)], np.intp)
        return order[: wanted.top_k], scores

    def stats(self, asked: Json) -> Json:
        """How many vectors each namespace holds."""
        counts = self.counts()
        if asked.get("filter"):
            if not self.pod:
                raise RefusedError(
                    "Serverless and Starter indexes do not support describing index stats with metadata filtering."
                )
            fits = _filter(asked)
            counts = {n: sum(fits(r.metadata) for r in records.values()) for n, records in self.namespaces.items()}
        return {
            "namespaces": {name: {"vectorCount": n} for name, n in counts.items()},
            "dimension": self.dimension,
            "indexFullness": 0.0,
            "totalVectorCount": sum(counts.values()),
            "metric": self.metric,
            "vectorType": "dense",
        }

    # Writing

    def _values(self, values: object) -> np.ndarray:
        if not isinstance(values, list) or not all(is_number(v) for v in values):
            raise RefusedError("Vector values must be a list of numbers")
        if len(values) != self.dimension:
            raise RefusedError(
                f"Vector dimension {len(values)} does not match the dimension of the index {self.dimension}"
            )
        return np.asarray(values, np.float32)

    def _record(self, given: object) -> Record:
        if not isinstance(given, dict):
            raise RefusedError("a vector must be an object")
        id_, values = _id(given.get("id")), self._values(given.get("values"))
        if not values.any():
            raise RefusedError(
                f"Dense vectors must contain at least one non-zero value. Vector ID {id_} contains only zeros."
            )
        return Record.make(id_, values, _metadata(given.get("metadata", {})))

    def upsert(self, asked: Json) -> Json:
        """Write whole records, all or none."""
        vectors, name = asked.get("vectors"), _namespace(asked)
        if not isinstance(vectors, list) or not 1 <= len(vectors) <= MAX_RECORDS:
            raise RefusedError(f"between 1 and {MAX_RECORDS} vectors must be given")
        made = [self._record(vector) for vector in vectors]
        self.namespaces.setdefault(name, {}).update({record.id: record for record in made})
        self._written(name)
        return {"upsertedCount": len(made)}

    def update(self, asked: Json) -> Json:
        """Change the values of one record, or some metadata of one or of those that fit; no error where none is."""
        records = self.records(_namespace(asked))
        if ("id" in asked) == ("filter" in asked):
            raise RefusedError("Either 'id' or 'filter' must be given, and not both")
        if "id" in asked:
            found = [records[i] for i in (_id(asked["id"]),) if i in records]
        else:
            fits = _filter(asked)
            found = [r for r in records.values() if fits(r.metadata)]
        if not asked.get("dryRun"):
            for old in found:
                values = self._values(asked["values"]) if "values" in asked else old.values
                records[old.id] = Record.make(old.id, values, _metadata(old.metadata | asked.get("setMetadata", {})))
            self._written(_namespace(asked))
        return {"matchedRecords": len(found)} if "filter" in asked else {}

    def delete(self, asked: Json) -> Json:
        """Delete by id, by filter or all; ids that are not there are no error, a namespace that is not there is."""
        name = _namespace(asked)
        if sum(bool(asked.get(k)) for k in ("ids", "deleteAll", "filter")) != 1:
            raise RefusedError("Exactly one of 'ids', 'deleteAll' and 'filter' must be given")
        self._must_exist(name)
        records = self.records(name)
        if asked.get("filter"):
            fits = _filter(asked)
            gone = [i for i, r in records.items() if fits(r.metadata)]
        else:
            gone = list(records) if asked.get("deleteAll") else _ids(asked)
        for id_ in gone:
            records.pop(id_, None)
        if name in self.namespaces:
            self._written(name)
        return {}

    # Namespaces

    def list_namespaces(self, asked: Json) -> Json:
        """One page of namespaces with their counts."""
        self._serverless_only("Listing namespaces")
        counts, prefix = self.counts(), asked.get("prefix", "")
        names = sorted(name for name in counts if name.startswith(prefix))
        page, more = _page(names[bisect_right(names, _skipped(asked)) :], _limit(asked, PAGE))
        found = [{"name": name, "record_count": str(counts[name])} for name in page]
        return {"namespaces": found, "total_count": len(names)} | more

    def describe_namespace(self, asked: Json) -> Json:
        """One namespace with its count."""
        self._serverless_only("Describing a namespace")
        self._must_exist(asked["name"])
        return {"name": asked["name"], "record_count": str(self.counts().get(asked["name"], 0))}

    def create_namespace(self, asked: Json) -> Json:
        """An empty namespace."""
        self._serverless_only("Creating a namespace")
        name = asked.get("name")
        if not isinstance(name, str) or not name:
            raise RefusedError("a namespace needs a name")
        if name in self.namespaces:
            raise RefusedError(f"Namespace {name} already exists", 409, 6)
        self.namespaces[name] = {}
        self._written(name)
        return {"name": name, "record_count": "0"}

    def delete_namespace(self, asked: Json) -> Json:
        """A namespace and all that is in it."""
        self._serverless_only("Deleting a namespace")
        self._must_exist(asked["name"])
        del self.namespaces[asked["name"]]
        self._written(asked["name"])
        return {}


_ROUTES: dict[tuple[str, str], Callable[[PineconeIndex, Json], Json | bytes]] = {
    ("GET", "/vectors/list"): PineconeIndex.list_ids,
    ("GET", "/vectors/fetch"): PineconeIndex.fetch,
    ("POST", "/vectors/fetch_by_metadata"): PineconeIndex.fetch_by_metadata,
    ("POST", "/query"): PineconeIndex.query,
    ("POST", "/vectors/upsert"): PineconeIndex.upsert,
    ("POST", "/vectors/update"): PineconeIndex.update,
    ("POST", "/vectors/delete"): PineconeIndex.delete,
    ("POST", "/describe_index_stats"): PineconeIndex.stats,
    ("GET", "/namespaces"): PineconeIndex.list_namespaces,
    ("POST", "/namespaces"): PineconeIndex.create_namespace,
    ("GET", "/namespaces/"): PineconeIndex.describe_namespace,
    ("DELETE", "/namespaces/"): PineconeIndex.delete_namespace,
}


# Parts of requests and answers


def _parsed(body: bytes) -> Json:
    try:
        asked = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise RefusedError(f"the body is not JSON: {exc}") from exc
    if not isinstance(asked, dict):
        raise RefusedError("the body must be an object")
    return asked


def _namespace(asked: Json) -> str:
    return asked.get("namespace") or DEFAULT


def _echo(asked: Json) -> Json:
    return {"namespace": asked.get("namespace") or ""}


def _id(id_: object) -> str:
    if not isinstance(id_, str) or not id_ or not id_.isascii() or len(id_) > 512:
        raise RefusedError(f"Vector ID must be ASCII and of 1 to 512 characters, but got {id_!r}")
    return id_


def _ids(asked: Json) -> list[str]:
    ids = asked.get("ids")
    if not isinstance(ids, list) or not 1 <= len(ids) <= MAX_RECORDS:
        raise RefusedError(f"between 1 and {MAX_RECORDS} ids must be given")
    return [_id(id_) for id_ in ids]


def _metadata(metadata: object) -> Json:
    if not isinstance(metadata, dict):
        raise RefusedError("the metadata of a vector must be an object")
    for key, value in metadata.items():
        is_list = isinstance(value, list) and all(isinstance(v, str) for v in value)
        if not (isinstance(value, str | bool) or is_number(value) or is_list):
            got = orjson.dumps(value).decode()
            raise RefusedError(
                f"Metadata value must be a string, number, boolean or list of strings, got '{got}' for field '{key}'"
            )
    size = len(orjson.dumps(metadata))
    if size > MAX_METADATA:
        raise RefusedError(f"metadata size is {size} bytes, which exceeds the limit of {MAX_METADATA} bytes per vector")
    return metadata


def _filter(asked: Json) -> Callable[[Json], bool]:
    if not asked.get("filter"):
        raise RefusedError("the filter must not be empty")
    return matcher(asked["filter"])


def _limit(asked: Json, most: int) -> int:
    given = str(asked.get("limit", PAGE))
    if not re.fullmatch(r"\d{1,9}", given) or not 1 <= int(given) <= most:
        raise RefusedError(f"limit must be between 1 and {most}, but was {given}")
    return int(given)


def _skipped(asked: Json) -> str:
    """What the page begins after."""
    if not asked.get("paginationToken"):
        return ""
    try:
        return str(orjson.loads(base64.b64decode(asked["paginationToken"], validate=True))["skip_past"])
    except (binascii.Error, orjson.JSONDecodeError, KeyError, TypeError) as exc:
        raise RefusedError("the pagination token is not valid") from exc


def _page(names: Sequence[str], limit: int) -> tuple[Sequence[str], Json]:
    """The first names, and where the next page begins; a whole last page has none."""
    if len(names) <= limit:
        return names, {}
    token = base64.b64encode(orjson.dumps({"skip_past": names[limit - 1], "prefix": None})).decode()
    return names[:limit], {"pagination": {"next": token}}


def _envelope(records: Iterable[Record], asked: Json, more: Mapping[str, Any] | None = None) -> bytes:
    """Records joined as the bytes in which they are kept."""
    found = [orjson.dumps(record.id) + b":" + record.body for record in records]
    rest = {"usage": {"readUnits": max(1, -(-len(found) // 10))}} | _echo(asked) | dict(more or {})
    return b'{"vectors":{' + b",".join(found) + b"}," + orjson.dumps(rest)[1:]
