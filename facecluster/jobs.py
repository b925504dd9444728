"""Long work in a worker process: a job names a use case; progress, cancel and outcome are small files beside it.

A job's id is what it does, so two windows that ask for the same work watch one worker, and a page needs to remember
nothing. Whatever finished is saved by the use case itself, so a job that is started again goes on where it was.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Literal

from facecluster.errors import CancelledError, FaceClusterError, StoreDataError, StoreError

Status = Literal["none", "running", "done", "failed", "cancelled"]
Perform = Callable[[str, Mapping[str, Any], Callable[[float, str], None]], None]

_TELL_EVERY_S = 0.1
# Whoever only looks whether a lock is held holds it for an instant, so one refusal does not say that a worker runs.
_LOOKS, _LOOK_S = 3, 0.002
# A worker that told its outcome is given this long to leave before a new one starts.
_LEAVING_S = 5.0


@dataclass(frozen=True)
class JobState:
    """How far a job is. `fraction` in [0, 1]; `message` is its last word, or why it failed."""

    status: Status
    fraction: float = 0.0
    message: str = ""
    seconds: float = 0.0

    @property
    def seconds_left(self) -> float | None:
        """At the pace so far; None while that would be a guess."""
        if self.status != "running" or self.fraction < 0.05 or self.seconds < 1:
            return None
        return self.seconds * (1 - self.fraction) / self.fraction


class Jobs:
    """The jobs of one user's library."""

    def __init__(self, folder: Path, library: Path, user: str) -> None:
        self._folder = folder
        self._library = library
        self._user = user

    def start(self, use_case: str, **args: object) -> str:
        """Start a worker unless the same job is running; returns the job's id."""
        job = self.id(use_case, **args)
        try:
            return self._started(job, use_case, args)
        except OSError as exc:
            raise StoreError(
                f"The work cannot be started: {exc.strerror or exc} ({self._folder}). Nothing was changed. "
                "Make room on the disk, or mend the folder's rights, then try again."
            ) from exc

    def _started(self, job: str, use_case: str, args: Mapping[str, object]) -> str:
        self._folder.mkdir(parents=True, exist_ok=True)
        until = time.monotonic() + _LEAVING_S
        while (held := _try_lock(self._path(job, "lock"))) is None:
            found = _read(self._path(job, "state"))
            if (found is not None and found["status"] == "running") or time.monotonic() > until:
                return job
            time.sleep(_LOOK_S)
        with held:
            self._spawn(job, use_case, args, held.fileno())
        return job

    def _spawn(self, job: str, use_case: str, args: Mapping[str, object], lock: int) -> None:
        self._path(job, "cancel").unlink(missing_ok=True)
        spec = {"use_case": use_case, "args": args, "library": str(self._library), "user": self._user}
        _write(self._path(job, "job"), spec)
        _write(self._path(job, "state"), _state("running", 0.0, "Starting", 0, time.time()))
        with self._path(job, "log").open("wb") as log:
            worker = subprocess.Popen(  # noqa: S603  (our own interpreter and a path of our own making)
                [sys.executable, "-m", "facecluster", "work", str(self._path(job, "job"))],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **blas_environment()},
                start_new_session=True,
                pass_fds=(lock,),
            )
        threading.Thread(target=_collect, args=(worker, self._path(job, "log")), daemon=True).start()

    def start_once(self, use_case: str, **args: object) -> str:
        """Start a job unless it has an outcome that nobody has cleared: a page may ask at every run."""
        job = self.id(use_case, **args)
        return job if self.state(job).status != "none" else self.start(use_case, **args)

    def id(self, use_case: str, **args: object) -> str:
        """The id of a job that does this."""
        text = json.dumps([use_case, args, self._user, str(self._library)], sort_keys=True)
        return f"{use_case}-{sha256(text.encode()).hexdigest()[:12]}"

    def state(self, job: str) -> JobState:
        """How far a job is; a worker that died without a word counts as failed."""
        found = _read(self._path(job, "state"))
        if found is not None and found["status"] == "running" and not self._is_running(job):
            # Between the two looks it may have ended, or another worker begun: either has written since.
            again = _read(self._path(job, "state"))
            if again == found:
                return self._died(job, found)
            found = again
        if found is None:
            return JobState("none")
        return JobState(found["status"], found["fraction"], found["message"], time.time() - found["started"])

    def _died(self, job: str, last: Mapping[str, Any]) -> JobState:
        log = self._path(job, "log")
        tail = log.read_text("utf-8", "replace").strip().splitlines() if log.is_file() else []
        why = f": {tail[-1]}" if tail else ""
        return JobState(
            "failed",
            last["fraction"],
            f"The worker stopped without finishing{why}. Nothing was changed. Start it again.",
        )

    def _is_running(self, job: str) -> bool:
        try:
            held = _try_lock(self._path(job, "lock"))
        except FileNotFoundError:
            return False
        if held is not None:
            held.close()
        return held is None

    def cancel(self, job: str) -> None:
        """Ask a job to stop; it does at its next word, and leaves things as they were."""
        self._path(job, "cancel").touch()

    def forget(self, job: str) -> None:
        """Clear the outcome of a job that is over."""
        if self.state(job).status != "running":
            for suffix in ("job", "state", "cancel", "log"):  # not the lock: somebody may just be taking it
                self._path(job, suffix).unlink(missing_ok=True)

    def clear(self, patience_s: float) -> None:
        """Stop everything that runs, and clear the outcomes of all jobs that are over by then."""
        # By whatever is left of a job: somebody may have been killed while clearing it.
        jobs = sorted({path.name.split(".")[0] for path in self._folder.glob("*")})
        end = time.monotonic() + patience_s
        for job in jobs:
            if self._is_running(job):
                self.cancel(job)
        while any(self._is_running(job) for job in jobs) and time.monotonic() < end:
            time.sleep(_LEAVING_S / 100)
        for job in jobs:
            self.forget(job)
            if not self._is_running(job):
                for aside in self._folder.glob(f"{job}.*.tmp"):
                    aside.unlink(missing_ok=True)

    def _path(self, job: str, suffix: str) -> Path:
        return self._folder / f"{job}.{suffix}"


