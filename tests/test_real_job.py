"""The whole job on real faces, from the command line, where this machine has some."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def facecluster(tmp_path):
    environment = {**os.environ, "FACECLUSTER_LIBRARY": str(tmp_path / "library")}

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "facecluster", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_three_names_are_on_the_same_faces_after_clustering_anew(real_faces, facecluster):
    facecluster("import", str(real_faces))
    facecluster("recluster", "--publish")
    names = ["Ada", "Grace", "Zoë"]
    for person, name in zip(json.loads(facecluster("people", "--json")), names, strict=False):
        facecluster("rename", person["cluster_id"], name)
    before = json.loads(facecluster("export", "--json"))["faces"]
    plan = json.loads(facecluster("recluster", "--min-samples", "2", "--min-cluster-size", "6", "--publish", "--json"))
    assert plan["run"]
    assert plan["names_at_risk"] == []
    after = json.loads(facecluster("export", "--json"))["faces"]
    for name in names:
        had = {face["id"] for face in before if face["name"] == name}
        has = {face["id"] for face in after if face["name"] == name}
        assert len(had & has) > 0.9 * len(had), f"{name} is on other faces"
    changed = {b["cluster_id"] for a, b in zip(after, before, strict=True) if a["cluster_id"] != b["cluster_id"]}
    assert len(changed) > 50, "other people did change"
