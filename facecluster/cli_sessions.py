"""`facecluster sessions` and `sign-out`: who is signed in to the dashboard, and an end to it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import click

from facecluster.errors import InputError

if TYPE_CHECKING:
    from facecluster.config import Settings


class Context(Protocol):
    """What a command is handed."""

    def settings(self) -> Settings:
        """Settings in force."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_obj
def sessions(context: Context, as_json: bool) -> None:
    """List who is signed in to the dashboard, newest first."""
    from facecluster.wiring import open_sessions

    found = open_sessions(context.settings()).all()
    if as_json:
        rows = [
            {
                "id": one.id,
                "user": one.user,
                "email": one.who.email,
                "began": _at(one.began),
                "seen": _at(one.seen),
                "ends": _at(one.ends),
            }
            for one in found
        ]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for one in found:
        click.echo(f"{one.id}  {_at(one.began)}  last seen {_at(one.seen)}  {one.who.email}  {one.user}")
    if not found:
        click.echo("Nobody is signed in.")


@click.command("sign-out")
@click.argument("user")
@click.pass_obj
def sign_out(context: Context, user: str) -> None:
    """End the sessions of USER: issuer|subject, an e-mail address, or the id of one session."""
    from facecluster.wiring import open_sessions

    n = open_sessions(context.settings()).end_of(user, "ended from the command line")
    if not n:
        raise InputError(
            f"Nobody called {user!r} is signed in. Nothing was ended. `facecluster sessions` lists who is."
        )
    click.echo(
        f"{n} {'session was' if n == 1 else 'sessions were'} ended. Whoever is still on the list may sign in again."
    )


def _at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
