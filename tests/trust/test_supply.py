"""The short form of R24, and that other bytes than the locked ones are not installed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from trust import supply
from trust.measure import ROOT, Found


def test_what_is_installed_is_what_is_locked(tell):
    found = supply.as_locked(0, 0)
    assert found.failures == []
    assert found.n > 140
    tell(f"R24a: {found.n} packages locked, {found.note}")


@pytest.mark.parametrize("name", supply.NAMES)
def test_a_lock_of_other_requirements_is_seen(name, tmp_path):
    assert supply.disagreements(ROOT / f"{name}.txt", ROOT / f"{name}.lock") == []
    text = (ROOT / f"{name}.txt").read_text("utf-8")
    (tmp_path / "requirements.txt").write_text((ROOT / "requirements.txt").read_text("utf-8"))
    changed = tmp_path / f"{name}.txt"
    changed.write_text(text + "\nleft-pad==1.0.0\n", "utf-8")
    assert len(supply.disagreements(changed, ROOT / f"{name}.lock")) == 1
    lock = tmp_path / "one.lock"
    lock.write_text((ROOT / f"{name}.lock").read_text("utf-8") + "left-pad==1.0.0\n", "utf-8")
    assert supply.disagreements(changed, lock) == ["left-pad has no hash in one.lock"]


def test_an_audit_that_could_look_nothing_up_is_not_one_that_found_nothing():
    known = {"name": "a", "version": "1", "vulns": []}
    assert supply.judged({"dependencies": [known, {"name": "b", "skip_reason": "not found"}]}, Found()).not_run
    well = supply.judged({"dependencies": [known]}, Found())
    assert (well.n, well.failures, well.not_run) == (1, [], "")
    bad = supply.judged({"dependencies": [known | {"vulns": [{"id": "CVE-1"}]}]}, Found())
    assert bad.failures == ["a 1: CVE-1"]


def test_no_package_with_other_bytes_than_the_locked_ones_is_installed(tmp_path):
    """`make_environment` of scripts/environment, with a package of our own instead of an index."""
    wheel = tmp_path / "tiny_thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_thing.py", "here = True\n")
        archive.writestr("tiny_thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.0\n")
        archive.writestr(
            "tiny_thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tiny_thing-1.0.dist-info/RECORD", "")
    (tmp_path / "requirements.txt").write_text("tiny-thing==1.0\n")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()

    def install(sha256: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "requirements.lock").write_text(f"tiny-thing==1.0 --hash=sha256:{sha256}\n")
        return subprocess.run(
            [
                "bash",
                "-euc",
                f". '{ROOT}/scripts/environment'; make_environment env requirements.txt; "
                "env/bin/python -c 'import tiny_thing'",
            ],
            cwd=tmp_path,
            env={**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": os.devnull},
            capture_output=True,
            text=True,
            check=False,
        )

    refused = install("0" * 64)
    assert refused.returncode == 1
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in refused.stderr
    assert "pip could not install requirements.lock" in refused.stderr
    assert not (tmp_path / "env" / "installed-requirements.txt").exists()
    taken = install(digest)
    assert taken.returncode == 0, taken.stderr
    assert Path(tmp_path / "env" / "installed-requirements.txt").exists()
