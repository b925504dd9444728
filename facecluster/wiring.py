"""Settings -> Service for one user; the only file that names concrete stores."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from facecluster.clustering import THREADS, TileRunner
from facecluster.compute import ComputeCache
from facecluster.config import Settings
from facecluster.cuda import CudaRunner
from facecluster.distributed import DaskRunner
from facecluster.errors import ConfigError, InputError
from facecluster.jobs import Jobs
from facecluster.model import FaceId, UserId
from facecluster.ports import Progress
from facecluster.service import Service
from facecluster.stores.local import Database, user_folder, users_with_faces
from facecluster.stores.local_faces import LocalFaceStore
from facecluster.stores.local_people import LocalPeopleStore

_SHOWN_PACKAGES = ("streamlit", "numpy", "hdbscan", "umap-learn", "plotly")


def open_service(settings: Settings, user: str | None = None) -> Service:
    """The library of one user, made where there is none yet."""
    who = UserId(user if user is not None else settings.user)
    if not who:
        raise ConfigError("The user is empty. Nothing was opened. Set FACECLUSTER_USER, or leave it away for 'local'.")
    if any("\ud800" <= c <= "\udfff" for c in who):  # bytes of the environment that are no UTF-8
        raise ConfigError(f"The user {who!r} is not valid text. Nothing was opened. Set FACECLUSTER_USER in UTF-8.")
    folder = user_folder(settings.library, who)
    database = Database(folder, who)
    faces, people = LocalFaceStore(database), LocalPeopleStore(database)
    return Service(who, settings, faces, people, ComputeCache(folder / "cache", runner_for(settings)))


def runner_for(settings: Settings) -> TileRunner:
    """What runs the tiles of a hierarchy; nothing is connected to before there is one to compute."""
    if settings.scheduler:
        return DaskRunner(settings.scheduler, settings.shared_folder, device=settings.device)
    return CudaRunner() if settings.device == "cuda" else THREADS


def open_jobs(settings: Settings, user: str | None = None) -> Jobs:
    """The long work of one user's library."""
    who = UserId(user if user is not None else settings.user)
    return Jobs(user_folder(settings.library, who) / "jobs", settings.library, who)


def demo_settings(settings: Settings) -> Settings:
    """The same settings, for the demo library: a folder beside the user's own."""
    beside = settings.library.with_name(settings.library.name + "-demo")
    here = {"scheduler": "", "device": "cpu"}  # a second of work, and the demo must open whatever the settings are
    return settings.model_copy(update={"library": beside, "user": "demo", **here})


def other_users(settings: Settings) -> dict[UserId, int]:
    """Other users of the same library and how many faces each has."""
    found = users_with_faces(settings.library)
    return {user: n for user, n in found.items() if user != settings.user and n}


def crop_text(service: Service, face: FaceId | None) -> str:
    """A face's picture as one string: base64, or its address, or ""."""
    if face is None:
        return ""
    view = service.view()
    picture = service.crop(face)
    return b64encode(picture).decode("ascii") if picture else view.faces.crop_urls[view.row(face)]


def status_of(service: Service) -> dict[str, Any]:
    """What Status and `facecluster status` show; secrets never print."""
    view, settings = service.view(), service.settings
    run = view.snapshot.run
    return {
        "user": service.user,
        "library": str(user_folder(settings.library, service.user)),
        "store": "embedded (SQLite and flat files)",
        "faces": len(view.faces),
        "photos": len({photo for photo in view.faces.photo if photo}),
        "people": len(view.people(show_hidden=True)),
        "named": sum(card.name != "" for card in view.cards),
        "in_nobody": len(view.noise),
        "too_blurred": len(view.too_blurred),
        "set_aside": len(view.set_aside),
        "waiting_for_rebuild": service.waiting_for_rebuild,
        "new_since_last_run": view.n_new if run else 0,
        "live_run": run.id if run else "none yet",
        "changes": view.snapshot.revision,
        "versions": ", ".join(f"{name} {version(name)}" for name in _SHOWN_PACKAGES),
        "settings": {str(field.alias): str(getattr(settings, name)) for name, field in Settings.model_fields.items()},
    }


def perform(service: Service, use_case: str, args: Mapping[str, Any], progress: Progress) -> None:
    """Do the work of a job.

    Raises
    ------
    InputError
        If there is no such use case.
    """
    if use_case == "demo":
        service.open_demo(progress)
    elif use_case == "prepare":
        service.prepare(
            args["blur_threshold"], tuple(args["min_samples"]), progress, rebuild=bool(args.get("rebuild", False))
        )
    elif use_case == "map":
        service.map(progress)
    elif use_case == "stability":
        service.stability(replace(service.defaults, **args), progress)
    else:
        raise InputError(f"There is no work called {use_case!r}. Nothing was done.")
