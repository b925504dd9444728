"""Decodes pictures in kept processes of their own, so that whatever a decoder does, whoever asks lives on.

A picture at which the process dies, or that takes too long, is shown as the drawn head.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from facecluster import images
from facecluster.decoding_child import CHECK, CPU_S, FACE, HEAD, SKETCH, SQUARE, read_part, write_parts
from facecluster.errors import WorkersError
from facecluster.images import FaceInPhoto

# Two: a page asks for its pictures by several threads, and a third process was no faster on two cores.
_MOST = 2
# Beside the processor time that a picture may take, for a machine that does other things as well, and the first start.
_PATIENCE_S = 5.0
# A call holds at most so much, which bounds what is waiting in both processes.
_PICTURES, _BYTES = 64, 4_000_000
# Faces of one photo that are drawn from their pictures; a crowd's sketch stays within the time of a picture.
_MOST_IN_SKETCH = 60


class _DiedError(Exception):
    """The process ended, or was ended, before it answered."""


class _Child:
    """One process that decodes."""

    def __init__(self) -> None:
        root = str(Path(__file__).resolve().parent.parent)
        # Not our environment: it may hold keys, and a decoder that was taken over would read them there.
        kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH") if name in os.environ}
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "facecluster.decoding_child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=kept | {"PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1"},
                cwd=root,
            )
        except OSError as exc:
            raise WorkersError(
                f"The process that decodes pictures cannot be started: {exc.strerror}. No picture was read, and "
                "nothing was changed. See whether this machine has room for another process."
            ) from exc

    def ask(self, what: int, size: int, parts: Sequence[bytes]) -> list[bytes]:
        """Its answer; raises `_DiedError` where none comes in time."""
        lock, is_over = threading.Lock(), False

        def end() -> None:
            with lock:  # never after the answer: the process is somebody else's by then
                if not is_over:
                    self.process.kill()

        timer = threading.Timer(_PATIENCE_S + CPU_S * len(parts), end)
        timer.daemon = True
        timer.start()
        try:
            write_parts(self._pipe(self.process.stdin), HEAD.pack(what, size, len(parts)), parts)
            n = 1 if what == SKETCH else len(parts)
            return [read_part(self._pipe(self.process.stdout)) for _ in range(n)]
        except (EOFError, OSError) as exc:
            self.close()
            raise _DiedError from exc
        finally:
            with lock:
                is_over = True
            timer.cancel()

    @staticmethod
    def _pipe(pipe: object) -> BinaryIO:
        assert pipe is not None  # noqa: S101  (made with pipes)
        return pipe  # type: ignore[return-value]

    def is_alive(self) -> bool:
        """Whether it can be asked: the system may have ended it while nobody did."""
        return self.process.poll() is None

    def close(self) -> None:
        """End it."""
        self.process.kill()
        with suppress(OSError):  # what was not written yet goes nowhere
            self._pipe(self.process.stdin).close()
        self._pipe(self.process.stdout).close()
        self.process.wait()


class _Pool:
    """Processes that nobody asks at the moment, and how many there may be."""

    def __init__(self) -> None:
        self._idle: list[_Child] = []
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(_MOST)

    @contextmanager
    def child(self) -> Iterator[_Child]:
        """One of them, for the length of the block; it is kept afterwards unless it died."""
        with self._places:
            with self._lock:
                child = self._idle.pop() if self._idle else None
            if child is not None and not child.is_alive():
                child.close()
                child = None
            child = child or _Child()
            try:
                yield child
            except BaseException:
                child.close()
                raise
            with self._lock:
                self._idle.append(child)

    def close(self) -> None:
        """End those that nobody asks."""
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle:
            child.close()


_pool = _Pool()
atexit.register(lambda: _pool.close())


def _start_anew() -> None:
    """In a process that was forked: two that talk through one pipe would mix up their pictures."""
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)


def square(crop: bytes, size: int) -> bytes:
    """JPEG of `size` x `size` pixels: the middle of a picture, or the drawn head where it cannot be read."""
    return squares([crop], size)[0]


def squares(crops: Sequence[bytes], size: int) -> list[bytes]:
    """The same for many."""
    try:
        made = _each(SQUARE, [crop if not images.too_long(crop) else b"" for crop in crops], size)
    except WorkersError:  # a page without pictures is better than none
        made = [None] * len(crops)
    return [one if one is not None else images.square(b"", size) for one in made]


def refusals(crops: Sequence[bytes]) -> list[str]:
    """Why each of some pictures cannot be taken, "" where it can or is empty.

    Raises
    ------
    WorkersError
        If no process can be started to look at them.
    """
    reasons = [images.too_long(crop) for crop in crops]
    sent = [crop for crop, reason in zip(crops, reasons, strict=True) if crop and not reason]
    told = iter(_each(CHECK, sent, 0))
    for at, crop in enumerate(crops):
        if crop and not reasons[at]:
            one = next(told)
            reasons[at] = "the decoder broke down over the picture" if one is None else one.decode("utf-8")
    return reasons


def photo_sketch(faces: Sequence[FaceInPhoto], width: int = 900) -> bytes:
    """As `images.photo_sketch`; with drawn heads where a picture cannot be read."""
    faces = sorted(faces, key=lambda face: face.is_meant)[-_MOST_IN_SKETCH:]  # the one that is meant lies on top
    parts = [FACE.pack(*face.box, face.is_meant) + (b"" if images.too_long(face.crop) else face.crop) for face in faces]
    try:
        with _pool.child() as child:
            return child.ask(SKETCH, width, parts)[0]
    except (_DiedError, WorkersError):
        return images.photo_sketch([FaceInPhoto(face.box, b"", face.is_meant) for face in faces], width)


def _each(what: int, crops: Sequence[bytes], size: int) -> list[bytes | None]:
    """What becomes of each picture, some at a time; None for one at which the process died."""
    made: list[bytes | None] = []
    for some in _batches(crops):
        try:
            with _pool.child() as child:
                made += child.ask(what, size, some)
        except _DiedError:
            made += [_alone(what, crop, size) for crop in some] if len(some) > 1 else [None]
    return made


def _alone(what: int, crop: bytes, size: int) -> bytes | None:
    try:
        with _pool.child() as child:
            return child.ask(what, size, [crop])[0]
    except _DiedError:
        return None


def _batches(crops: Sequence[bytes]) -> Iterator[list[bytes]]:
    some: list[bytes] = []
    for crop in crops:
        if some and (len(some) == _PICTURES or sum(map(len, some)) + len(crop) > _BYTES):
            yield some
            some = []
        some.append(crop)
    if some:
        yield some
