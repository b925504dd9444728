"""The promises of the second layer, each as a property, and average linkage against a slow reference."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from face_sets import partition, people, strangers, unit
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from facecluster.clustering import (
    CHANGES,
    NOISE,
    Clustering,
    ExtractionParams,
    RowFacts,
    build_hierarchy,
    extract,
    gauges,
    linkage,
    refine,
)
from facecluster.clustering.alike import LONE, MANY, SAME_PERSON, needed, product_of_sums
from facecluster.clustering.refine import FOLLOWS, REASONS
from facecluster.demo import demo_people, synthetic_faces
from facecluster.errors import InputError

NOTHING = np.empty((0, 2), np.int32)


@cache
def faces(seed, style="crowd", n=400):
    return synthetic_faces(n, seed, style)


@cache
def hierarchy(seed, style="crowd", n=400, min_samples=3):
    return build_hierarchy(faces(seed, style, n).vectors, min_samples)


def refined(seed, facts=None, style="crowd", **params):
    h = hierarchy(seed, style)
    return refine(h, extract(h, ExtractionParams(**params)), faces(seed, style).vectors, facts)


def photos(seed, style="crowd"):
    return RowFacts(photo=faces(seed, style).photo)


def pairs(rows):
    return np.array(rows, np.int32).reshape(-1, 2)


# --- what was said -------------------------------------------------------------------------------------------------


@st.composite
def told(draw):
    """A set of faces, what somebody who knows some of the truth and errs in some of it says, and slider settings."""
    seed = draw(st.integers(0, 5))
    style = draw(st.sampled_from(["crowd", "album"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    found = faces(seed, style)
    n = len(found.person)
    mistaken = np.where(rng.random(n) < 0.15, rng.integers(0, 8, n), found.person)
    rows = rng.choice(n, draw(st.integers(0, 40)), replace=False)
    rows = rows[mistaken[rows] < 12]
    pins = pairs([(row, mistaken[row]) for row in rows])
    a, b = rng.integers(0, n, (2, draw(st.integers(0, 15))))
    same = pairs([(x, y) for x, y in zip(a, b, strict=True) if mistaken[x] == mistaken[y] and x != y])
    big = np.flatnonzero(found.person < 4)
    a, b = rng.choice(big, (2, draw(st.integers(0, 15))))
    different = pairs([(x, y) for x, y in zip(a, b, strict=True) if mistaken[x] != mistaken[y] or rng.random() < 0.3])
    some = rng.choice(big, draw(st.integers(0, 15)))
    not_person = pairs([(row, rng.integers(0, 6)) for row in some])
    photo = found.photo if draw(st.booleans()) else np.where(rng.random(n) < 0.2, -1, rng.integers(0, n // 2, n))
    facts = RowFacts(pins, not_person, same, different[different[:, 0] != different[:, 1]], photo.astype(np.int32))
    params = ExtractionParams(
        draw(st.integers(2, 6)), draw(st.sampled_from([0.35, 1.12, 1.2])), draw(st.sampled_from(["eom", "leaf", "cut"]))
    )
    return seed, style, facts, params


@settings(max_examples=60, deadline=None)
@given(told(), st.integers(0, 2**32 - 1))
def test_what_goes_on_from_an_earlier_one_is_what_is_made_from_the_beginning(case, chance):
    """A fact more or less each time, as a curator answers, and now and then another place of a slider."""
    seed, style, facts, params = case
    h, vectors, rng = hierarchy(seed, style), faces(seed, style).vectors, np.random.default_rng(chance)
    pool = [facts.pins, facts.not_person, facts.same, facts.different]
    is_said = [rng.random(len(part)) < 0.5 for part in pool]
    last = None
    for _ in range(12):
        kind = int(rng.integers(4))
        if len(pool[kind]):
            at = rng.integers(len(pool[kind]))
            is_said[kind][at] = not is_said[kind][at]
        if rng.random() < 0.2:
            params = replace(params, epsilon=float(rng.choice([0.0, 0.35, 1.05, 1.12, 1.2])))
        here = RowFacts(*(part[mask] for part, mask in zip(pool, is_said, strict=True)), photo=facts.photo)
        clusters = extract(h, params)
        fresh, last = refine(h, clusters, vectors, here), refine(h, clusters, vectors, here, last)
        assert np.array_equal(last.labels, fresh.labels)
        assert np.array_equal(last.changed, fresh.changed)
        assert (last.reasons, last.counts, last.kept_together) == (fresh.reasons, fresh.counts, fresh.kept_together)
        for one, other in zip(vars(last.trace).values(), vars(fresh.trace).values(), strict=True):
            assert all(map(np.array_equal, one, other)) if isinstance(one, tuple) else np.array_equal(one, other)


def test_a_fact_of_one_face_leaves_most_of_the_work_where_it_is(monkeypatch):
    h, vectors = hierarchy(0), faces(0).vectors
    clusters = extract(h, ExtractionParams(3))
    before, handed = refine(h, clusters, vectors, photos(0)), []
    join = linkage.join_alike
    monkeypatch.setattr(linkage, "join_alike", lambda *given: handed.append(len(given[6])) or join(*given))
    row = int(np.flatnonzero(clusters.labels >= 0)[0])
    refine(h, clusters, vectors, photos(0))
    refine(h, clusters, vectors, replace(photos(0), pins=pairs([(row, 0)])), before)
    assert handed[1] < handed[0] / 2


def linked(facts, n):
    """What is one person by what was said: the slow way, dropping `same` where it contradicts something."""
    pin = dict(facts.pins.tolist())
    group = list(range(n))
    for p in set(pin.values()):
        rows = [row for row in pin if pin[row] == p]
        for row in rows:
            group[row] = min(rows)
    whole = group.copy()
    for a, b in facts.same.tolist():
        whole = [whole[b] if g == whole[a] else g for g in whole]
    anchors = {p: row for row, p in pin.items()}
    apart = [*facts.different.tolist(), *([r, anchors[p]] for r, p in facts.not_person.tolist() if p in anchors)]
    wrong = {whole[a] for a, b in apart if whole[a] == whole[b] and not (a in pin and pin.get(b) == pin[a])}
    wrong |= {whole[a] for a, b in apart if whole[a] == whole[b] and group[a] == group[b]}
    wrong |= {whole[a] for a in pin for b in pin if whole[a] == whole[b] and pin[a] != pin[b]}
    return [group[x] if whole[x] in wrong else whole[x] for x in range(n)]


@settings(max_examples=150, deadline=None)
@given(told())
def test_what_was_said_and_photos_and_the_minimum_size_hold(case):
    seed, style, facts, params = case
    h, vectors = hierarchy(seed, style), faces(seed, style).vectors
    r = refine(h, extract(h, params), vectors, facts)
    labels = r.labels.tolist()
    pin = dict(facts.pins.tolist())
    together = linked(facts, len(labels))

    for a in range(len(labels)):
        assert labels[a] == labels[together[a]], "same faces, and those pinned to one person, are together"
    apart = [(a, b) for a in pin for b in pin if pin[a] != pin[b]]
    apart += facts.different.tolist()
    apart += [(row, a) for row, person in facts.not_person.tolist() for a in pin if pin[a] == person != pin.get(row)]
    for a, b in apart:
        assert labels[a] == NOISE or together[a] == together[b] or labels[a] != labels[b]
    for a, b in gauges.impossible_pair_rows(r.labels, facts.photo).tolist():
        assert together[a] == together[b], "two faces of one photo are two people, unless somebody said otherwise"
    sizes = np.bincount(r.labels[r.labels >= 0])
    assert not len(sizes) or sizes.min() >= params.min_cluster_size
    assert sum(r.counts.values()) == len(r.changed) == len(r.reasons)


def test_faces_pinned_to_one_person_bring_their_clusters_together():
    found = faces(1, "album")
    h = hierarchy(1, "album")
    clusters = extract(h, ExtractionParams(3, 0.35, "leaf"))
    rows = np.flatnonzero(found.person == 0)
    split = clusters.labels.copy()
    split[rows[: len(rows) // 2]] = clusters.n_clusters
    split[rows[5:-5:4]] = NOISE  # loose faces, alike to both halves
    divided = replace(clusters, labels=split)
    alone = refine(h, divided, found.vectors, photos(1, "album")).labels
    assert alone[rows[0]] != alone[rows[-1]], "HDBSCAN's clusters never join by themselves"
    facts = replace(photos(1, "album"), pins=pairs([(rows[0], 7), (rows[-1], 7)]))
    joined = refine(h, divided, found.vectors, facts)
    assert np.bincount(joined.labels[rows] + 1).max() >= 0.95 * len(rows)


def test_a_pinned_stranger_comes_alone():
    found = faces(1, "album")
    anna, bert = (np.flatnonzero(found.person == p) for p in (0, 1))
    h = hierarchy(1, "album")
    facts = RowFacts(pins=pairs([(anna[0], 3), (anna[1], 3), (bert[0], 3)]))
    r = refine(h, extract(h), found.vectors, facts)
    assert r.labels[bert[0]] == r.labels[anna[0]] >= 0
    assert r.labels[bert[1]] != r.labels[anna[0]]
    assert r.reasons[r.changed.tolist().index(bert[0])] == FOLLOWS


# --- people, strangers and kin -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("n", [8, 25, 60])
def test_strangers_alone_are_noise(seed, n):
    vectors = strangers(np.random.default_rng(seed), n, 512)
    for samples in (1, 2, 3):
        h = build_hierarchy(vectors, samples)
        for size in (2, 3):
            assert (refine(h, extract(h, ExtractionParams(size)), vectors).labels == NOISE).all()


def test_the_demo_has_no_impossible_pair_and_its_kin_are_two_people():
    found = demo_people()
    h = build_hierarchy(found.vectors)
    clusters = extract(h)
    r = refine(h, clusters, found.vectors, RowFacts(photo=found.photo))
    assert gauges.impossible_pairs(clusters.labels, found.photo) > 0
    assert gauges.impossible_pairs(r.labels, found.photo) == 0
    main = [np.bincount(r.labels[found.person == p] + 1, minlength=2)[1:].argmax() for p in range(len(found.kin_of))]
    for kin in np.flatnonzero(found.kin_of >= 0):
        assert main[kin] != main[found.kin_of[kin]]


def test_people_with_three_photos_are_found_and_pairs_where_two_are_enough():
    rng = np.random.default_rng(3)
    centres = unit(rng.standard_normal((40, 512)))
    size = np.repeat([3, 2], 20)
    person = np.concatenate([np.repeat(np.arange(40), size), 40 + np.arange(60)])
    known = centres[np.repeat(np.arange(40), size)]
    vectors = unit(np.concatenate([known + 0.85 * unit(rng.standard_normal(known.shape)), strangers(rng, 60, 512)]))
    h = build_hierarchy(vectors)
    for least in (3, 2):
        clusters = extract(h, ExtractionParams(least))
        expected = {frozenset(np.flatnonzero(person == p).tolist()) for p in range(40) if size[p] >= least}
        assert partition(clusters.labels) != expected
        assert partition(refine(h, clusters, vectors).labels) == expected


def test_a_face_far_from_the_rest_of_its_cluster_goes_and_one_close_to_a_person_comes():
    found = faces(0, "album")
    h = hierarchy(0, "album")
    clusters = extract(h)
    rows = np.flatnonzero(clusters.labels == 0)
    stranger = int(np.flatnonzero(clusters.labels == NOISE)[0])
    labels = clusters.labels.copy()
    labels[stranger], labels[rows[0]] = 0, NOISE
    r = refine(h, replace(clusters, labels=labels), found.vectors)
    reasons = dict(zip(r.changed.tolist(), r.reasons, strict=True))
    assert r.labels[stranger] == NOISE
    assert reasons[stranger] == REASONS["taken out"][0]
    assert r.labels[rows[0]] == r.labels[rows[1]]
    assert reasons[rows[0]] == REASONS["attached"][0]


def test_two_faces_of_one_photo_are_told_as_the_reason():
    found = demo_people()
    h = build_hierarchy(found.vectors)
    r = refine(h, extract(h), found.vectors, RowFacts(photo=found.photo))
    assert REASONS["split off"][1] in r.reasons


# --- against a slow reference --------------------------------------------------------------------------------------


def slow_average_linkage(vectors, photo):
    """Joins the two groups that are most above what they need, until there are none; photos keep apart."""
    cosine = 1.0 - cdist(vectors.astype(np.float64), vectors.astype(np.float64)) ** 2 / 2.0
    groups = [[row] for row in range(len(vectors))]
    while True:
        found = None
        for x, left in enumerate(groups):
            for y in range(x):
                right = groups[y]
                if {photo[row] for row in left} & {photo[row] for row in right}:
                    continue
                score = cosine[np.ix_(left, right)].mean() - needed(len(left), len(right))
                if score >= 0 and (found is None or score > found[0]):
                    found = score, x, y
        if found is None:
            return {frozenset(group) for group in groups if len(group) > 1}
        _, x, y = found
        groups[y] += groups.pop(x)


@pytest.mark.parametrize("seed", range(25))
def test_loose_faces_are_joined_as_by_slow_average_linkage(seed):
    rng = np.random.default_rng(seed)
    vectors = unit(np.concatenate([people(rng, 45, 512, 9, spread=1.1), strangers(rng, 15, 512)]))
    photo = rng.permutation(np.arange(60) // 2).astype(np.int32)
    h = build_hierarchy(vectors)
    nobody = Clustering(np.full(60, NOISE, np.int32), np.zeros(60, np.float32), min_cluster_size=2)
    assert partition(refine(h, nobody, vectors, RowFacts(photo=photo)).labels) == slow_average_linkage(vectors, photo)


def test_similarity_of_sums_is_the_mean_over_all_pairs():
    from facecluster.clustering.alike import add_row

    vectors = people(np.random.default_rng(0), 30, 512, 3)
    sums = np.zeros((2, 512))
    for row in range(30):
        add_row(vectors, row, sums[row % 2])
    exact = (vectors[::2].astype(np.float64) @ vectors[1::2].astype(np.float64).T).mean()
    assert product_of_sums(sums[0], sums[1], 225) / 225 == pytest.approx(exact, abs=2e-5)
    # The last bit too: in another order, and by the way that large groups take.
    backwards = np.zeros((2, 512))
    for row in range(29, -1, -1):
        add_row(vectors, row, backwards[row % 2])
    assert np.array_equal(sums, backwards)
    assert product_of_sums(sums[0], sums[1], 225) == product_of_sums(sums[0], sums[1], 2**24)
    assert needed(1, 1) > needed(1, 5) > needed(50, 50) > SAME_PERSON > needed(1, MANY) == LONE


# --- canonical, and of a piece with the sliders --------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("method", ["eom", "cut"])
def test_the_order_of_the_rows_does_not_matter(seed, method):
    found = faces(seed)
    params = ExtractionParams(2, 1.12, method)
    order = np.random.default_rng(seed).permutation(len(found.person))
    h = build_hierarchy(found.vectors[order])
    moved = refine(h, extract(h, params), found.vectors[order], RowFacts(photo=found.photo[order]))
    back = np.empty_like(moved.labels)
    back[order] = moved.labels
    here = refined(seed, photos(seed), min_cluster_size=2, epsilon=1.12, method=method)
    assert partition(back) == partition(here.labels)
    assert here.counts == moved.counts


def test_equal_faces_are_settled_whatever_the_order_of_the_rows():
    rng = np.random.default_rng(5)
    base = people(rng, 60, 512, 12, spread=1.1)
    vectors = np.concatenate([base, base, base[:20]])
    found = set()
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(len(vectors))
        h = build_hierarchy(vectors[order])
        labels = np.empty(len(vectors), np.int32)
        labels[order] = refine(h, extract(h, ExtractionParams(2)), vectors[order]).labels
        found.add(frozenset(partition(labels)))
        assert np.array_equal(labels[:60], labels[60:120])
    assert len(found) == 1


@pytest.mark.parametrize("seed", range(4))
def test_copies_that_only_photos_tell_apart_are_taken_as_they_stand(seed):
    """Nothing in them says which of two in one photo, or in photos of others, shall be somebody's."""
    rng = np.random.default_rng(seed)
    base = people(rng, 90, 64, 9, spread=1.1)
    vectors = np.concatenate([base, base[rng.integers(0, 90, 90)]])
    photo = rng.integers(-1, 50, len(vectors)).astype(np.int32)
    content = np.unique(vectors, axis=0, return_inverse=True)[1].ravel()

    def labels_in(order):
        h = build_hierarchy(vectors[order])
        found = refine(h, extract(h, ExtractionParams(2)), vectors[order], RowFacts(photo=photo[order]))
        return partition(found.labels[np.argsort(order)])

    for shuffle in range(4):
        order = rng.permutation(len(vectors))
        order[np.argsort(content[order], kind="stable")] = np.argsort(content, kind="stable")
        assert labels_in(order) == labels_in(np.arange(len(vectors))), shuffle


