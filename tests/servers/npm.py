"""Programs of npm that the tests stand on: each installed once, at its pinned version, beside the environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ENVIRONMENT = {**os.environ, "DO_NOT_TRACK": "1", "NO_COLOR": "1"}


class NotToBeHadError(Exception):
    """It cannot be had on this machine."""


def installed(package: str, version: str) -> Path:
    """The `node_modules` with this package, installed on the first call; skips where that cannot be."""
    try:
        return install(package, version)
    except NotToBeHadError as exc:
        pytest.skip(str(exc))


def install(package: str, version: str) -> Path:
    """The `node_modules` with this package, after installing it where it is not."""
    # Inside .venv, where git, lint and tests do not look.
    cache = Path(sys.prefix) / "oracles" / f"{package.lstrip('@').replace('/', '-')}-{version}"
    if (cache / "node_modules").exists():
        return cache / "node_modules"
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise NotToBeHadError(f"no {package}: Node and npm are not installed (Debian: apt-get install nodejs npm)")
    cache.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=cache.parent))
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", f"{package}@{version}"]
    done = subprocess.run(command, cwd=unfinished, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(unfinished)
        raise NotToBeHadError(f"no {package}: npm could not install it: {done.stderr.strip()[-300:]!r}")
    try:
        unfinished.rename(cache)
    except OSError:
        shutil.rmtree(unfinished)  # another process was faster
    return cache / "node_modules"


def say(package: str, version: str) -> None:
    """For scripts/test: where it is, or why what is tested on it is skipped."""
    try:
        sys.stdout.write(f"{install(package, version)}\n")
    except NotToBeHadError as exc:
        sys.exit(f"{exc}; the tests on it are skipped")
