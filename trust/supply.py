"""R24: what is installed is what was locked, the bill of materials names it, and no vulnerability of it is known."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from trust.measure import ROOT, Found, Measure

NAMES = ("requirements", "requirements-dev")
# Below these, vulnerabilities are known that a face library is open to (docs/trust.md).
FLOORS = {"streamlit": "1.54.0", "pillow": "12.3.0"}
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_AUDIT_S = 120.0


@dataclass(frozen=True)
class Locked:
    """A line of a lock: the version of a package, where it is wanted, and the SHA-256 of each of its files."""

    name: str
    version: str
    marker: Marker | None
    hashes: tuple[str, ...]

    @property
    def is_wanted_here(self) -> bool:
        """On this system and this Python. pip, which the audit needs, is what installs the rest: it came before."""
        return self.name != "pip" and (self.marker is None or self.marker.evaluate())


def read_lock(path: Path) -> list[Locked]:
    """The packages of a lock."""
    found = []
    for line in path.read_text("utf-8").replace("\\\n", " ").splitlines():
        text = line.split(" #")[0].strip()
        if not text or text.startswith("#"):
            continue
        wanted = Requirement(text.split("--hash")[0].strip())
        pins = [part.version for part in wanted.specifier if part.operator == "=="]
        if len(pins) != 1 or len(wanted.specifier) != 1 or wanted.url:
            raise ValueError(f"{path.name}: {text.split(' ')[0]} is not locked to a version")
        found.append(Locked(canonicalize_name(wanted.name), pins[0], wanted.marker, tuple(_HASH.findall(text))))
    return found


def read_requirements(path: Path) -> dict[str, str]:
    """Names and versions of a file of requirements and of those that it takes in."""
    found: dict[str, str] = {}
    for line in path.read_text("utf-8").splitlines():
        text = line.split("#")[0].strip()
        if text.startswith("-r "):
            found |= read_requirements(path.with_name(text[3:].strip()))
        elif text:
            wanted = Requirement(text)
            found[canonicalize_name(wanted.name)] = str(wanted.specifier).removeprefix("==")
    return found


def disagreements(requirements: Path, lock: Path) -> list[str]:
    """How a lock is not one of these requirements, [] where it is."""
    locked = read_lock(lock)
    by_name: dict[str, set[str]] = {}
    for one in locked:
        by_name.setdefault(one.name, set()).add(one.version)
    wrong = [f"{one.name} has no hash in {lock.name}" for one in locked if not one.hashes]
    for name, pinned in read_requirements(requirements).items():
        if by_name.get(name) != {pinned}:
            there = ", ".join(sorted(by_name.get(name, set()))) or "nothing"
            wrong.append(f"{requirements.name} has {name} {pinned}, and {lock.name} has {there}: run scripts/lock")
    return wrong


def as_locked(seed: int, seconds: float) -> Found:
    """Every lock is of its requirements; every package here is the locked one; the bill of materials names them all."""
    del seed, seconds
    found = Found()
    for name in NAMES:
        lock = ROOT / f"{name}.lock"
        locked = read_lock(lock)
        found.n += len(locked)
        found.failures += disagreements(ROOT / f"{name}.txt", lock)
        found.failures += [wrong for one in locked if one.is_wanted_here and (wrong := _not_here(one))]
        for floor in sorted(set(FLOORS) & {one.name for one in locked}):
            if any(one.name == floor and Version(one.version) < Version(FLOORS[floor]) for one in locked):
                found.failures.append(f"{floor} is older than {FLOORS[floor]}")
    bill = json.loads(bill_of_materials())
    listed = {(canonicalize_name(part["name"]), part["version"]) for part in bill["components"]}
    wanted = {(one.name, one.version) for one in read_lock(ROOT / "requirements.lock")}
    found.failures += [f"the bill of materials and the lock differ in {name}" for name, _ in sorted(listed ^ wanted)]
    found.note = f"CycloneDX {bill['specVersion']} with {len(listed):,} components"
    return found


def _not_here(one: Locked) -> str:
    try:
        here = version(one.name)
    except PackageNotFoundError:
        return f"{one.name} is locked and not installed"
    return "" if Version(here) == Version(one.version) else f"{one.name} {here} is installed, {one.version} is locked"


def bill_of_materials(is_validated: bool = False) -> str:
    """What requirements.lock installs, as CycloneDX JSON; the same for the same lock; validating takes long."""
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", "--pyproject", "pyproject.toml"]
    return subprocess.run(
        [
            *command,
            "--validate" if is_validated else "--no-validate",
            "--output-reproducible",
            "--of",
            "JSON",
            "requirements.lock",
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def audit(seed: int, seconds: float) -> Found:
    """Ask PyPI's advisories about every locked package. One that could not be looked up was not audited."""
    del seed, seconds
    found = Found(note=f"pip-audit, advisories of {datetime.now(UTC).date()}")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "audit.json"
        command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
        try:
            done = subprocess.run(
                [*command, "-r", "requirements.lock", "-f", "json", "-o", str(out)],
                cwd=ROOT,
                check=False,
                capture_output=True,
                text=True,
                timeout=_AUDIT_S,
            )
        except subprocess.TimeoutExpired:
            return Found(not_run=f"the advisories did not answer within {_AUDIT_S:.0f} s")
        if not out.exists():
            last = (done.stderr.strip().splitlines() or ["no word"])[-1]
            return Found(not_run=f"the advisories cannot be reached from here: {last[:120]}")
        return judged(json.loads(out.read_text("utf-8")), found)


def judged(report: dict[str, object], found: Found) -> Found:
    """What a report of pip-audit says; it calls it well when it could look up nothing, and we do not."""
    packages = report["dependencies"]
    assert isinstance(packages, list)
    skipped = [str(one["name"]) for one in packages if "skip_reason" in one]
    if skipped:
        return Found(not_run=f"no advisories could be had for {len(skipped)} of {len(packages)} packages from here")
    found.n = len(packages)
    found.failures = [f"{one['name']} {one['version']}: {bad['id']}" for one in packages for bad in one["vulns"]]
    return found


MEASURES = [
    Measure(
        "R24a", "What is installed is locked by hash, and the bill of materials lists it", "packages", 150, 0, as_locked
    ),
    Measure("R24b", "No vulnerability is known of what is installed", "packages", 70, 0, audit),
]


def main(folder: Path) -> None:
    """For a release: write the bill of materials and the audit, and fail where there is anything to say."""
    (folder / "facecluster.cdx.json").write_text(bill_of_materials(is_validated=True), "utf-8")
    locked, audited = as_locked(0, 0), audit(0, 0)
    said = [*locked.failures, *audited.failures, *([f"not audited: {audited.not_run}"] if audited.not_run else [])]
    report = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "packages": audited.n, "found": said}
    (folder / "audit.json").write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    print("\n".join(said or [f"{audited.n} packages, nothing known"]))
    raise SystemExit(1 if said else 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