@pytest.mark.parametrize("seed", range(4))
def test_the_same_again_comes_out_bit_for_bit(seed):
    one, two = refined(seed, photos(seed)), refined(seed, photos(seed))
    assert np.array_equal(one.labels, two.labels)
    assert one.reasons == two.reasons


def test_every_slider_changes_the_result():
    """For leaf see the real faces: on made-up ones HDBSCAN itself finds the same."""
    found = synthetic_faces(3000, 12, "crowd")
    facts = RowFacts(photo=found.photo)

    # HDBSCAN's own people hardly depend on epsilon, method and min_samples here; what it joins by mistake is mended.
    def people_at(min_samples=3, **params):
        h = build_hierarchy(found.vectors, min_samples)
        return frozenset(partition(refine(h, extract(h, ExtractionParams(**params)), found.vectors, facts).labels))

    default = people_at()
    assert people_at(min_cluster_size=2) != default
    assert people_at(min_cluster_size=6) != default
    assert people_at(epsilon=1.18) != default
    assert people_at(min_samples=1) != default
    assert people_at(method="cut", epsilon=0.9) != default


@pytest.mark.parametrize("seed", range(6))
def test_people_are_numbered_by_size_and_then_by_smallest_row(seed):
    labels = refined(seed, photos(seed), min_cluster_size=2).labels
    order = [(-np.count_nonzero(labels == x), np.flatnonzero(labels == x)[0]) for x in range(labels.max() + 1)]
    assert order == sorted(order)
    assert labels.dtype == np.int32


