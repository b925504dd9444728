"""The doctor's checks of a Pinecone index: key, index, host, dimension, kind, namespace, records, cache."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from pinecone import (
    ApiError,
    ForbiddenError,
    Index,
    IndexModel,
    Pinecone,
    PineconeError,
    RetryConfig,
    UnauthorizedError,
)
from pinecone.models.indexes.deployment import PodDeployment

from facecluster.config import Settings
from facecluster.errors import ConfigError, FaceClusterError, StoreError
from facecluster.findings import LIMIT_S, PRINTABLE, Finding, State, in_a_sentence, skipped, within
from facecluster.model import FaceSet, UserId
from facecluster.stores.local import user_folder
from facecluster.stores.pinecone import open_faces
from facecluster.stores.pinecone_index import IndexOfUser
from facecluster.stores.pinecone_part import part_of

ARCFACE_DIMENSION = 512
_VECTOR_FIELDS = {"_values", "_sparse_values"}  # of an index that keeps vectors; one with other fields keeps documents
_ATTEMPT_S = 2.0  # the SDK tries four times
_SAMPLE = 50  # records, of at most 46 kB each: below the 4 MB that an answer may have
_AFTER_HOST = (
    "Pinecone dimension",
    "Pinecone metric",
    "Pinecone kind",
    "Pinecone namespace",
    "Pinecone records",
)

# What a face lacks without a field of its record.
_WITHOUT = {
    "url": "no photo opens, and faces of one photo are not kept apart",
    "folder": "no folder is shown",
    "face_crop": "placeholders stand for faces, unless the photo has a Cloudinary address",
    "blur_score": "every face counts as sharp",
}


@dataclass(frozen=True)
class _Stats:
    dimension: int
    metric: str
    counts: Mapping[str, int]  # by namespace; "" is the default one


def pinecone_findings(settings: Settings) -> Iterator[Finding]:
    """All checks of the index, in order."""
    cached, cache = _cache(settings)
    model, findings = _looked_up(settings)
    yield from findings
    host = settings.pinecone_host or (model.host if model is not None else None)
    if host and not any(finding.state == "wrong" for finding in findings):
        yield from _of_host(settings, host, model, cached)
    else:
        yield from skipped("Pinecone host", *_AFTER_HOST)
    yield cache


def _of_host(settings: Settings, host: str, model: IndexModel | None, cached: FaceSet | None) -> Iterator[Finding]:
    with Index(host=host, api_key=settings.pinecone_api_key.get_secret_value(), timeout=_ATTEMPT_S) as index:
        try:
            stats = within(LIMIT_S, lambda: _stats(index))
        except (PineconeError, StoreError) as exc:
            yield Finding("Pinecone host", "wrong", f"{_hostname(host)} {_failure(exc)}")
            yield from skipped(*_AFTER_HOST)
            return
    yield Finding("Pinecone host", "ok", f"{_hostname(host)} answers.")
    yield _dimension(stats, cached)
    yield _metric(stats)
    yield from _of_part(settings, host, stats, model)


def _looked_up(settings: Settings) -> tuple[IndexModel | None, list[Finding]]:
    """The index as the control plane describes it. With PINECONE_HOST the key need not be allowed to ask."""
    key, named = settings.pinecone_api_key.get_secret_value(), settings.pinecone_index
    if not PRINTABLE.fullmatch(key):
        says = "PINECONE_API_KEY holds blanks, a line end or letters that no key has. Copy it again."
        return None, [Finding("Pinecone key", "wrong", says), *skipped("Pinecone index")]
    try:
        with Pinecone(api_key=key, timeout=_ATTEMPT_S * 2, retry_config=RetryConfig(max_retries=1)) as pc:
            there = within(LIMIT_S, lambda: {one.name: one for one in pc.indexes.list()})
    except UnauthorizedError:
        says = "Pinecone refuses PINECONE_API_KEY. Copy it anew from API keys in Pinecone's console."
        return None, [Finding("Pinecone key", "wrong", says), *skipped("Pinecone index")]
    except (PineconeError, StoreError) as exc:
        if settings.pinecone_host:
            says = f"The index was not looked up, which {_failure(exc)} PINECONE_HOST is used as it is."
            return None, [Finding("Pinecone key", "note", says)]
        denied = "It may not look up indexes. Set PINECONE_HOST, or use a key that may."
        says = denied if isinstance(exc, ForbiddenError) else f"Pinecone {_failure(exc)}"
        return None, [Finding("Pinecone key", "wrong", says), *skipped("Pinecone index")]
    accepted = Finding("Pinecone key", "ok", "It is accepted.")
    model = there.get(named)
    if model is None:
        known = f"has {', '.join(sorted(there))}" if there else "has none"
        state: State = "note" if settings.pinecone_host else "wrong"
        says = f"There is no index {named!r}; this project {known}. Set IDX_FACES_ARCFACE, or create it"
        return None, [accepted, Finding("Pinecone index", state, f"{says} (docs/backends.md).")]
    return model, [accepted, _index_finding(settings, model)]


def _index_finding(settings: Settings, model: IndexModel) -> Finding:
    check, fields = "Pinecone index", set(model.schema.fields)
    if not fields <= _VECTOR_FIELDS:
        says = (
            f"{model.name} keeps documents (fields {', '.join(sorted(fields))}) and no plain vectors: it would look "
            "empty. Create one with the vector field _values; docs/backends.md shows how."
        )
        return Finding(check, "wrong", says)
    if not model.status.ready or not model.host:
        return Finding(check, "wrong", f"{model.name} is not ready: {model.status.state}. Wait, then try again.")
    if settings.pinecone_host and urlsplit(model.host).hostname != _hostname(settings.pinecone_host):
        says = f"PINECONE_HOST is not the address of {model.name} ({_hostname(model.host)}). Set one of the two right."
        return Finding(check, "wrong", says)
    return Finding(check, "ok", f"{model.name} is ready.")


def _of_part(settings: Settings, host: str, stats: _Stats, model: IndexModel | None) -> Iterator[Finding]:
    try:
        part = replace(part_of(settings, UserId(settings.user)), host=host)
    except ConfigError as exc:
        yield from skipped("Pinecone kind")
        yield Finding("Pinecone namespace", "wrong", in_a_sentence(exc))
        yield from skipped("Pinecone records")
        return
    namespace = "" if part.namespace == "__default__" else part.namespace
    mine = IndexOfUser(part, settings.pinecone_api_key.get_secret_value(), patience_s=LIMIT_S - 1)
    mine.is_pod = model is not None and isinstance(model.deployment, PodDeployment)
    try:
        sample = within(LIMIT_S, lambda: _sample(mine, stats.dimension))
    except FaceClusterError as exc:
        yield from skipped("Pinecone kind")
        yield _namespace(stats, namespace)
        yield Finding("Pinecone records", "wrong", in_a_sentence(exc))
    else:
        yield _kind(mine.is_pod)
        yield _namespace(stats, namespace)
        yield from _records(settings, sample) if stats.counts.get(namespace) else skipped("Pinecone records")
    finally:
        mine.close()


def _sample(mine: IndexOfUser, dimension: int) -> list[Mapping[str, Any]]:
    """Metadata of some records of this user; whether the index can list shows on the way."""
    stop = threading.Event()
    ids = [] if mine.is_pod else next(mine.listed(stop), [])
    if mine.is_pod:
        ids = next(mine.probed(dimension, stop), [])
    elif mine.part.user_field:
        return [record.metadata or {} for record in next(mine.owned(stop), [])[:_SAMPLE]]
    return [record.metadata or {} for record in mine.fetched(ids[:_SAMPLE], stop)]


def _stats(index: Index) -> _Stats:
    found = index.describe_index_stats()
    counts = {"" if name == "__default__" else name: one.vector_count for name, one in found.namespaces.items()}
    return _Stats(found.dimension or 0, found.metric or "", counts)


def _dimension(stats: _Stats, cached: FaceSet | None) -> Finding:
    check, found = "Pinecone dimension", stats.dimension
    if cached is not None and len(cached) and cached.vectors.shape[1] != found:
        says = (
            f"The index has {found} numbers a face, and the faces read before have {cached.vectors.shape[1]}. It was "
            "made anew with another model: point IDX_FACES_ARCFACE at the right one."
        )
        return Finding(check, "wrong", says)
    if found != ARCFACE_DIMENSION:
        says = (
            f"{found} numbers a face. ArcFace has {ARCFACE_DIMENSION}; another model works, with an epsilon of its own."
        )
        return Finding(check, "note", says)
    return Finding(check, "ok", str(found))


def _metric(stats: _Stats) -> Finding:
    if stats.metric == "cosine":
        return Finding("Pinecone metric", "ok", "cosine")
    says = f"{stats.metric or 'unknown'} and not cosine. People come out the same; other programs' searches may not."
    return Finding("Pinecone metric", "note", says)


def _kind(is_pod: bool) -> Finding:
    if is_pod:
        says = (
            "A pod index cannot list what it holds: faces are found by probing, some may be missed, and the library is "
            "never called complete. Move it to a serverless index when you can."
        )
        return Finding("Pinecone kind", "note", says)
    return Finding("Pinecone kind", "ok", "serverless: every face can be read.")


def _namespace(stats: _Stats, namespace: str) -> Finding:
    called = f"The namespace {namespace!r}" if namespace else "The default namespace"
    if stats.counts.get(namespace):
        return Finding("Pinecone namespace", "ok", f"{called} holds {stats.counts[namespace]:,} records.")
    others = sorted((-n, name) for name, n in stats.counts.items() if n)
    some = ", ".join(f"{name or 'the default one'} ({-n:,})" for n, name in others[:10])
    if not some:
        return Finding("Pinecone namespace", "note", "The index is empty. `facecluster import` fills it.")
    return Finding("Pinecone namespace", "wrong", f"{called} holds no faces; these do: {some}. Set PINECONE_NAMESPACE.")


def _records(settings: Settings, sample: list[Mapping[str, Any]]) -> Iterator[Finding]:
    check = "Pinecone records"
    if not sample:
        who = f" whose {settings.pinecone_user_field!r} is {settings.user!r}" if settings.pinecone_user_field else ""
        yield Finding(check, "wrong", f"No record{who} was found. Set PINECONE_USER_FIELD and FACECLUSTER_USER right.")
        return
    seen = Counter(field for metadata in sample for field in _WITHOUT if metadata.get(field) not in (None, ""))
    lacking = [
        f"{len(sample) - seen[field]} without {field} ({why})"
        for field, why in _WITHOUT.items()
        if seen[field] < len(sample)
    ]
    says = (
        f"Of {len(sample)} looked at, " + "; ".join(lacking) + "."
        if lacking
        else f"{len(sample)} looked at have every field."
    )
    yield Finding(check, "note" if lacking else "ok", says)
    addresses = {str(metadata.get(field, "")) for metadata in sample for field in ("url", "face_crop")}
    hosts = {_hostname(one) for one in addresses if one.startswith("https://")} - {"", *settings.image_hosts}
    if hosts:
        allowed = ",".join([*settings.image_hosts, *sorted(hosts)])
        says = (
            f"Pictures lie on hosts from which the browser may not load. To allow it: FACECLUSTER_IMAGE_HOSTS={allowed}"
        )
        yield Finding("Pictures", "note", says)


def _cache(settings: Settings) -> tuple[FaceSet | None, Finding]:
    """What was read so far."""
    check, user = "Pinecone cache", UserId(settings.user)
    folder = user_folder(settings.library, user)
    never = Finding(
        check, "note", "Nothing was read yet. `facecluster fetch` reads the index; the dashboard does it too."
    )
    if not (folder / "hosted").is_dir():
        return None, never
    try:
        store = open_faces(settings, user, folder, patience_s=LIMIT_S)
        if store.must_fetch():
            return None, never
        faces = within(LIMIT_S, store.read)
    except FaceClusterError as exc:
        return None, Finding(check, "wrong", f"What was read before cannot be used: {in_a_sentence(exc)}")
    coverage = faces.coverage
    if coverage is None or not coverage.is_complete:
        said = coverage.in_words() if coverage is not None else "How complete it is, is unknown."
        return faces, Finding(check, "note", f"{said} `facecluster fetch` tries again.")
    return faces, Finding(check, "ok", coverage.in_words())


def _failure(exc: Exception) -> str:
    """What went wrong, as the second half of a sentence, and what to do."""
    told = in_a_sentence(exc)
    if isinstance(exc, UnauthorizedError | ForbiddenError):
        return f"refuses PINECONE_API_KEY: {told} Copy it anew from API keys in Pinecone's console."
    if isinstance(exc, ApiError):
        return f"answers with an error: {told} Try again; if it stays, see Pinecone's status page."
    return f"does not answer: {told} Check the network and the address."


def _hostname(address: str) -> str:
    try:
        return (urlsplit(address if "://" in address else f"https://{address}").hostname or "").lower()
    except ValueError:  # brackets that do not close
        return ""
