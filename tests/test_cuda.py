"""Products on a GPU: the same hierarchy as without one, or a sentence that says why not."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from facecluster.clustering import ThreadRunner, build_hierarchy
from facecluster.cuda import CudaRunner, checked_cupy
from facecluster.demo import synthetic_faces
from facecluster.errors import ConfigError


@pytest.fixture(autouse=True)
def look_again():
    checked_cupy.cache_clear()
    yield
    checked_cupy.cache_clear()


class Coarse(np.ndarray):
    """An array whose products round to the 10 bits of TF32 first."""

    def __matmul__(self, other):
        return _tf32(self) @ _tf32(other)


def _tf32(rows):
    bits = np.ascontiguousarray(rows).view(np.ndarray).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


def fake_cupy(kind):
    """What is used of CuPy, on numpy."""
    return SimpleNamespace(
        full=lambda shape, value: np.full(shape, value, np.float32).view(kind),
        asarray=lambda rows: np.asarray(rows).view(kind),
        asnumpy=np.asarray,
    )


def assert_same_hierarchy(runner):
    vectors = synthetic_faces(2_500, seed=3, style="crowd").vectors
    found = build_hierarchy(vectors, 3, runner=runner).to_arrays()
    for name, array in build_hierarchy(vectors, 3).to_arrays().items():
        if name != "pairs_examined":
            assert np.array_equal(found[name], array), name


def test_a_gpu_finds_the_same_hierarchy():
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    try:
        cupy.cuda.runtime.getDeviceCount()
    except RuntimeError as exc:
        pytest.skip(f"no NVIDIA GPU works here: {exc}")
    assert_same_hierarchy(CudaRunner())


def test_products_made_elsewhere_in_the_machine_find_the_same_hierarchy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(np.ndarray))
    assert_same_hierarchy(CudaRunner(ThreadRunner(2)))


def test_a_gpu_whose_products_are_coarser_than_float32_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(Coarse))
    with pytest.raises(ConfigError, match=r"off by 2e-04: they are coarser.*FACECLUSTER_DEVICE to cpu"):
        build_hierarchy(np.eye(40, 512, dtype=np.float32), 3, runner=CudaRunner())


def test_without_cupy_the_setting_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ConfigError, match=r"FACECLUSTER_DEVICE is cuda, but the package cupy is not installed"):
        build_hierarchy(np.eye(40, 512, dtype=np.float32), 3, runner=CudaRunner())


def test_a_gpu_that_does_not_work_is_named(monkeypatch):
    def broken(*_):
        raise RuntimeError("cudaErrorNoDevice")

    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(full=broken))
    with pytest.raises(ConfigError, match=r"the GPU does not work: cudaErrorNoDevice\. Nothing was computed"):
        build_hierarchy(np.eye(40, 512, dtype=np.float32), 3, runner=CudaRunner())
