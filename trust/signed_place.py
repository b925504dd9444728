"""A dashboard with sign-in, a provider, two users with a library each, and browsers to look at it."""

from __future__ import annotations

import io
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import small_library
from numpy.typing import NDArray
from PIL import Image
from servers import dashboard_client
from servers.dashboard_client import Served, Visitor, free_port, secrets_of
from servers.identity_provider import IdentityProvider, Lies

from facecluster.service import Service

ALLOWED = "anna@example.org, @friends.example"
LIBRARY = "Your library"  # stands on every page of who is signed in, and on no other


@dataclass
class Place:
    """A dashboard, its provider, and two users with a library each."""

    served: Served
    provider: IdentityProvider
    port: int

    def service(self, subject: str) -> Service:
        """A user's library, past the dashboard."""
        return small_library.open_library(self.served.library, self.provider.user(subject))

    def visitor(self) -> Visitor:
        """A browser without a cookie."""
        return Visitor(self.served)

    def signed_in(self) -> Visitor:
        """A browser in which Anna is signed in."""
        visitor = self.visitor()
        visitor.sign_in()
        assert visitor.is_in(), "an honest sign-in must work"
        return visitor

    def allow(self, allowed: str) -> None:
        """Change the list while the server runs."""
        self.served.secrets.write_text(secrets_of(self.provider.issuer, self.port, allowed), "utf-8")

    def sql(self, statement: str) -> None:
        """Change the file of sessions: time passes quicker so."""
        with sqlite3.connect(self.served.library / "sessions.db") as db:
            db.execute(statement)
        db.close()

    def reset(self) -> None:
        """An honest provider, Anna as the next one who comes, and the list as it was."""
        self.provider.lies = Lies()
        self.provider.claims = {"sub": "anna", "email": "anna@example.org", "email_verified": True, "name": "Anna"}
        self.allow(f"{ALLOWED}, {self.provider.user('bert')}")


@contextmanager
def place(options: tuple[str, ...] = ()) -> Iterator[Place]:
    """A dashboard with sign-in, as long as the block."""
    with tempfile.TemporaryDirectory() as name, IdentityProvider() as provider:
        folder, port = Path(name), free_port()
        for who in ("anna", "bert"):
            service = small_library.open_library(folder / "library", provider.user(who))
            columns = small_library.faces(prefix=who) | pictures(who)
            service.import_files([small_library.write_faces(folder / f"{who}.npz", **columns)])
            service.publish(service.plan(small_library.PARAMS), author="setup")
        secrets = secrets_of(provider.issuer, port, f"{ALLOWED}, {provider.user('bert')}")
        with dashboard_client.serving(folder / "library", secrets, options=options, port=port) as served:
            yield Place(served, provider, port)


def pictures(who: str, n: int = 60) -> dict[str, NDArray[Any]]:
    """A picture for each face, of a colour of its own."""
    made = []
    for i in range(n):
        out = io.BytesIO()
        Image.new("RGB", (64, 64), (4 * i, 90, 200 if who == "anna" else 20)).save(out, "JPEG")
        made.append(out.getvalue())
    offsets = np.cumsum([0, *map(len, made)])
    return {"crops": np.frombuffer(b"".join(made), np.uint8), "crop_offsets": offsets.astype(np.int64)}


def is_inside(visitor: Visitor) -> bool:
    """Whether the server opens what only somebody signed in may have, by either way in: a route, or a page."""
    return visitor.get("/_stcore/metrics").status_code == 200 or LIBRARY in page_of(visitor)


def page_of(visitor: Visitor, page: str = "status", **how: str) -> str:
    """The words of a page."""
    with visitor.window(page, **how) as window:
        return window.run().text
