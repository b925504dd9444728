"""R4c: whoever talks to Supabase and Pinecone is killed between two requests; the servers go on."""

from __future__ import annotations

import shutil
from itertools import count
from pathlib import Path

import pytest
import small_library
from contracts.builders import DIMENSION, clients_closed, pinecone_server, rest_server

from facecluster.service import Service
from trust.acts import make_template
from trust.disk import CHANGING_REQUEST, KILL, REQUEST, TEAR, Nursery, built, nursery
from trust.measure import Found, Measure
from trust.states import fast_folder

ACTS = ("rename", "publish", "import", "erase the faces")


def settings_of(name: str) -> dict[str, str]:
    """Where faces and people of a user of this try lie, as the environment says it."""
    faces, people = pinecone_server(), rest_server()
    return {
        "PINECONE_API_KEY": faces.api_key, "PINECONE_HOST": faces.url, "PINECONE_NAMESPACE": name,
        "SUPABASE_URL": people.url, "SUPABASE_SERVICE_KEY": people.service_key, "FACECLUSTER_USER": name,
    }  # fmt: skip


def opened(library: Path, settings: dict[str, str]) -> Service:
    """The library as another process would open it."""
    given = {name.lower().removeprefix("facecluster_"): value for name, value in settings.items()}
    return small_library.open_library(library, **given)


def said(service: Service) -> tuple[object, ...]:
    """Facts, faces and who owns each, and the runs there are."""
    view = service.view()
    owners = [view.owner(face) for face in view.faces.ids]
    return dict(view.snapshot.facts), view.faces.ids, owners, [(run.id, run.n_faces) for run in service.runs()]


def killed_at(
    warm: Nursery, library: Path, settings: dict[str, str], act: str, at: int, how: int, kinds: int
) -> tuple[bool, bool, str]:
    """Kill an act at a request: whether it was killed, whether it was done by then or is now, and what is wrong."""
    before = said(opened(library, settings))
    end = warm.do(act, library, kinds=kinds, how=how, at=at)
    case = f"{act} killed {'after' if how == TEAR else 'before'} request {at}"
    if end.error:
        return end.is_killed, False, f"{case}: {end.error}: {end.message}"
    found = said(opened(library, settings))
    again = warm.do(act, library, kinds=REQUEST)
    after = said(opened(library, settings))
    if again.error:
        return end.is_killed, False, f"{case}: it cannot be done again: {again.error}: {again.message}"
    wrong = "" if found in (before, after) else f"{case}: a mix of before and after"
    if end.is_killed and act in ("import", "erase the faces"):
        looking = opened(library, settings)
        looking.fetch()
        if said(looking) != after:
            wrong = f"{case}: the index holds other faces than are shown"
    return end.is_killed, after != before, wrong


def all_requests(seed: int, seconds: float, kinds: int = REQUEST) -> Found:
    """Each request of each act, before it is sent and after its answer."""
    del seconds
    try:
        built()
        settings = settings_of(f"far-{seed}")
    except (RuntimeError, pytest.skip.Exception) as exc:
        return Found(not_run=str(exc))
    assert small_library.faces()["vectors"].shape[1] == DIMENSION
    found, folder = Found(), fast_folder()
    try:
        with pytest.MonkeyPatch.context() as patch, clients_closed():
            for name, value in settings.items():
                patch.setenv(name, value)
            library = make_template(folder / "template")
            with nursery(library, **settings) as warm:
                for act in ACTS:
                    for how in (KILL, TEAR):
                        one = walk(warm, library, settings, act, how, kinds)
                        found.n += one.n
                        found.failures += one.failures
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found.note = "Pinecone and Supabase at our own servers"
    return found


def changing_requests(seed: int) -> Found:
    """Only those that change something there: the others leave nothing half done."""
    return all_requests(seed, 0.0, CHANGING_REQUEST)


def walk(warm: Nursery, library: Path, settings: dict[str, str], act: str, how: int, kinds: int) -> Found:
    """Kill an act at one request after the other until it ends by itself."""
    found = Found()
    for at in count():
        # A run that was ever published is not staged again, so each time another one is.
        it = f"publish {how * 100 + at}" if act == "publish" else act
        is_killed, is_new, wrong = killed_at(warm, library, settings, it, at, how, kinds)
        if wrong:
            found.failures.append(wrong)
        service = opened(library, settings)
        if act == "import":
            service._faces.remove([face for face in service.view().faces.ids if face.startswith("more")])
        elif act == "erase the faces":
            service.import_files([library.parent / "faces.npz"])
        elif is_new:
            service.undo(service.view().snapshot.revision)
        if not is_killed:
            return found
        found.n += 1
    return found


MEASURES = [Measure("R4c", "killed between requests to hosted stores: old or new", "kills", 60, 0, all_requests)]
