"""Settings -> Service for one user; the only file that names concrete stores."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from facecluster import uploads
from facecluster.clustering import THREADS, TileRunner
from facecluster.compute import ComputeCache
from facecluster.config import Settings
from facecluster.cuda import CudaRunner
from facecluster.distributed import DaskRunner
from facecluster.errors import ConfigError, InputError, without_secrets
from facecluster.jobs import Jobs
from facecluster.model import FaceId, UserId
from facecluster.ports import FaceStore, PeopleStore, Progress
from facecluster.service import Service
from facecluster.stores.local import Database, user_folder, users_with_faces
from facecluster.stores.local_faces import LocalFaceStore
from facecluster.stores.local_people import LocalPeopleStore

if TYPE_CHECKING:
    from pinecone import Pinecone

_SHOWN_PACKAGES = ("streamlit", "numpy", "hdbscan", "umap-learn", "plotly")


# Seconds that one step of a hosted store may take, all attempts together.
PATIENCE_S = 120.0


def open_service(
    settings: Settings,
    user: str | None = None,
    *,
    pinecone: Pinecone | None = None,
    token: str = "",
    patience_s: float = PATIENCE_S,
    glance_s: float = 0.0,
) -> Service:
    """The library of one user, made where there is none yet.

    Parameters
    ----------
    settings : Settings
        A Pinecone key puts faces there, an address of Supabase puts people there; each without the other is embedded.
    user : str | None
        None takes the one in the settings.
    pinecone : pinecone.Pinecone | None
        Client to read faces with, instead of one of the settings' key.
    token : str
        The user's own token for Supabase; "" takes the service key.
    patience_s : float
        Seconds that one step of a hosted store may take: few for a page, more for a worker.
    glance_s : float
        How old, in seconds, a look at the revision in Supabase may be.
    """
    who = UserId(user if user is not None else settings.user)
    if not who:
        raise ConfigError("The user is empty. Nothing was opened. Set FACECLUSTER_USER, or leave it away for 'local'.")
    if any("\ud800" <= c <= "\udfff" for c in who):  # bytes of the environment that are no UTF-8
        raise ConfigError(f"The user {who!r} is not valid text. Nothing was opened. Set FACECLUSTER_USER in UTF-8.")
    folder = user_folder(settings.library, who)
    database = Database(folder, who)
    faces: FaceStore = LocalFaceStore(database)
    # The two packages take a second to load: whoever keeps everything here does not wait for them.
    if settings.has_pinecone or pinecone is not None:
        from facecluster.stores.pinecone import open_faces

        faces = open_faces(settings, who, folder, pinecone, patience_s)
    people: PeopleStore = LocalPeopleStore(database)
    if settings.has_supabase:
        from facecluster.stores.supabase import open_people

        people = open_people(settings, who, faces, token, patience_s, glance_s)
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


def uploads_of(settings: Settings) -> Path:
    """Where files that a browser sends lie until they are imported."""
    return user_folder(settings.library, UserId(settings.user)) / "uploads"


def demo_settings(settings: Settings) -> Settings:
    """The same settings, for the demo library: a folder beside the user's own."""
    beside = settings.library.with_name(settings.library.name + "-demo")
    # A second of work, and the demo must open whatever the settings are.
    here = {"scheduler": "", "device": "cpu", "pinecone_api_key": SecretStr(""), "supabase_url": ""}
    return settings.model_copy(update={"library": beside, "user": "demo", **here})


def other_users(settings: Settings) -> dict[UserId, int]:
    """Other users of the same library and how many faces each has."""
    found = users_with_faces(settings.library)
    return {user: n for user, n in found.items() if user != settings.user and n}


def where_it_is(settings: Settings, token: str = "") -> dict[str, str]:
    """Where faces and people are kept, and by which key: what Status and `facecluster status` say."""
    found = {"store": "embedded (SQLite and flat files)", "faces_from": "", "people_in": ""}
    if settings.is_hosted:
        hosted = ["Pinecone"] * settings.has_pinecone + ["Supabase"] * settings.has_supabase
        found["store"] = " and ".join(hosted if len(hosted) > 1 else [*hosted, "embedded"])
    if settings.has_pinecone:
        namespace = f", namespace {settings.pinecone_namespace}" if settings.pinecone_namespace else ""
        field = f", those whose {settings.pinecone_user_field} is the user" if settings.pinecone_user_field else ""
        by = ", by gRPC" if settings.pinecone_grpc else ""
        found["faces_from"] = f"Pinecone, index {settings.pinecone_index}{namespace}{field}{by}"
    if settings.has_supabase:
        way = "the user's own token" if token else "service key: this server may read everybody's rows"
        found["people_in"] = f"Supabase, {without_secrets(settings.supabase_url)} ({way})"
    return found


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
        **where_it_is(settings),
        "coverage": view.faces.coverage.in_words() if view.faces.coverage is not None else "",
        "faces": len(view.faces),
        "photos": len({photo for photo in view.faces.photo if photo}),
        "people": len(view.people(show_hidden=True)),
        "named": sum(card.name != "" for card in view.cards),
        "in_nobody": len(view.noise_rows),
        "too_blurred": len(view.blurred_rows),
        "set_aside": len(view.set_aside),
        "waiting_for_rebuild": service.waiting_for_rebuild,
        "new_since_last_run": view.n_new if run else 0,
        "live_run": run.id if run else "none yet",
        "changes": view.snapshot.revision,
        "versions": ", ".join(f"{name} {version(name)}" for name in _SHOWN_PACKAGES),
        "settings": {
            str(field.alias): without_secrets(str(getattr(settings, name)))
            for name, field in Settings.model_fields.items()
        },
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
    elif use_case == "fetch":
        service.fetch(bool(args.get("everything", False)), progress)
    elif use_case == "map":
        service.map(progress)
    elif use_case == "import":
        uploads.import_all(uploads_of(service.settings) / Path(args["folder"]).name, service.import_files, progress)
    elif use_case == "stability":
        service.stability(replace(service.defaults, **args), progress)
    else:
        raise InputError(f"There is no work called {use_case!r}. Nothing was done.")
