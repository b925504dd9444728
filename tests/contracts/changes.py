"""Decisions, change sets and runs as the suite writes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from facecluster.model import ChangeSet, Decision, FaceId, PersonId, Question, Run

P1, P2, P3 = PersonId("p1"), PersonId("p2"), PersonId("p3")

LONG = "Maximiliane " * 16 + "of Thurn"  # 200 characters, as long as a name may be
ODD = (
    'O\'Neill "the" \\ ; drop table facts; --',
    "100 % & a,b=c?d#e+f/g",
    "{}[](),.eq.*",
    "null",
    "1e5",
    "Zoë",
    "Zoe\u0308",
    "👩‍👩‍👧 سارة",
    "\u200fעדי\u200e",
    "東京\u3000",
    " blank ",
    LONG,
)


def said(kind: str, subject: str, value: str | None, before: str | None = None, about: str = "") -> Decision:
    return Decision(kind, subject, about, value, before)  # type: ignore[arg-type]


def change(
    revision: int, *decisions: Decision, title: str = "named", run: Run | None = None, **more: object
) -> ChangeSet:
    return ChangeSet(revision, "anna", title, decisions, run, **more)  # type: ignore[arg-type]


def a_run(run_id: str = "r1", **changes: object) -> Run:
    values: dict[str, object] = {
        "id": run_id,
        "params": {"min_samples": 3, "epsilon": 0.35, "method": "eom", "refine": True},
        "fingerprint": "f" * 64,
        "faces": tuple(map(FaceId, ("a", "b", "z", "ö"))),
        "owner": (P1, None, P2, None),
        "label": np.array([0, -1, 1, -2], np.int32),
        "strength": np.array([1, 0, 1 / 3, 0], np.float32),
        "reason": {FaceId("ö"): "attached: „nearest“"},
        "questions": (Question("same", P1, P2, 7), Question("keep", P2, None, 1)),
    }
    return Run(**{**values, **changes})  # type: ignore[arg-type]


def plain_run(run_id: str, faces: Sequence[str], owners: Sequence[str | None]) -> Run:
    """A run without reasons and questions: each owner a cluster of their own."""
    number = {owner: i for i, owner in enumerate(sorted({o for o in owners if o is not None}))}
    return a_run(
        run_id,
        faces=tuple(map(FaceId, faces)),
        owner=tuple(None if o is None else PersonId(o) for o in owners),
        label=np.array([-1 if o is None else number[o] for o in owners], np.int32),
        strength=np.array([0.0 if o is None else 0.75 for o in owners], np.float32),
        reason={},
        questions=(),
    )


def publish(store, run: Run, *decisions: Decision, title: str = "Published") -> int:
    """Publish a run on whatever is there."""
    now = store.read()
    live = now.facts.get(("live_run", "", ""))
    moved = () if live == run.id else (said("live_run", "", run.id, live),)
    return store.apply(change(now.revision, *decisions, *moved, title=title, run=run))


def same_run(found: Run | None, wanted: Run) -> bool:
    """Field by field, arrays with their types."""
    return (
        found is not None
        and all(
            getattr(found, name) == getattr(wanted, name)
            for name in ("id", "params", "fingerprint", "faces", "owner", "reason", "questions")
        )
        and all(
            getattr(found, name).dtype == getattr(wanted, name).dtype
            and np.array_equal(getattr(found, name), getattr(wanted, name))
            for name in ("label", "strength")
        )
    )


def everything(store) -> tuple[object, ...]:
    """All that a store would tell, to compare."""
    now = store.read()
    run = None if now.run is None else (now.run.id, now.run.faces, now.run.owner, now.run.questions)
    return now.revision, dict(now.facts), run, list(store.runs()), list(store.history(100))
