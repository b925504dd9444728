"""A plan as other programs read it, and as a terminal shows it."""

from __future__ import annotations

from typing import Any

from facecluster.plan import Plan, refine_words

_SHOWN = 20


def plan_as_json(plan: Plan, published: bool) -> dict[str, Any]:
    """Everything but the faces; "source" only where they came from a hosted index."""
    lines: dict[str, list[dict[str, Any]]] = {kind: [] for kind in plan.counts()}
    for line in plan.lines:
        entry: dict[str, Any] = {
            "cluster_id": line.person,
            "name": line.name,
            "before": line.before,
            "after": line.after,
            "gained": len(line.gained),
            "lost": len(line.lost),
        }
        if line.others:
            entry["to"] = [{"cluster_id": person, "faces": n} for person, n in line.others]
        lines[line.kind].append(entry)
    names = {line.person: line.name for line in plan.lines}
    source = {"source": plan.params["source"]} if "source" in plan.params else {}
    return {
        "run": plan.run.id if published else None,
        **lines,
        "names_at_risk": [{"cluster_id": p, "name": names.get(p, "")} for p in plan.names_at_risk],
        "questions": [
            {"id": q.id, "kind": q.kind, "cluster_id": q.person, "other": q.other, "faces": q.n_faces}
            for q in plan.questions
        ],
        "gauges": dict(plan.gauges),
        **source,
    }


def plan_in_words(plan: Plan, published: bool) -> list[str]:
    """The same in lines of text, with the first of the people who change."""
    gauges, counts = plan.gauges, plan.counts()
    said = [
        f"{gauges['people']:,} people, {gauges['noise']:,} of {gauges['faces']:,} faces in nobody "
        f"({gauges['noise_share']:.1%}), {gauges['blurred']:,} too blurred, "
        f"{gauges['impossible_pairs']:,} impossible pairs, {gauges['names_at_risk']:,} names at risk.",
        ", ".join(f"{n:,} {kind}" for kind, n in counts.items()) + f", {len(plan.questions):,} questions.",
    ]
    if words := refine_words(gauges):
        kept = f"{gauges['kept_together']:.1%} of the faces in HDBSCAN's clusters stay together"
        said.append(f"Over HDBSCAN's clusters: {words} ({kept}).")
    changed = plan.lines.changed
    said += [
        f"  {line.kind:9} {line.name or line.person}: {line.before:,} → {line.after:,}" for line in changed[:_SHOWN]
    ]
    if len(changed) > _SHOWN:
        said.append(f"  and {len(changed) - _SHOWN:,} more (--json lists all)")
    said.append(f"Published as {plan.run.id}." if published else "Nothing was written (--publish writes it).")
    return said
