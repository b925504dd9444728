"""What every answer tells the browser about pictures: from which hosts it may load them, and to keep our address."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facecluster.errors import ConfigError
from facecluster.ui import sign_in
from facecluster.ui.settings_now import settings_now


def picture_policy(hosts: Sequence[str]) -> str:
    """The value of Content-Security-Policy: pictures of our own, drawn ones, and those of the allowed hosts."""
    return " ".join(["img-src 'self' data: blob:", *(f"https://{host}" for host in hosts)])


class PictureRules:
    """Middleware: the last line, should an address from the data ever get into a page unchecked."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the app does, with the two headers."""

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = _policy()
                headers["Referrer-Policy"] = "same-origin"
            await send(message)

        await self._app(scope, receive, tell)


def _policy() -> str:
    # Another site's frame around a page of who is signed in could be clicked through.
    return picture_policy(_hosts()) + ("; frame-ancestors 'none'" if sign_in.is_on() else "")


MIDDLEWARE = [Middleware(PictureRules)]


def _hosts() -> tuple[str, ...]:
    try:
        return settings_now().image_hosts
    except ConfigError:  # the page says it in its own words
        return ()
