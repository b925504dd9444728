"""A progress bar on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click


@contextmanager
def progress_bar(is_quiet: bool) -> Iterator[Any]:
    """A progress bar on stderr where somebody looks at it."""
    if is_quiet or not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=1000, file=sys.stderr, show_pos=False, label="") as bar:
        at = [0]

        def tell(fraction: float, message: str) -> None:
            bar.label = message
            bar.update(max(int(fraction * 1000) - at[0], 0))
            at[0] = max(at[0], int(fraction * 1000))

        yield tell
