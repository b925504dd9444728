"""Try what is promised about safety, for so many minutes, and print what held: `scripts/trust --minutes 480`."""

from __future__ import annotations

import argparse
import importlib
import json
import math
import pkgutil
import time
from dataclasses import asdict
from datetime import UTC, datetime

from benchmarks.report import machine
from trust.measure import ROOT, Found, Measure

RESULTS = ROOT / "trust" / "results.json"
PAGE = ROOT / "docs" / "trust.md"
_BEGIN, _END = "<!-- table -->", "<!-- end of the table -->"
_FULL_MINUTES = 480


def main() -> None:
    known = {measure.id: measure for measure in measures()}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help=f"in all; the goals are for {_FULL_MINUTES}")
    parser.add_argument("--only", nargs="*", choices=list(known), default=list(known), help="promises to try")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="to repeat a run")
    parser.add_argument("--page", action="store_true", help=f"try nothing: the kept results into {PAGE.name}")
    args = parser.parse_args()
    kept = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    if not args.page:
        chosen = [known[name] for name in args.only]
        shares = sum(measure.share for measure in chosen) or 1.0
        for measure in chosen:
            seconds = args.minutes * 60 * measure.share / shares if measure.share else math.inf
            kept[measure.id] = tried(measure, args.seed, seconds)
            RESULTS.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")  # at once: a run may be broken off
    write_page(known, kept)
    if any(kept.get(name, {}).get("failures") for name in args.only):
        raise SystemExit(1)


def measures() -> list[Measure]:
    """All promises, in order."""
    modules = [
        importlib.import_module(f"trust.{part.name}")
        for part in pkgutil.iter_modules([str(ROOT / "trust")])
        if part.name != "__main__"
    ]
    found = [measure for module in modules for measure in getattr(module, "MEASURES", ())]
    return sorted(found, key=lambda m: (int("".join(filter(str.isdigit, m.id))), m.id))


def tried(measure: Measure, seed: int, seconds: float) -> dict[str, object]:
    """One promise, tried and printed."""
    start = time.monotonic()
    try:
        found = measure.run(seed, seconds)
    except Exception as exc:  # noqa: BLE001  what breaks is a failure of its promise, and the others are still to be tried
        found = Found(failures=[f"broke off: {type(exc).__name__}: {exc}"])
    found.seconds = time.monotonic() - start
    record = {**asdict(found), "seed": seed, "at": datetime.now(UTC).date().isoformat(), "machine": machine()}
    print(line(measure, record), flush=True)
    for failure in found.failures[:20]:
        print(f"     {failure}", flush=True)
    return record


def bound(record: dict[str, object]) -> str:
    """The 95 % bound on how often it fails where it never did: three in as many as were tried."""
    n, failures = int(str(record["n"])), record["failures"]
    return "" if failures or not n else f"{3 / n:.2g}"


def line(measure: Measure, record: dict[str, object]) -> str:
    """One line for the terminal."""
    if record["not_run"]:
        return f"{measure.id:5} {measure.what}: not run: {record['not_run']}"
    failures = record["failures"]
    assert isinstance(failures, list)
    said = f"{int(str(record['n'])):,} of {measure.goal:,} {measure.unit}, {len(failures):,} failed"
    return f"{measure.id:5} {measure.what}: {said}, {float(str(record['seconds'])):.0f} s. {record['note']}".rstrip()


def write_page(known: dict[str, Measure], kept: dict[str, dict[str, object]]) -> None:
    """Put the table into the page."""
    rows = [
        "| | promise | tried | goal | failed | 95 % bound | seed | time | day | |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for measure in known.values():
        record = kept.get(measure.id)
        if record is None or record["not_run"]:
            why = record["not_run"] if record else "not run"
            rows.append(
                f"| {measure.id} | {measure.what} | not run | {measure.goal:,} {measure.unit} | | | | | | {why} |"
            )
            continue
        n, failures = int(str(record["n"])), record["failures"]
        assert isinstance(failures, list)
        tried_all = f"{n:,}" + ("" if n >= measure.goal else ", fewer than aimed at")
        rows.append(
            f"| {measure.id} | {measure.what} | {tried_all} | {measure.goal:,} {measure.unit} | {len(failures):,} | "
            f"{bound(record)} | {record['seed']} | {float(str(record['seconds'])):,.0f} s | {record['at']} | "
            f"{record['note']} |"
        )
    machines = sorted({str(record["machine"]) for record in kept.values()})
    text = PAGE.read_text("utf-8")
    before, rest = text.split(_BEGIN)
    after = rest.split(_END)[1]
    table = "\n".join([_BEGIN, *rows, "", *(f"Machine: {name}." for name in machines), _END])
    PAGE.write_text(before + table + after, "utf-8")


if __name__ == "__main__":
    try:
        main()
    finally:
        from contracts.builders import SERVERS

        SERVERS.close()  # their threads would keep the process from ending
