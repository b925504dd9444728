"""The loopback Pinecone: the real client against it, its limits and failures, and what others say of its answers."""

from __future__ import annotations

import json
import math
import operator
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pinecone.errors as sdk
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pinecone import GrpcIndex, Index, Pinecone
from pinecone._internal import http_client

from servers import oracles
from servers.pinecone_filters import FilterError, matcher
from servers.pinecone_grpc import GrpcDoor
from servers.pinecone_server import Fault, PineconeServer

SMALL = 8


@pytest.fixture
def server() -> Iterator[PineconeServer]:
    with PineconeServer(dimension=SMALL) as running:
        yield running


@pytest.fixture
def index(server: PineconeServer) -> Iterator[Index]:
    with Pinecone(api_key=server.api_key, host=server.url) as client, client.index(server.name) as opened:
        yield opened


@pytest.fixture
def raw(server: PineconeServer) -> Iterator[httpx.Client]:
    """Requests that the client would not send."""
    with httpx.Client(base_url=server.url, headers={"Api-Key": server.api_key}) as opened:
        yield opened


@pytest.fixture
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client tries again at once, and as often as it was told to, whatever earlier tests spent."""
    monkeypatch.setattr(http_client, "_retry_sleep", lambda seconds: None)
    http_client.get_budget_registry()._reset()


def rows(n: int, dimension: int = SMALL) -> np.ndarray:
    return np.random.default_rng(n).standard_normal((n, dimension), dtype=np.float32)


def names(n: int) -> list[str]:
    return [f"face-{k:05d}" for k in range(n)]


def filled(server: PineconeServer, n: int = 250, namespace: str = "") -> np.ndarray:
    vectors = rows(n, server.dimension)
    server.put(names(n), vectors, [{"folder": f"album-{k % 3}", "blur_score": k} for k in range(n)], namespace)
    return vectors


def listed(index: Index, **asked: Any) -> list[str]:
    return [item.id for page in index.list(**asked) for item in page.vectors]


def vector(number: float = 1.0, dimension: int = SMALL) -> list[float]:
    return [number] * dimension


# What the client does


def test_the_client_finds_the_index_and_reads_what_kind_it_is(server):
    with Pinecone(api_key=server.api_key, host=server.url) as client:
        found = client.indexes.describe(server.name)
        assert [each.name for each in client.indexes.list()] == [server.name]
    assert (found.host, found.dimension, found.metric) == (server.url, SMALL, "cosine")
    assert type(found.deployment).__name__ == "ManagedDeployment"
    assert set(found.schema.fields) == {"_values"}


def test_an_index_of_another_name_is_not_found(server):
    with Pinecone(api_key=server.api_key, host=server.url) as client, pytest.raises(sdk.NotFoundError, match="other"):
        client.indexes.describe("other")


@pytest.mark.usefixtures("_hasty")
def test_a_wrong_key_is_refused_in_both_planes(server):
    with Pinecone(api_key="wrong", host=server.url) as client:
        with pytest.raises(sdk.UnauthorizedError, match="Invalid API Key"):
            client.indexes.describe(server.name)
        with client.index(host=server.url) as index, pytest.raises(sdk.UnauthorizedError, match="Invalid API Key"):
            index.describe_index_stats()


def test_a_wrong_key_is_answered_in_plain_text_where_the_data_are(server):
    said = httpx.get(f"{server.url}/vectors/list", headers={"Api-Key": "wrong"})
    assert (said.status_code, said.headers["Content-Type"], said.text) == (401, "text/plain", "Invalid API Key")
    assert httpx.get(f"{server.url}/indexes").json()["error"]["code"] == "UNAUTHENTICATED"


def test_what_is_written_is_read_back_in_single_precision(index):
    values = np.linspace(-1, 1, SMALL) / 3
    assert (
        index.upsert(vectors=[("a", values.tolist(), {"folder": "x", "tags": ["p", "q"], "n": 3})]).upserted_count == 1
    )
    read = index.fetch(ids=["a", "nobody"]).vectors
    assert list(read) == ["a"]
    assert read["a"].values == [float(str(each)) for each in values.astype(np.float32)]
    assert read["a"].metadata == {"folder": "x", "tags": ["p", "q"], "n": 3.0}
    assert isinstance(read["a"].metadata["n"], float)


def test_every_id_is_listed_once_in_order_a_hundred_at_a_time(server, index):
    filled(server)
    pages = [[item.id for item in page.vectors] for page in index.list()]
    assert [len(page) for page in pages] == [100, 100, 50]
    assert [id_ for page in pages for id_ in page] == names(250)


@pytest.mark.parametrize("n", [100, 200])
def test_a_full_last_page_is_followed_by_no_empty_one(server, index, n):
    filled(server, n)
    last = index.list_paginated()
    while last.pagination is not None:
        last = index.list_paginated(pagination_token=last.pagination.next)
    assert [item.id for item in last.vectors] == names(n)[-100:]


def test_a_fetch_answers_in_another_order_than_it_was_asked(server, index):
    filled(server)
    assert list(index.fetch(ids=["face-00007", "face-00003", "face-00007"]).vectors) == ["face-00003", "face-00007"]


def test_a_list_of_a_prefix_holds_that_prefix_only(server, index):
    filled(server)
    assert listed(index, prefix="face-0012", limit=3) == names(130)[120:]
    assert listed(index, prefix="other") == []


def test_deleting_what_was_listed_does_not_make_the_next_page_skip_any(server, index):
    filled(server)
    first = index.list_paginated(limit=100)
    index.delete(ids=[item.id for item in first.vectors])
    second = index.list_paginated(limit=100, pagination_token=first.pagination.next)
    assert [item.id for item in second.vectors] == names(200)[100:]


def test_a_query_finds_the_most_similar_but_not_in_their_order(server, index):
    vectors = filled(server)
    asked = vectors[7] + vectors[8]
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(asked)
    best = np.argsort(-(vectors @ asked / lengths))[:20]
    found = index.query(vector=asked.tolist(), top_k=20).matches
    assert {match.id for match in found} == {names(250)[k] for k in best}
    scores = [match.score for match in found]
    assert scores != sorted(scores, reverse=True)
    assert max(scores) == pytest.approx((vectors @ asked / lengths).max(), abs=1e-6)
    assert found[0].values == []
    assert found[0].metadata is None


def test_a_query_finds_what_was_just_written_and_not_what_was_deleted(server, index):
    filled(server, 5)
    asked = {"vector": vector(), "top_k": 1, "filter": {"fresh": {"$exists": True}}}
    assert index.query(**asked).matches == []
    index.upsert(vectors=[("new", vector(), {"fresh": True})])
    assert [match.id for match in index.query(**asked).matches] == ["new"]
    index.update(id="new", values=[-each for each in vector()])
    assert index.query(**asked).matches[0].score == pytest.approx(-1.0)
    index.delete(ids=["new"])
    assert index.query(**asked).matches == []


@pytest.mark.parametrize("metric", ["dotproduct", "euclidean"])
def test_a_query_goes_by_the_metric_of_the_index(metric):
    with (
        PineconeServer(dimension=SMALL, metric=metric) as server,
        Index(host=server.url, api_key=server.api_key) as index,
    ):
        vectors = filled(server)
        worth = vectors @ vectors[3] if metric == "dotproduct" else -np.square(vectors - vectors[3]).sum(axis=1)
        found = index.query(vector=vectors[3].tolist(), top_k=5).matches
        assert {match.id for match in found} == {names(250)[k] for k in np.argsort(-worth)[:5]}
        assert sorted(m.score for m in found) == pytest.approx(sorted(np.abs(np.sort(worth)[-5:]).tolist()), abs=1e-5)


def test_a_query_by_id_gives_values_and_metadata_when_asked_to(server, index):
    vectors = filled(server)
    found = index.query(id="face-00003", top_k=1, include_values=True, include_metadata=True).matches
    assert [match.id for match in found] == ["face-00003"]
    assert np.array_equal(np.array(found[0].values, np.float32), vectors[3])
    assert found[0].metadata == {"folder": "album-0", "blur_score": 3.0}
    assert index.query(id="nobody", top_k=1).matches == []


def test_a_filter_narrows_queries_fetches_updates_and_deletes(server, index):
    filled(server, 30)
    condition = {"folder": "album-1", "blur_score": {"$lt": 15}}
    fitting = {names(30)[k] for k in range(30) if k % 3 == 1 and k < 15}
    assert {m.id for m in index.query(vector=vector(), top_k=30, filter=condition).matches} == fitting
    assert set(index.fetch_by_metadata(filter=condition).vectors) == fitting
    assert index.update(filter=condition, set_metadata={"seen": True}, dry_run=True).matched_records == len(fitting)
    assert not any("seen" in record.metadata for record in server.records().values())
    assert index.update(filter=condition, set_metadata={"seen": True}).matched_records == len(fitting)
    assert {i for i, record in server.records().items() if record.metadata.get("seen")} == fitting
    index.delete(filter=condition)
    assert set(server.records()) == set(names(30)) - fitting


def test_fetching_by_metadata_pages_through_all_that_fit(server, index):
    filled(server)
    found, token = [], None
    while True:
        page = index.fetch_by_metadata(filter={"folder": "album-2"}, limit=40, pagination_token=token)
        found += page.vectors
        if page.pagination is None:
            break
        token = page.pagination.next
    assert found == names(250)[2::3]


def test_an_update_changes_what_it_names_and_keeps_the_rest(server, index):
    filled(server, 3)
    index.update(id="face-00001", set_metadata={"folder": "moved"})
    index.update(id="face-00002", values=vector(2.0))
    index.update(id="nobody", values=vector())
    assert index.fetch(ids=["face-00001"]).vectors["face-00001"].metadata == {"folder": "moved", "blur_score": 1.0}
    changed = index.fetch(ids=["face-00002"]).vectors["face-00002"]
    assert (changed.values, changed.metadata) == (vector(2.0), {"folder": "album-2", "blur_score": 2.0})
    assert len(server.records()) == 3


def test_deleting_twice_is_deleting_once(server, index):
    filled(server, 5)
    for _ in range(2):
        index.delete(ids=["face-00001", "face-00003", "nobody"])
    assert listed(index) == ["face-00000", "face-00002", "face-00004"]
    index.delete(delete_all=True)
    assert listed(index) == []


def test_namespaces_do_not_mix(server, index):
    filled(server, 4, "anna")
    filled(server, 6, "bert")
    assert len(listed(index, namespace="anna")) == 4
    assert listed(index) == []
    index.delete(delete_all=True, namespace="anna")
    assert len(listed(index, namespace="bert")) == 6
    assert index.query(vector=vector(), top_k=9, namespace="anna").matches == []
    assert len(index.fetch(ids=names(9), namespace="bert").vectors) == 6


def test_the_default_namespace_has_two_names(server, index):
    index.upsert(vectors=[("a", vector())])
    index.upsert(vectors=[("b", vector())], namespace="__default__")
    assert listed(index) == listed(index, namespace="__default__") == ["a", "b"]
    assert index.describe_index_stats().namespaces.keys() == {"__default__"}


def test_namespaces_are_made_listed_described_and_deleted(server, index):
    filled(server, 3, "anna")
    assert index.create_namespace(name="bert").record_count == 0
    with pytest.raises(sdk.ConflictError):
        index.create_namespace(name="bert")
    assert [(n.name, n.record_count) for page in index.list_namespaces() for n in page.namespaces] == [
        ("anna", 3),
        ("bert", 0),
    ]
    assert index.list_namespaces_paginated(prefix="b", limit=1).total_count == 1
    assert index.describe_namespace(name="anna").record_count == 3
    index.delete_namespace(name="anna")
    assert server.namespaces.keys() == {"bert"}
    for ask in (index.describe_namespace, index.delete_namespace):
        with pytest.raises(sdk.NotFoundError, match="Namespace not found"):
            ask(name="anna")


def test_deleting_from_a_namespace_that_is_not_there_is_an_error(index):
    with pytest.raises(sdk.NotFoundError, match="Namespace not found"):
        index.delete(ids=["a"], namespace="nowhere")


def test_counts_are_told_as_late_as_they_are_set_to_be(server, index):
    server.stats_lag = 2
    told = []
    for k in range(4):
        index.upsert(vectors=[(f"a{k}", vector())])
        told.append(index.describe_index_stats().total_vector_count)
    assert told == [0, 0, 1, 2]
    assert len(listed(index)) == 4
    server.stats_lag = 0
    stats = index.describe_index_stats()
    assert (stats.total_vector_count, stats.dimension, stats.metric) == (4, SMALL, "cosine")


def test_a_pod_index_answers_but_cannot_list():
    with PineconeServer(dimension=SMALL, pod=True) as server, Pinecone(api_key="local-key", host=server.url) as client:
        filled(server, 9)
        assert type(client.indexes.describe(server.name).deployment).__name__ == "PodDeployment"
        with client.index(server.name) as index:
            for ask in (index.list_paginated, index.list_namespaces_paginated):
                with pytest.raises(sdk.ApiError, match="only for serverless") as caught:
                    ask()
                assert caught.value.status_code == 400
            with pytest.raises(sdk.ApiError, match="only for serverless"):
                index.fetch_by_metadata(filter={"folder": "album-1"})
            assert index.describe_index_stats(filter={"folder": "album-1"}).total_vector_count == 3
            assert len(index.query(vector=vector(), top_k=5).matches) == 5
            index.delete(ids=["a"], namespace="nowhere")


def test_an_index_with_a_schema_of_its_own_refuses_vectors_and_reads_as_empty():
    with (
        PineconeServer(dimension=SMALL, documents=True) as server,
        Pinecone(api_key="local-key", host=server.url) as client,
    ):
        assert set(client.indexes.describe(server.name).schema.fields) == {"embedding"}
        with client.index(server.name) as index:
            for ask in (
                lambda: index.upsert(vectors=[("a", vector())]),
                lambda: index.update(id="a", set_metadata={}),
                lambda: index.delete(ids=["a"]),
            ):
                with pytest.raises(sdk.ApiError, match="documents") as caught:
                    ask()
                assert caught.value.status_code == 400
            assert index.describe_index_stats().total_vector_count == 0
            assert index.fetch(ids=["a"]).vectors == {}
            assert listed(index) == []


# Limits


BAD_REQUESTS = {
    "no such route": ("GET", "/vectors/nothing", None, 404),
    "no such method": ("GET", "/query", None, 404),
    "broken JSON": ("POST", "/query", b"{", 400),
    "a body that is no object": ("POST", "/query", b"[]", 400),
    "a page of none": ("GET", "/vectors/list?limit=0", None, 400),
    "a page of 101": ("GET", "/vectors/list?limit=101", None, 400),
    "a page of words": ("GET", "/vectors/list?limit=many", None, 400),
    "a token of another kind": ("GET", "/vectors/list?paginationToken=xyz", None, 400),
    "a fetch of nothing": ("GET", "/vectors/fetch", None, 400),
    "1,001 ids": ("GET", "/vectors/fetch?" + "&".join(f"ids={k}" for k in range(1001)), None, 400),
    "a URL over 60 kB": ("GET", "/vectors/fetch?ids=" + "a" * 61_440, None, 414),
    "an id that is not ASCII": ("GET", "/vectors/fetch?ids=%C3%A4", None, 400),
    "no filter": ("POST", "/vectors/fetch_by_metadata", {}, 400),
    "top 0": ("POST", "/query", {"vector": vector(), "topK": 0}, 400),
    "top 10,001": ("POST", "/query", {"vector": vector(), "topK": 10_001}, 400),
    "no vector and no id": ("POST", "/query", {"topK": 1}, 400),
    "a vector and an id": ("POST", "/query", {"topK": 1, "vector": vector(), "id": "a"}, 400),
    "a query of another dimension": ("POST", "/query", {"topK": 1, "vector": vector(1.0, 7)}, 400),
    "an unknown operator": ("POST", "/query", {"topK": 1, "vector": vector(), "filter": {"a": {"$like": "b"}}}, 400),
    "no records": ("POST", "/vectors/upsert", {"vectors": []}, 400),
    "1,001 records": (
        "POST",
        "/vectors/upsert",
        {"vectors": [{"id": str(k), "values": vector()} for k in range(1001)]},
        400,
    ),
    "a record that is no object": ("POST", "/vectors/upsert", {"vectors": ["a"]}, 400),
    "a record without id": ("POST", "/vectors/upsert", {"vectors": [{"values": vector()}]}, 400),
    "an empty id": ("POST", "/vectors/upsert", {"vectors": [{"id": "", "values": vector()}]}, 400),
    "an id of 513": ("POST", "/vectors/upsert", {"vectors": [{"id": "a" * 513, "values": vector()}]}, 400),
    "a number that is none": ("POST", "/vectors/upsert", {"vectors": [{"id": "a", "values": [None] * SMALL}]}, 400),
    "another dimension": ("POST", "/vectors/upsert", {"vectors": [{"id": "a", "values": vector(1.0, 9)}]}, 400),
    "a vector of zeros": ("POST", "/vectors/upsert", {"vectors": [{"id": "a", "values": vector(0.0)}]}, 400),
    "an id and a filter": ("POST", "/vectors/update", {"id": "a", "filter": {"x": 1}}, 400),
    "nothing to delete": ("POST", "/vectors/delete", {}, 400),
    "two ways to delete": ("POST", "/vectors/delete", {"ids": ["a"], "deleteAll": True}, 400),
    "1,001 to delete": ("POST", "/vectors/delete", {"ids": [str(k) for k in range(1001)]}, 400),
    "filtered statistics": ("POST", "/describe_index_stats", {"filter": {"x": 1}}, 400),
    "a namespace without a name": ("POST", "/namespaces", {}, 400),
}


@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_what_the_service_does_not_take_is_refused_and_changes_nothing(server, raw, case):
    filled(server, 3)
    method, path, body, status = BAD_REQUESTS[case]
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    said = raw.request(method, path, content=content)
    assert said.status_code == status
    assert said.json().keys() == {"code", "message", "details"}
    assert server.requests[-1].status == status
    assert listed_directly(server) == names(3)


def listed_directly(server: PineconeServer) -> list[str]:
    return sorted(server.records())


@pytest.mark.parametrize("value", [None, {"a": 1}, ["a", 1], [1.0]])
def test_metadata_of_another_type_is_refused_with_its_field(server, raw, value):
    said = raw.post("/vectors/upsert", json={"vectors": [{"id": "a", "values": vector(), "metadata": {"bad": value}}]})
    assert said.status_code == 400
    assert "for field 'bad'" in said.json()["message"]
    assert not server.records()


@pytest.mark.parametrize(("size", "is_taken"), [(40 * 1024, True), (40 * 1024 + 1, False)])
def test_a_record_takes_forty_kilobytes_of_metadata(server, raw, size, is_taken):
    metadata = {"crop": "A" * (size - len('{"crop":""}'))}
    said = raw.post("/vectors/upsert", json={"vectors": [{"id": "a", "values": vector(), "metadata": metadata}]})
    assert (said.status_code == 200) is is_taken
    assert ("a" in server.records()) is is_taken


@pytest.mark.parametrize(("size", "is_taken"), [(2 * 2**20, True), (2 * 2**20 + 1, False)])
def test_a_request_takes_two_megabytes(server, raw, size, is_taken):
    body = json.dumps({"vectors": [{"id": "a", "values": vector()}]}).encode()
    said = raw.post("/vectors/upsert", content=body + b" " * (size - len(body)))
    assert (said.status_code == 200) is is_taken
    assert is_taken or said.json()["code"] == 11
    assert bool(server.records()) is is_taken


def test_a_query_answers_with_at_most_four_megabytes():
    with PineconeServer(dimension=512) as server, Index(host=server.url, api_key=server.api_key) as index:
        vectors = filled(server, 1000)
        asked = vectors[0].tolist()
        with pytest.raises(sdk.ApiError, match="4194304 bytes") as caught:
            index.query(vector=asked, top_k=1000, include_values=True)
        assert caught.value.status_code == 400
        assert len(index.query(vector=asked, top_k=1000).matches) == 1000
        assert len(index.query(vector=asked, top_k=500, include_values=True).matches) == 500


def test_a_thousand_ids_are_fetched_at_once(server, index):
    filled(server, 1000)
    assert len(index.fetch(ids=names(1000)).vectors) == 1000


# Filters

SCALARS = [0, 1, 2, 0.5, True, False, "a", "b"]
KEPT = [*SCALARS, [], ["a"], ["a", "b"], None]
COMPARISONS = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}
OPERANDS: dict[str, list[Any]] = {
    **{name: SCALARS for name in ("$eq", "$ne")},
    **{name: [0, 1, 1.5] for name in COMPARISONS},
    **{name: [[], [1], ["a"], [0, "b"]] for name in ("$in", "$nin")},
    "$exists": [True, False],
}
CONDITIONS = [{name: operand} for name, operands in OPERANDS.items() for operand in operands]
FILTERS = st.recursive(
    st.dictionaries(st.sampled_from("xy"), st.sampled_from([*CONDITIONS, *SCALARS]), max_size=2),
    lambda inner: st.dictionaries(
        st.sampled_from(["$and", "$or"]), st.lists(inner, min_size=1, max_size=3), min_size=1
    ),
    max_leaves=6,
)
METADATA = st.dictionaries(st.sampled_from("xy"), st.sampled_from(KEPT[:-1]))


def holds(condition: Any, metadata: dict[str, Any]) -> bool:
    """The reference: a set for what is there and one for what is wanted, in which 1 and true are two."""

    def one(name: str, value: Any, wanted: Any) -> bool:
        if name in COMPARISONS:
            return type(value) in (int, float) and COMPARISONS[name](value, wanted)
        if name == "$exists":
            return (value is None) != wanted
        has, wants = (
            {(type(v) is bool, v) for v in (each if isinstance(each, list) else [each])} for each in (value, wanted)
        )
        return bool(has & wants) == (name in ("$eq", "$in"))

    def part(key: str, wanted: Any) -> bool:
        if key.startswith("$"):
            return {"$and": all, "$or": any}[key]([holds(each, metadata) for each in wanted])
        pairs = wanted.items() if isinstance(wanted, dict) else [("$eq", wanted)]
        return all([one(name, metadata.get(key), operand) for name, operand in pairs])

    return all([part(key, wanted) for key, wanted in condition.items()])


def test_each_operator_holds_for_each_value_exactly_where_the_reference_says():
    found = [
        (condition, value)
        for condition in CONDITIONS
        for value in KEPT
        for metadata in ({} if value is None else {"x": value},)
        if matcher({"x": condition})(metadata) != holds({"x": condition}, metadata)
    ]
    assert found == []


@given(FILTERS, METADATA)
def test_a_combined_filter_holds_exactly_where_the_reference_says(condition, metadata):
    assert matcher(condition)(metadata) == holds(condition, metadata)


@pytest.mark.parametrize(
    "condition",
    [[], {"$and": []}, {"$or": {}}, {"$eq": 1}, {"a": None}, {"a": [1]}, {"a": {"$in": 1}}, {"a": {"$in": [True]}},
     {"a": {"$gt": "b"}}, {"a": {"$exists": 1}}, {"a": {"$eq": None}}, {"a": {"$nor": 1}}],
)  # fmt: skip
def test_a_filter_outside_the_language_is_refused(condition):
    with pytest.raises(FilterError):
        matcher(condition)


# Failures

REFUSALS = {
    "too many": (Fault.status(429, retry_after=0), sdk.RateLimitError, "Too Many Requests"),
    "broken": (Fault.status(500), sdk.ServiceError, "Internal Server Error"),
    "away": (Fault.status(503), sdk.ServiceError, "Service Unavailable"),
    "units spent": (Fault.quota(), sdk.RateLimitError, "read unit limit for the current month"),
    "storage spent": (Fault.quota(403), sdk.ForbiddenError, "max storage"),
    "reset": (Fault.reset(), sdk.PineconeConnectionError, "reset|disconnected"),
    "reply lost": (Fault.lost(), sdk.PineconeConnectionError, "reset|disconnected"),
    "cut JSON": (Fault.truncated(), sdk.ResponseParsingError, "truncated"),
    "short body": (Fault.short(), sdk.PineconeConnectionError, "without sending complete message body"),
}


@pytest.mark.usefixtures("_hasty")
@pytest.mark.parametrize("case", REFUSALS)
def test_a_failure_that_stays_reaches_the_caller_and_then_all_is_well_again(server, index, case):
    filled(server, 3)
    fault, error, words = REFUSALS[case]
    server.faults.add("/vectors/list", fault, times=math.inf)
    with pytest.raises(error, match=words):
        index.list_paginated()
    assert index.describe_index_stats().total_vector_count == 3
    server.faults.clear()
    assert listed(index) == names(3)


@pytest.mark.usefixtures("_hasty")
@pytest.mark.parametrize("case", [name for name in REFUSALS if name not in ("cut JSON", "short body", "storage spent")])
def test_the_client_gets_over_one_failure_of_these_kinds_itself(server, index, case):
    filled(server, 3)
    server.faults.add("/vectors/list", REFUSALS[case][0])
    assert listed(index) == names(3)
    assert [request.path for request in server.requests].count("/vectors/list") == 2
    assert server.faults.is_spent()


@pytest.mark.usefixtures("_hasty")
@pytest.mark.parametrize(
    ("fault", "is_written"),
    [
        (Fault.status(500), False),
        (Fault.reset(), False),
        (Fault.lost(), True),
        (Fault.short(), True),
        (Fault.truncated(), True),
    ],
)
def test_a_write_whose_reply_fails_is_done_or_not_as_its_kind_says(server, index, fault, is_written):
    server.faults.add("/vectors/upsert", fault, times=math.inf)
    with pytest.raises(sdk.PineconeError):
        index.upsert(vectors=[("a", vector())])
    assert ("a" in server.records()) is is_written


@pytest.mark.usefixtures("_hasty")
def test_failures_come_after_as_many_requests_as_they_were_told_and_only_where(server, index):
    filled(server)
    server.faults.add("/vectors/fetch?", Fault.status(403), after=2, times=1)
    index.fetch_by_metadata(filter={"folder": "album-1"})
    for is_refused in (False, False, True, False):
        if is_refused:
            with pytest.raises(sdk.ForbiddenError):
                index.fetch(ids=["a"])
        else:
            index.fetch(ids=["a"])


def test_retry_after_is_told(server, raw):
    server.faults.add("/", Fault.status(429, retry_after=1.5))
    assert raw.get("/vectors/list").headers["Retry-After"] == "1.5"


def test_a_stall_is_as_long_as_told_and_no_longer_than_the_server(server, raw):
    filled(server, 3)
    server.faults.add("/vectors/list", Fault.stall(0.2))
    started = time.perf_counter()
    assert raw.get("/vectors/list").status_code == 200
    assert time.perf_counter() - started >= 0.2
    server.faults.add("/vectors/list", Fault.stall(600))
    with pytest.raises(httpx.ReadTimeout):
        raw.get("/vectors/list", timeout=0.1)  # and the end of the test does not wait ten minutes


def test_one_stalled_request_holds_up_no_other(server, index):
    filled(server, 3)
    server.faults.add("/vectors/list", Fault.stall(600))
    found: list[str] = []
    waiting = threading.Thread(target=lambda: found.extend(listed(index)))
    waiting.start()
    while not server.faults.is_spent():
        time.sleep(0.005)
    assert index.describe_index_stats(timeout=1.0).total_vector_count == 3
    assert found == []
    server.closing.set()  # ends every stall
    waiting.join()
    assert found == names(3)


def test_many_threads_read_everything_once(server, index):
    vectors = filled(server, 1000)
    found: dict[str, list[float]] = {}

    def read(start: int) -> None:
        for first in range(start, 1000, 800):
            found.update({i: v.values for i, v in index.fetch(ids=names(1000)[first : first + 100]).vectors.items()})

    threads = [threading.Thread(target=read, args=(100 * k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.array_equal(np.array([found[i] for i in names(1000)], np.float32), vectors)


def test_a_hundred_thousand_records_are_put_and_listed():
    with PineconeServer(dimension=4) as server, Index(host=server.url, api_key=server.api_key) as index:
        server.put([f"{k:06d}" for k in range(100_000)], rows(100_000, 4))
        assert sum(len(page.vectors) for page in index.list()) == 100_000


def test_a_fault_of_the_server_itself_fails_the_test(monkeypatch):
    monkeypatch.setattr(PineconeServer, "counts", lambda self: None)
    server = PineconeServer()
    server.__enter__()
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(f"{server.url}/describe_index_stats", json={}, headers={"Api-Key": server.api_key})
    with pytest.raises(AssertionError, match="the server itself failed"):
        server.__exit__(None, None, None)


# The other door


@pytest.fixture
def grpc_index(server: PineconeServer) -> Iterator[GrpcIndex]:
    try:
        oracles.install()
    except oracles.OracleError as exc:
        pytest.skip(str(exc))
    with (
        GrpcDoor(server),
        Pinecone(api_key=server.api_key, host=server.url, grpc_scheme="http") as client,
        client.index(server.name, grpc=True) as opened,
    ):
        yield opened


def test_the_client_does_over_grpc_what_it_does_over_http(server, grpc_index):
    vectors = filled(server)
    assert isinstance(grpc_index, GrpcIndex)
    assert listed(grpc_index) == names(250)
    read = grpc_index.fetch(ids=[*names(100), "nobody"]).vectors
    assert np.array_equal(np.array([read[i].values for i in names(100)], np.float32), vectors[:100])
    assert read["face-00004"].metadata == {"folder": "album-1", "blur_score": 4.0}
    assert {m.id for m in grpc_index.query(id="face-00001", top_k=1).matches} == {"face-00001"}
    assert list(grpc_index.fetch_by_metadata(filter={"blur_score": 7}).vectors) == ["face-00007"]
    assert grpc_index.upsert(vectors=[("a", vector(0.1), {"folder": "x"})], namespace="anna").upserted_count == 1
    grpc_index.update(id="a", set_metadata={"seen": True}, namespace="anna")
    assert server.records("anna")["a"].metadata == {"folder": "x", "seen": True}
    assert np.array_equal(server.records("anna")["a"].values, np.full(SMALL, 0.1, np.float32))
    grpc_index.delete(ids=names(200))
    stats = grpc_index.describe_index_stats()
    assert {name: found.vector_count for name, found in stats.namespaces.items()} == {"__default__": 50, "anna": 1}
    assert {request.path for request in server.requests} > {"/vectors/list", "/vectors/fetch", "/query"}


def test_refusals_over_grpc_are_those_of_http(server, grpc_index):
    with pytest.raises(sdk.NotFoundError, match="Namespace not found"):
        grpc_index.delete(ids=["a"], namespace="nowhere")
    with pytest.raises(sdk.ApiError, match="does not match the dimension"):
        grpc_index.query(vector=vector(1.0, 7), top_k=1)
    server.faults.add("/describe_index_stats", Fault.status(500), times=math.inf)
    with pytest.raises(sdk.ServiceError, match="Internal Server Error"):
        grpc_index.describe_index_stats()
    host = server.host
    with (
        GrpcIndex(host=host, api_key="wrong", grpc_scheme="http") as stranger,
        pytest.raises(sdk.UnauthorizedError, match="Invalid API Key"),
    ):
        stranger.list_paginated()


# What others say of the answers


@pytest.fixture(scope="module")
def judged() -> Callable[[list[tuple[str, Any]]], list[str]]:
    try:
        oracles.install()
    except oracles.OracleError as exc:
        pytest.skip(str(exc))
    return oracles.complaints


def answers(server: PineconeServer, raw: httpx.Client) -> dict[str, tuple[str, Any]]:
    """One answer of each shape, with the model that it must fit."""
    filled(server, 150, "anna")
    filled(server, 150)
    by_metadata = {"filter": {"folder": "album-1"}, "limit": 2}
    query = {"vector": vector(), "topK": 3, "includeValues": True, "includeMetadata": True}
    upsert = {"vectors": [{"id": "a", "values": vector(), "metadata": {"folder": "x"}}]}
    update = {"filter": {"folder": "album-1"}, "setMetadata": {"seen": True}}
    return {
        "a page": ("ListResponse", raw.get("/vectors/list?limit=100").json()),
        "the last page": ("ListResponse", raw.get("/vectors/list?prefix=face-0014").json()),
        "records": ("FetchResponse", raw.get("/vectors/fetch?ids=face-00001&ids=face-00002").json()),
        "no records": ("FetchResponse", raw.get("/vectors/fetch?ids=nobody").json()),
        "records by metadata": (
            "FetchByMetadataResponse",
            raw.post("/vectors/fetch_by_metadata", json=by_metadata).json(),
        ),
        "matches": ("QueryResponse", raw.post("/query", json=query).json()),
        "bare matches": ("QueryResponse", raw.post("/query", json={"id": "face-00001", "topK": 3}).json()),
        "written": ("UpsertResponse", raw.post("/vectors/upsert", json=upsert).json()),
        "updated": ("UpdateResponse", raw.post("/vectors/update", json=update).json()),
        "updated one": ("UpdateResponse", raw.post("/vectors/update", json={"id": "a", "setMetadata": {}}).json()),
        "counts": ("IndexDescription", raw.post("/describe_index_stats", json={}).json()),
        "namespaces": ("ListNamespacesResponse", raw.get("/namespaces?limit=1").json()),
        "a refusal": ("RpcStatus", raw.get("/vectors/list?limit=1000").json()),
        "a refusal of the other plane": ("ErrorResponse", raw.get("/indexes/other").json()),
    }


def test_every_answer_fits_the_models_generated_from_the_description(server, raw, judged):
    said = answers(server, raw)
    for namespace in said["namespaces"][1]["namespaces"]:
        # The description says a number, and the newer client says that the service sends it as text.
        namespace["record_count"] = int(namespace["record_count"])
    found = dict(zip(said, judged(list(said.values())), strict=True))
    assert {name: complaint for name, complaint in found.items() if complaint} == {}


WRONG: dict[str, Callable[[Any], object]] = {
    "a page": lambda said: said["vectors"][0].update(id=5),
    "records": lambda said: said["vectors"]["face-00001"].update(values=["1"]),
    "records by metadata": lambda said: said["pagination"].update(next=1),
    "matches": lambda said: said["matches"][0].update(score="high"),
    "bare matches": lambda said: said["matches"][0].update(distance=0.5),
    "written": lambda said: said.update(upsertedCount="1"),
    "updated": lambda said: said.update(matched=1),
    "counts": lambda said: said["namespaces"]["anna"].update(vectorCount="150"),
    "namespaces": lambda said: said.update(total_count="2"),
    "a refusal": lambda said: said.update(code="INVALID"),
    "a refusal of the other plane": lambda said: said["error"].update(code=5),
}


def test_the_models_reject_an_answer_with_one_wrong_type_or_name(server, raw, judged):
    said = answers(server, raw)
    for name, spoil in WRONG.items():
        spoil(said[name][1])
    found = judged([said[name] for name in WRONG])
    assert [name for name, complaint in zip(WRONG, found, strict=True) if not complaint] == []
