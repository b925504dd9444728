"""A process whose disk fails on demand: `disk.c` stands before the calls, and each try is a fork of one warm process.

The warm process loads everything once; a try forks it, arms `disk.c`, does one act of `trust.acts` and says how it
ended, unless it was killed. Errors and kills reach real system calls of SQLite, of numpy and of our own code alike.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from trust.measure import ROOT

SOURCE = Path(__file__).with_name("disk.c")
OPEN, CREATE, WRITE, SYNC, NAME, READ = 1, 2, 4, 8, 16, 32
# Requests to a server, and those of them that change something there: counted in Python, as `disk.c` knows files only.
REQUEST, CHANGING_REQUEST = 64, 128
CHANGES = CREATE | WRITE | SYNC | NAME
COUNT, KILL, TEAR, FAIL_ONCE, FAIL_ON = range(5)

# What each error can be the answer to.
ERRORS = {
    errno.ENOSPC: CREATE | WRITE | SYNC,
    errno.EIO: OPEN | WRITE | SYNC | NAME | READ,
    errno.EROFS: CREATE | NAME,
    errno.EMFILE: OPEN,
    errno.EACCES: OPEN | NAME,
}


@dataclass(frozen=True)
class End:
    """How an act ended.

    Attributes
    ----------
    is_killed : bool
        It said no word.
    n : int
        Calls of the kinds that were counted; -1 where it was killed.
    error, message : str
        Class and text of what it raised; "" where nothing.
    is_ours : bool
        A `FaceClusterError`.
    hit : str
        The call that was answered differently, and its file.
    """

    is_killed: bool
    n: int = -1
    error: str = ""
    message: str = ""
    is_ours: bool = False
    hit: str = ""


@functools.cache
def built() -> Path:
    """`disk.c`, compiled; RuntimeError with the reason where that cannot be."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or not sys.platform.startswith("linux"):
        raise RuntimeError("no C compiler (cc) for trust/disk.c, or no Linux")
    target = Path(tempfile.mkdtemp(prefix="facecluster-disk-")) / "disk.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(target), str(SOURCE), "-ldl", "-pthread"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        raise RuntimeError(f"trust/disk.c does not compile: {made.stderr[:300]}")
    return target


class Nursery:
    """The warm process, asked over its standard input."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def do(
        self,
        act: str,
        library: Path,
        *,
        kinds: int = CHANGES,
        how: int = COUNT,
        at: int = -1,
        number: int = 0,
        record: Path | None = None,
        seconds: float = 0.0,
    ) -> End:
        """Do one act on a library in a process of its own, which is killed after so many `seconds`, 0 for never."""
        asked = {"act": act, "library": str(library), "kinds": kinds, "how": how, "at": at, "number": number}
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({**asked, "record": str(record or ""), "seconds": seconds}) + "\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise RuntimeError("the process that tries things ended")
        return End(**json.loads(line))


@contextmanager
def nursery(template: Path, **settings: str) -> Iterator[Nursery]:
    """A warm process that knows the acts, prepared on a copy of this library, with these settings beside the usual."""
    environment = {
        **os.environ,
        **settings,
        "LD_PRELOAD": str(built()),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "trust.nursery", str(template)],
        cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield Nursery(process)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


def arm(library: str, kinds: int, how: int, at: int, number: int, record: IO[bytes] | None) -> None:
    """From now on, count the calls about this folder, and answer the one of this number (from 0) in this way."""
    fd = record.fileno() if record is not None else -1
    shim().disk_arm(library.encode(), kinds, how, ctypes.c_long(at), number, fd)


def disarm() -> tuple[int, str]:
    """Pass everything on again; how many calls there were, and which was hit."""
    n, hit = int(shim().disk_counted()), shim().disk_hit().decode()
    shim().disk_arm(b"", 0, COUNT, ctypes.c_long(-1), 0, -1)
    return n, hit


@functools.cache
def shim() -> Any:
    """The functions of `disk.c` in this process, which was started with it."""
    found = ctypes.CDLL(None)
    found.disk_counted.restype = ctypes.c_long
    found.disk_hit.restype = ctypes.c_char_p
    return found
