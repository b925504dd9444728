"""Results that are kept, and the likely next ones made while nobody waits."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Generic, TypeVar

from facecluster.errors import FaceClusterError

V = TypeVar("V")
# Before each: a hand may be on its way. And it waits for as long as the one before took: where nobody came for that
# long, nobody is likely to come while this one is made.
_PAUSE_S = 0.2
_IDLE_S = 60.0

_lock = threading.Lock()
_n_drawn = 0  # pages, at this moment
_drawn_at = 0.0


@contextmanager
def page_is_drawn() -> Iterator[None]:
    """Within, somebody waits for a page or a picture of one: nobody's next step is worth another's time."""
    global _n_drawn, _drawn_at
    with _lock:
        _n_drawn += 1
    try:
        yield
    finally:
        with _lock:
            _n_drawn -= 1
            _drawn_at = time.monotonic()


def _is_quiet(seconds: float) -> bool:
    return _n_drawn == 0 and time.monotonic() - _drawn_at >= seconds


class Kept(Generic[V]):
    """Results by key, each made once however many ask, the longest unused given up first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: OrderedDict[str, Future[V]] = OrderedDict()
        self._next: list[tuple[str, Callable[[], V]]] = []
        self._lock = threading.Condition()
        self._worker: threading.Thread | None = None

    def get(self, key: str, make: Callable[[], V]) -> V:
        """The result of a key, made now where it is not kept; what was to be made ahead gives way."""
        with self._lock:
            self._next = []
        return self._made(key, make)

    def forget(self, is_past: Callable[[str], bool]) -> None:
        """Give up the results of some keys, which nobody can ask for again."""
        with self._lock:
            for key in [key for key, one in self._found.items() if one.done() and is_past(key)]:
                del self._found[key]

    def ahead(self, likely: Sequence[tuple[str, Callable[[], V]]]) -> None:
        """Make these in a thread, one after the other, unless somebody asks for something meanwhile."""
        with self._lock:
            self._next = [one for one in likely if one[0] not in self._found]
            if self._next and self._worker is None:
                self._worker = threading.Thread(target=self._work, name="facecluster-ahead", daemon=True)
                self._worker.start()
            self._lock.notify()

    def _work(self) -> None:
        try:
            self._go_on()
        finally:
            with self._lock:  # also after a bug, whose traceback stands in the log: another goes on from here
                if self._worker is threading.current_thread():
                    self._worker = None

    def _go_on(self) -> None:
        pause_s = _PAUSE_S
        while True:
            with self._lock:
                while not self._next:
                    if not self._lock.wait(_IDLE_S):
                        self._worker = None  # under the lock: who asks from now on starts another
                        return
                if self._lock.wait(_PAUSE_S) or not self._next or not _is_quiet(pause_s):
                    continue  # something else is wanted
                key, make = self._next.pop(0)
            began = time.monotonic()
            # Who asks for it gets the same error, and says it.
            with suppress(FaceClusterError, OSError):
                self._made(key, make)
                pause_s = max(_PAUSE_S, time.monotonic() - began)

    def _made(self, key: str, make: Callable[[], V]) -> V:
        with self._lock:
            found = self._found.get(key)
            is_mine = found is None
            if found is None:
                found = self._found[key] = Future()
            self._found.move_to_end(key)
            while len(self._found) > self._most:
                self._found.popitem(last=False)
        if is_mine:
            try:
                found.set_result(make())
            except BaseException as exc:
                with self._lock:
                    self._found.pop(key, None)
                found.set_exception(exc)
                raise
        return found.result()
