"""Five entry points for other programs, with the names, arguments and result keys of the module they replace."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from facecluster.config import Settings, load_settings
from facecluster.images import thumbnail_url
from facecluster.model import FaceId, PersonId
from facecluster.service import Service
from facecluster.view import View
from facecluster.wiring import crop_text, open_service

if TYPE_CHECKING:
    from pinecone import Pinecone

# Libraries that stay open.
_OPEN = 8
# How much below the worst direct hit an added image stands.
_STEP = 0.01


async def run_clustering(pc: Pinecone | None, user_id: str) -> dict[str, Any]:
    """Cluster a user's faces with the settings in force and publish at once, without the refine layer.

    Parameters
    ----------
    pc : pinecone.Pinecone | None
        Client to read the index of the settings with; None takes the configured store.
    user_id : str
        Whose faces.

    Returns
    -------
    dict
        `{"status": "ok", "total_vectors", "clusters_found", "noise_vectors"}`, or `{"status": "skipped", "reason",
        "vectors"}` (with `"valid_vectors"` where the blur filter left too few).

    Raises
    ------
    FaceClusterError
        If anything fails; nothing is swallowed and nothing is half-written.
    """
    return await asyncio.to_thread(_run_clustering, pc, user_id)


def _run_clustering(pc: Pinecone | None, user_id: str) -> dict[str, Any]:
    service = _service(user_id, pc)
    service.fetch()
    faces = service.view().faces
    params = replace(service.defaults, refine=False)
    if len(faces) < params.min_cluster_size:
        return {"status": "skipped", "reason": "not enough vectors", "vectors": len(faces)}
    n_sharp = int(faces.sharp(params.blur_threshold).sum())
    if n_sharp < params.min_cluster_size:
        return {
            "status": "skipped",
            "reason": f"only {n_sharp} non-blurry vectors after blur filtering",
            "vectors": len(faces),
            "valid_vectors": n_sharp,
        }
    plan = service.plan(params)
    service.publish(plan)
    return {
        "status": "ok",
        "total_vectors": n_sharp,
        "clusters_found": int(plan.gauges["people"]),
        "noise_vectors": int(plan.gauges["noise"]),
    }


async def get_people(user_id: str) -> list[dict[str, Any]]:
    """List people, most faces first, then by id; hidden and merged ones are left out.

    Returns
    -------
    list of dict
        `cluster_id`, `name`, `face_count`, `representative_face_crop` ("" if there is none).
    """
    return await asyncio.to_thread(_get_people, user_id)


def _get_people(user_id: str) -> list[dict[str, Any]]:
    service = _service(user_id)
    return [
        {
            "cluster_id": card.id,
            "name": card.name,
            "face_count": card.n_faces,
            "representative_face_crop": crop_text(service, card.cover),
        }
        for card in service.view().people()
    ]


async def get_person_images(cluster_id: str, user_id: str) -> list[dict[str, str]]:
    """List a person's images, one per address; empty addresses are left out.

    Returns
    -------
    list of dict
        `url`, `thumb_url`, `folder`, `face_crop`; missing values are "".
    """
    return await asyncio.to_thread(_get_person_images, cluster_id, user_id)


def _get_person_images(cluster_id: str, user_id: str) -> list[dict[str, str]]:
    service = _service(user_id)
    view = service.view()
    if PersonId(cluster_id) not in view.number:
        return []
    found: dict[str, dict[str, str]] = {}
    for row in view.rows(PersonId(cluster_id)).tolist():
        url = view.faces.url[row]
        if url and url not in found:
            found[url] = {
                "url": url,
                "thumb_url": thumbnail_url(url),
                "folder": view.faces.folder[row],
                "face_crop": crop_text(service, view.faces.ids[row]),
            }
    return list(found.values())


async def rename_cluster(cluster_id: str, name: str, user_id: str) -> bool:
    """Name a person; "" clears the name. False where the user has no such person."""
    return await asyncio.to_thread(_rename_cluster, cluster_id, name, user_id)


def _rename_cluster(cluster_id: str, name: str, user_id: str) -> bool:
    service = _service(user_id)
    if PersonId(cluster_id) not in service.view().number:
        return False
    service.rename(PersonId(cluster_id), name)
    return True


async def search_cluster_aware(
    pc: Pinecone | None, image_map: Mapping[str, Mapping[str, Any]], user_id: str
) -> dict[str, dict[str, Any]]:
    """Widen search results to all images of the people found.

    Parameters
    ----------
    pc : pinecone.Pinecone | None
        As in `run_clustering`; faces that were fetched before are not fetched again.
    image_map : Mapping[str, Mapping]
        Image address to result; a result's `vector_id` says which face was found.
    user_id : str
        Whose faces.

    Returns
    -------
    dict
        The direct hits as they are, and an entry for each further image.
    """
    return await asyncio.to_thread(_search_cluster_aware, pc, image_map, user_id)


def _search_cluster_aware(
    pc: Pinecone | None, image_map: Mapping[str, Mapping[str, Any]], user_id: str
) -> dict[str, dict[str, Any]]:
    found = {url: dict(hit) for url, hit in image_map.items()}
    faces = [hit["vector_id"] for hit in found.values() if hit.get("vector_id")]
    if not faces:
        return found
    service = _service(user_id, pc)
    view = service.view()
    worst = min((_score(hit) for hit in found.values()), default=0.0)
    people = {view.owner(FaceId(face)) for face in faces if face in view.faces.row}
    for person in sorted(person for person in people if person is not None):
        for row in view.rows(person).tolist():
            url = view.faces.url[row]
            if url and url not in found:
                found[url] = _added(service, view, row, worst)
    return found


def _added(service: Service, view: View, row: int, worst: float) -> dict[str, Any]:
    score = max(worst - _STEP, _STEP)
    return {
        "fused_score": score if score < worst else worst - _STEP,
        "arcface_score": 0.0,
        "adaface_score": 0.0,
        "raw_score": 0.0,
        "face_crop": crop_text(service, view.faces.ids[row]),
        "folder": view.faces.folder[row] or "uncategorized",
        "vector_id": None,
        "cluster_expanded": True,
    }


def _score(hit: Mapping[str, Any]) -> float:
    value = hit.get("fused_score")
    return float(value) if isinstance(value, int | float) else 0.0


def _service(user_id: str, pc: Pinecone | None = None) -> Service:
    return _opened(load_settings(), user_id, pc)


# A library that is open follows what others write; opening it for each call would read it for each call.
@lru_cache(maxsize=_OPEN)
def _opened(settings: Settings, user_id: str, pc: Pinecone | None) -> Service:
    return open_service(settings, user_id, pinecone=pc)
