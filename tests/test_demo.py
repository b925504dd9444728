"""The made-up faces behave like real ones, and the demo library is whole."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from facecluster import demo


@pytest.fixture(scope="module")
def library():
    return demo.demo_faces()


@pytest.fixture(scope="module")
def people():
    return demo.demo_people()


@pytest.fixture(scope="module", params=["album", "crowd"])
def faces(request):
    return demo.synthetic_faces(13_000, seed=3, style=request.param)


def same_person_cosines(faces, per_person=60):
    """Up to so many pairs of each person, so that the largest do not decide alone."""
    rng = np.random.default_rng(0)
    order = np.argsort(faces.person, kind="stable")
    values = []
    for rows in np.split(order, np.flatnonzero(np.diff(faces.person[order])) + 1):
        first, second = np.triu_indices(min(len(rows), 40), 1)
        chosen = rng.permutation(len(first))[:per_person]
        values.append((faces.vectors[rows[first[chosen]]] * faces.vectors[rows[second[chosen]]]).sum(axis=1))
    return np.concatenate(values)


def different_people_cosines(faces, n_pairs=300_000):
    rng = np.random.default_rng(0)
    first, second = rng.integers(len(faces), size=(2, n_pairs))
    differ = faces.person[first] != faces.person[second]
    return np.einsum("ij,ij->i", faces.vectors[first[differ]], faces.vectors[second[differ]])


def pairs_in_photos(photo):
    """Rows of each two faces that share a photo; the rows are ordered by photo."""
    pairs = [np.stack([np.arange(len(photo) - gap), np.arange(gap, len(photo))], axis=1) for gap in (1, 2, 3)]
    both = np.concatenate(pairs)
    return both[photo[both[:, 0]] == photo[both[:, 1]]]


# What was measured on 13,233 real faces, and how far the recipe may be from it.


def test_cosines_within_one_person_are_those_of_real_faces(faces):
    cosines = same_person_cosines(faces)
    assert cosines.mean() == pytest.approx(0.598, abs=0.015)
    assert cosines.std() == pytest.approx(0.111, abs=0.012)
    assert np.quantile(cosines, 0.01) == pytest.approx(0.313, abs=0.04)
    assert np.quantile(cosines, 0.05) == pytest.approx(0.408, abs=0.03)
    assert np.quantile(cosines, 0.95) == pytest.approx(0.764, abs=0.03)


def test_cosines_between_people_are_those_of_real_faces(faces):
    cosines = different_people_cosines(faces)
    assert cosines.mean() == pytest.approx(0.007, abs=0.006)
    assert cosines.std() == pytest.approx(0.067, abs=0.005)
    assert np.quantile(cosines, 0.999) == pytest.approx(0.234, abs=0.025)


def test_the_nearest_face_is_nearly_always_the_same_person(faces):
    size = np.bincount(faces.person)
    rows = np.flatnonzero(size[faces.person] > 1)[:2000]
    cosines = faces.vectors[rows] @ faces.vectors.T
    cosines[np.arange(len(rows)), rows] = -1.0
    right = faces.person[cosines.argmax(axis=1)] == faces.person[rows]
    assert right.mean() > 0.99


@pytest.mark.parametrize("n_faces", [1, 2, 3, 4, 7, 30, 500])
@pytest.mark.parametrize("style", ["album", "crowd"])
def test_any_number_of_faces_can_be_had(n_faces, style):
    faces = demo.synthetic_faces(n_faces, seed=1, style=style)
    assert faces.vectors.shape == (n_faces, 512)
    assert faces.vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(faces.vectors, axis=1), 1.0, atol=1e-5)
    assert faces.person.dtype == faces.photo.dtype == np.int32
    assert len(faces.person) == len(faces.photo) == len(faces.is_bad_crop) == n_faces
    assert set(faces.person.tolist()) == set(range(len(faces.family)))
    assert len(faces.kin_of) == len(faces.family)


def test_no_faces_at_all_is_refused():
    with pytest.raises(ValueError, match="n_faces is 0"):
        demo.synthetic_faces(0)


def test_the_same_seed_gives_the_same_faces_and_another_seed_gives_others():
    first, again, other = (demo.synthetic_faces(2000, seed=seed) for seed in (5, 5, 6))
    for name in ("vectors", "person", "photo", "is_bad_crop", "family", "kin_of"):
        assert np.array_equal(getattr(first, name), getattr(again, name)), name
    assert not np.array_equal(first.vectors, other.vectors)
    assert not np.array_equal(first.person, other.person)


def test_nobody_is_twice_in_a_photo_and_no_photo_holds_more_than_four(faces, people):
    for some in (faces, people):
        assert len(np.unique(np.stack([some.photo, some.person]), axis=1).T) == len(some)
        assert np.all(np.diff(some.photo) >= 0)
        assert set(np.bincount(some.photo).tolist()) == {1, 2, 3, 4}


def test_strangers_have_one_or_two_photos_and_a_fair_share_of_the_faces(faces, people):
    for some in (faces, people):
        size = np.bincount(some.person)
        assert np.array_equal(size < 3, some.family < 0)
        share = size[size < 3].sum() / len(some)
        assert 0.12 < share < 0.41
        assert np.all(np.diff(size[size >= 3]) <= 0)


def test_an_album_has_few_people_with_many_photos_and_a_crowd_many_with_few():
    album, crowd = (demo.synthetic_faces(8000, style=style) for style in ("album", "crowd"))
    assert 3 * (album.family >= 0).sum() < (crowd.family >= 0).sum()
    for some in (album, crowd):
        size = np.bincount(some.person)[some.family >= 0]
        assert size.max() > 5 * size.mean() > 5 * np.median(size)


def test_families_share_photos_more_than_others_and_kin_most(faces):
    first, second = faces.person[pairs_in_photos(faces.photo)].T
    one, other = faces.family[first], faces.family[second]
    known = (one >= 0) & (other >= 0)
    assert (one == other)[known].mean() > 0.5  # by chance it would be one in hundreds

    def together(a, b):
        shared = ((first == a) & (second == b)) | ((first == b) & (second == a))
        return shared.sum() / min((faces.person == a).sum(), (faces.person == b).sum())

    kin = np.flatnonzero(faces.kin_of >= 0)
    assert len(kin) == round(0.02 * (faces.family >= 0).sum())
    assert np.array_equal(faces.family[kin], faces.family[faces.kin_of[kin]])
    of_kin = [together(someone, faces.kin_of[someone]) for someone in kin]
    others = [
        together(someone, relative)
        for someone in range(0, (faces.family >= 0).sum(), 8)
        for relative in np.flatnonzero(faces.family == faces.family[someone])
        if relative != someone and faces.kin_of[relative] != someone and faces.kin_of[someone] != relative
    ]
    assert np.mean(of_kin) > np.mean(others) + 0.1


def test_kin_look_alike_and_bad_crops_do_not(faces):
    centre = np.zeros((len(faces.family), 512))
    np.add.at(centre, faces.person, faces.vectors)
    centre /= np.linalg.norm(centre, axis=1, keepdims=True)
    kin = np.flatnonzero(faces.kin_of >= 0)
    assert np.all((centre[kin] * centre[faces.kin_of[kin]]).sum(axis=1) > 0.4)
    own = (faces.vectors * centre[faces.person]).sum(axis=1)
    crowded = np.bincount(faces.person)[faces.person] > 5
    assert own[faces.is_bad_crop & crowded].mean() < own[crowded].mean() - 0.2


def test_the_pictures_were_drawn_for_the_people_that_the_demo_has(people):
    with np.load(demo.PACK, allow_pickle=False) as pack:
        assert np.array_equal(pack["person"], people.person), "run scripts/draw_demo_faces.py again"
        assert len(pack["crop_offsets"]) == len(people) + 1
        assert pack["crop_offsets"][-1] == len(pack["crops"])
    assert np.array_equal(demo.demo_truth(), people.person)


def test_the_pack_stays_small_enough_for_the_repository():
    assert demo.PACK.stat().st_size < 5_000_000


def test_every_crop_is_a_square_that_pillow_opens(library):
    for crop in library.crops:
        with Image.open(io.BytesIO(crop)) as image:
            image.load()
            assert image.format in {"JPEG", "PNG", "WEBP"}
            assert image.width == image.height >= 96


def test_one_or_two_in_a_hundred_demo_faces_are_blurred_and_the_bad_crops_are_among_them(library, people):
    blurred = library.blur_score < 50
    assert 0.01 <= blurred.mean() <= 0.02
    assert blurred[people.is_bad_crop].all()


def test_a_blurred_demo_face_looks_blurred(library):
    def edges(crop):
        with Image.open(io.BytesIO(crop)) as image:
            grey = np.asarray(image.convert("L"), dtype=float)
        laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
        return laplacian.var()

    blurred = library.blur_score < 50
    sharpest_blurred = max(edges(library.crops[row]) for row in np.flatnonzero(blurred))
    assert sharpest_blurred < min(edges(library.crops[row]) for row in np.flatnonzero(~blurred)[::10])


def test_demo_ids_are_unique_and_ascending(library):
    assert list(library.ids) == sorted(set(library.ids))
    assert len(library.ids) == demo.DEMO_FACES


def test_a_demo_photo_lies_in_one_folder_and_its_faces_do_not_overlap(library):
    folder_of, right_of = {}, {}
    for photo, folder, (left, top, right, bottom) in zip(
        library.photo, library.folder, library.boxes.tolist(), strict=True
    ):
        assert folder_of.setdefault(photo, folder) == folder
        assert right_of.get(photo, 0) <= left < right <= 1600
        assert 0 <= top < bottom <= 1200
        assert right - left == bottom - top >= 96
        right_of[photo] = right
    assert len(set(library.folder)) > 10
    assert not any(library.url)
    assert not any(library.crop_urls)


def test_the_demo_tells_how_far_it_is():
    told = []
    demo.demo_faces(lambda share, text: told.append((share, text)))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert all(text for _, text in told)
