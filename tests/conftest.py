"""What every test stands on: no setting of this machine, a library of its own, small faces."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # `pytest` alone does not put the checkout on the path; `python -m pytest` does
    sys.path.insert(0, str(ROOT))

from facecluster.model import FaceBatch  # noqa: E402

PREFIXES = ("FACECLUSTER_", "CLUSTER_", "CLUSTERING_", "FACE_SEARCH_", "SUPABASE_", "PINECONE_", "IDX_")
KEPT = {"FACECLUSTER_REAL_FACES"}


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [n for n in os.environ if n.upper().startswith(PREFIXES) and n not in KEPT]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FACECLUSTER_LIBRARY", str(tmp_path / "library"))


@pytest.fixture
def make_batch() -> Callable[..., FaceBatch]:
    """Builder of faces with small unit vectors: `make_batch(["a", "b"], photo=["p1", "p2"])`."""

    def build(
        ids: Sequence[str], vectors: object = None, seed: int = 0, dimension: int = 8, **columns: Sequence[object]
    ) -> FaceBatch:
        n = len(ids)
        if vectors is None:
            drawn = np.random.default_rng(seed).normal(size=(n, dimension))
            vectors = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
        given: dict[str, object] = {
            name: tuple(columns.pop(name, ("",) * n)) for name in ("photo", "url", "folder", "crop_urls")
        }
        given["crops"] = tuple(columns.pop("crops", (b"",) * n))
        given["blur_score"] = np.asarray(columns.pop("blur_score", np.full(n, np.nan)), np.float32)
        given["boxes"] = np.asarray(columns.pop("boxes", np.full((n, 4), np.nan)), np.float32)
        assert not columns, f"unknown columns {sorted(columns)}"
        return FaceBatch(ids=tuple(ids), vectors=np.asarray(vectors, np.float32), **given)  # type: ignore[arg-type]

    return build


FIGURES: list[str] = []


@pytest.fixture(scope="session")
def tell() -> Callable[[str], None]:
    """Print a figure that a test found, at the end of all tests."""
    return FIGURES.append


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist hands over what it was told: only the process that started it prints."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["figures"] = FIGURES


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    FIGURES.extend(getattr(node, "workeroutput", {}).get("figures", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FIGURES:
        terminalreporter.section("what the tests found")
        terminalreporter.write_line("\n".join(dict.fromkeys(FIGURES)))


@pytest.fixture(scope="session")
def real_faces() -> Path:
    """File of real faces, where this machine has one; the repository never does."""
    named = os.environ.get("FACECLUSTER_REAL_FACES", "")
    if not named:
        pytest.skip("FACECLUSTER_REAL_FACES names no file of real faces")
    return Path(named)