def _collect(worker: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for a worker, so that no zombie stays. Whoever crashes or is killed says no word: the log says by what."""
    code = worker.wait()
    if code < 0 and log.is_file() and not log.stat().st_size:
        log.write_text(f"ended by signal {-code} ({signal.strsignal(-code)})\n", "utf-8")


def read_spec(path: Path) -> dict[str, Any]:
    """What a job file asks for: use_case, args, library, user."""
    found = _read(path)
    if found is None:
        raise StoreDataError(f"There is no job {path}. Nothing was done. Start it again from the page.")
    return found


def work(path: Path, perform: Perform) -> None:
    """Do one job in this process, telling how far it is; the outcome is in its state file."""
    spec = read_spec(path)
    state, cancel = path.with_suffix(".state"), path.with_suffix(".cancel")
    started = time.time()
    last = [0.0, 0.0]

    def tell(fraction: float, message: str) -> None:
        now = time.monotonic()
        if cancel.exists():
            raise CancelledError("Stopped. Nothing was changed.")
        if now - last[0] >= _TELL_EVERY_S or fraction >= 1.0:
            last[:] = [now, fraction]
            with suppress(OSError):  # a full disk stops the work itself where it matters, not its progress bar
                _write(state, _state("running", fraction, message, os.getpid(), started))

    signal.signal(signal.SIGTERM, lambda *_: cancel.touch())
    _write(state, _state("running", 0.0, "Starting", os.getpid(), started))
    try:
        perform(spec["use_case"], spec["args"], tell)
    except CancelledError as exc:
        _write(state, _state("cancelled", last[1], str(exc), os.getpid(), started))
    except FaceClusterError as exc:
        _write(state, _state("failed", last[1], str(exc), os.getpid(), started))
    else:
        _write(state, _state("done", 1.0, "Done", os.getpid(), started))


def blas_environment() -> dict[str, str]:
    """Variables that numpy must find when it is loaded.

    numpy's OpenBLAS takes kernels of 2013 on CPUs it does not know, at half the speed; where the CPU says that it has
    AVX-512, it is told so. What the user has set stays.
    """
    if "OPENBLAS_CORETYPE" in os.environ:
        return {}
    try:
        flags = Path("/proc/cpuinfo").read_text("ascii", "replace")
    except OSError:
        return {}
    needed = {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"}
    line = next((line for line in flags.splitlines() if line.startswith("flags")), "")
    return {"OPENBLAS_CORETYPE": "SKYLAKEX"} if needed <= set(line.split()) else {}


def _state(status: Status, fraction: float, message: str, pid: int, started: float) -> dict[str, object]:
    return {"status": status, "fraction": fraction, "message": message, "pid": pid, "started": started}


def _write(path: Path, value: Mapping[str, object]) -> None:
    aside = path.with_suffix(f"{path.suffix}.{os.getpid()}.tmp")
    aside.write_text(json.dumps(value), "utf-8")
    aside.replace(path)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):  # a machine without power leaves an empty file, or one of zeros
        return None
    return found if isinstance(found, dict) else None


def _try_lock(path: Path) -> IO[bytes] | None:
    """The open file with its lock, None where a worker holds it.

    The worker inherits the lock and the system lets go of it when the worker ends, however it ends. A process number
    would say less: after a restart, in a container above all, somebody else has it.
    """
    for _ in range(_LOOKS):
        file = path.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            time.sleep(_LOOK_S)
        else:
            return file
    return None
