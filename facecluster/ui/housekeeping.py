"""What the server does between pages: collect garbage once a minute, and not after every run of every session."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from facecluster.ui import crops

# Seconds. A collection looks at all that was ever loaded, 0.2 s at 100,000 faces in which no session's page moves.
_EVERY_S = 60.0


@asynccontextmanager
async def lifespan(app: object) -> AsyncIterator[None]:
    """While the server runs, pictures are served and garbage is collected."""
    async with crops.lifespan(app):
        collecting = asyncio.create_task(_collect(), name="collect garbage")
        try:
            yield
        finally:
            collecting.cancel()
            with suppress(asyncio.CancelledError):
                await collecting


async def _collect() -> None:
    while True:
        await asyncio.sleep(_EVERY_S)
        gc.collect()
