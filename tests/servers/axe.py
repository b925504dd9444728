"""Deque's axe-core, the judge of accessibility, from npm."""

from __future__ import annotations

from servers import npm

PACKAGE = ("axe-core", "4.14.1")


def script() -> str:
    """What a page runs to be judged; skips where it cannot be had."""
    return (npm.installed(*PACKAGE) / "axe-core" / "axe.min.js").read_text("utf-8")


if __name__ == "__main__":
    npm.say(*PACKAGE)
