"""What goes wrong between a client and a hosted service, by script."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Self


@dataclass(frozen=True)
class Fault:
    """One way to fail.

    Attributes
    ----------
    kind : str
        "status": answer this status instead of doing anything. "reset": close the socket before the reply, having
        done nothing. "stall": wait before doing it. "truncated": do it and send the first half of the body as if it
        were the whole. "short": do it, announce the whole body and close in the middle of it. "lost": do it, then
        close the socket without a reply.
    """

    kind: Literal["status", "reset", "stall", "truncated", "short", "lost"]
    code: int = 0
    body: bytes | None = None  # None: as the service words this status
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @classmethod
    def status(cls, code: int, body: bytes | None = None, retry_after: float | None = None) -> Self:
        """Refuse with an HTTP status."""
        headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
        return cls("status", code=code, body=body, headers=headers)

    @classmethod
    def reset(cls) -> Self:
        """Close the socket, nothing done."""
        return cls("reset")

    @classmethod
    def stall(cls, seconds: float) -> Self:
        """Think for so long before doing it."""
        return cls("stall", seconds=seconds)

    @classmethod
    def truncated(cls) -> Self:
        """Half a body that claims to be whole."""
        return cls("truncated")

    @classmethod
    def short(cls) -> Self:
        """A body shorter than announced."""
        return cls("short")

    @classmethod
    def lost(cls) -> Self:
        """Done, and nobody is told."""
        return cls("lost")


@dataclass
class _Planned:
    path_prefix: str
    fault: Fault
    times: int
    after: int


class Faults:
    """The script: which requests fail, and how."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._planned: list[_Planned] = []

    def add(self, path_prefix: str, fault: Fault, *, times: int = 1, after: int = 0) -> None:
        """Let the next `times` requests to such paths fail, having let `after` of them pass."""
        with self._lock:
            self._planned.append(_Planned(path_prefix, fault, times, after))

    def clear(self) -> None:
        """Forget the rest of the script."""
        with self._lock:
            self._planned.clear()

    def is_spent(self) -> bool:
        """Every fault of the script happened."""
        with self._lock:
            return not self._planned

    def take(self, path: str) -> Fault | None:
        """What happens to this request; None for nothing."""
        with self._lock:
            for planned in self._planned:
                if not path.startswith(planned.path_prefix):
                    continue
                if planned.after:
                    planned.after -= 1
                    continue
                planned.times -= 1
                if planned.times == 0:
                    self._planned.remove(planned)
                return planned.fault
        return None
