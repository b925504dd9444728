"""A library is the same wherever its people are kept: exported from every store, imported into the embedded one."""

from __future__ import annotations

import whole_library as wl
from contracts.changes import P1, a_run, change, publish, said

from facecluster.compute import ComputeCache
from facecluster.config import load_settings
from facecluster.model import UserId
from facecluster.open_export import export_all
from facecluster.open_import import import_library
from facecluster.service import Service
from facecluster.stores.local_faces import LocalFaceStore


def test_an_export_from_any_store_becomes_the_same_embedded_library(people_place, tmp_path):
    store = people_place.open("anna")
    faces = LocalFaceStore(wl.database(tmp_path / "faces"))
    ids = ("a", "b", "z", "ö", "🙂", "\uffee", "B")  # in another order by bytes, by letters and by halves of pairs
    faces.add(wl.batch(wl.np.random.default_rng(4), sorted(ids)))
    order = ("🙂", "z", "a", "ö", "\uffee", "b", "B")
    labels = {"label": wl.np.array([0, 0, -1, 1, 1, -2, -1], wl.np.int32)}
    strengths = {"strength": wl.np.array([1, 1 / 3, 0, 0.7, 0.1, 0, 0], wl.np.float32)}
    owners = {"owner": (P1, P1, None, "p2", "p2", None, None), "faces": order, "reason": {"ö": "attached: „nearest“"}}
    publish(store, a_run("r1", **owners, **labels, **strengths), said("person", P1, "1"), said("person", "p2", "1"))
    for i, name in enumerate(wl.ODD):
        before = store.read().facts.get(("name", P1, ""))
        store.apply(change(store.revision(), said("name", P1, name, before=before), title=f"Named “{name}” {i}"))
    publish(store, a_run("r2", **owners, **labels, **strengths), said("run_name", "r1", "the first, “ü”"))
    settings = load_settings(library=tmp_path / "new")
    service = Service(UserId("anna"), settings, faces, store, ComputeCache(tmp_path / "cache"))
    wanted = service.contents()
    done = export_all(service.user, service.view(), wanted, service.crop, tmp_path / "out")
    import_library(tmp_path / "out", tmp_path / "new", UserId("anna"))
    assert wl.hash_of(tmp_path / "new") == done.hash == wanted.hash()
    found = wl.contents_in(tmp_path / "new")
    assert (found.snapshot.facts, found.log, found.runs) == (wanted.snapshot.facts, wanted.log, wanted.runs)