@pytest.mark.parametrize("seed", range(6))
def test_reasons_are_given_for_exactly_the_faces_that_left_their_cluster(seed):
    h = hierarchy(seed)
    clusters = extract(h, ExtractionParams(2))
    r = refine(h, clusters, faces(seed).vectors, photos(seed))
    assert np.array_equal(np.unique(r.changed), r.changed)
    changed = set(r.changed.tolist())
    known = {text for change in CHANGES for text in REASONS[change]}
    assert set(r.reasons) <= known
    for c in range(clusters.n_clusters):
        rows = [row for row in np.flatnonzero(clusters.labels == c).tolist() if row not in changed]
        assert len(set(r.labels[rows].tolist())) <= 1
    for row in np.flatnonzero(clusters.labels == NOISE).tolist():
        assert (r.labels[row] != NOISE) == (row in changed)
    assert 0.0 <= r.kept_together <= 1.0


def test_reasons_speak_as_a_curator_does():
    for text in {text for change in CHANGES for text in REASONS[change]} | {FOLLOWS}:
        assert not any(word in text.lower() for word in ("label", "vector", "cluster", "noise", "distance"))


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_hardly_any_faces_are_no_problem(n):
    vectors = strangers(np.random.default_rng(0), n, 512)
    h = build_hierarchy(vectors)
    r = refine(h, extract(h), vectors, RowFacts(photo=np.arange(n, dtype=np.int32)))
    assert r.labels.tolist() == [NOISE] * n
    assert sum(r.counts.values()) == 0
    assert r.kept_together == 1.0


def test_other_vectors_and_facts_of_other_faces_are_refused():
    h, vectors = hierarchy(0), faces(0).vectors
    with pytest.raises(InputError, match="made from other faces"):
        refine(h, extract(h), faces(1).vectors)
    with pytest.raises(InputError, match="made from other faces"):
        refine(h, extract(h), vectors[:-1])
    with pytest.raises(InputError, match="399 photo numbers"):
        refine(h, extract(h), vectors, RowFacts(photo=faces(0).photo[:-1]))
