"""`facecluster backup` and `facecluster restore`: the whole embedded library as one file, and back."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click

from facecluster.cli_progress import progress_bar

if TYPE_CHECKING:
    from facecluster.archive import Manifest
    from facecluster.config import Settings


class Context(Protocol):
    """What these commands are handed: no library is opened, for that would make one where there is none."""

    def settings(self) -> Settings:
        """The settings in force."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--verify", is_flag=True, help="Read the backup FILE and hash all that is in it; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print what is in it as JSON.")
@click.pass_obj
def backup(context: Context, file: Path, verify: bool, as_json: bool) -> None:
    """Write all users of the embedded library into FILE while it is in use, and check it."""
    from facecluster import backup as backups

    settings = context.settings()
    with progress_bar(as_json) as tell:
        found = backups.check(file, tell) if verify else backups.back_up(settings.library, file, tell)
    if as_json:
        click.echo(json.dumps(asdict(found), ensure_ascii=False, indent=1))
        return
    _print_libraries(found)
    click.echo(f"{file} is whole." if verify else f"Written to {file} and checked.")
    if not verify and found.left_out:
        click.echo(f"Not in it, because it is made again or under way: {', '.join(found.left_out)}.")
    if not verify and settings.is_hosted:
        click.echo("What lies in Pinecone and Supabase is not in it: `facecluster export --all FOLDER` holds that too.")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--to", type=click.Path(path_type=Path), help="Folder to restore into, instead of the library's.")
@click.option("--replace", is_flag=True, help="Keep the library that is there beside it, under another name.")
@click.option("--json", "as_json", is_flag=True, help="Print what was restored as JSON.")
@click.pass_obj
def restore(context: Context, file: Path, to: Path | None, replace: bool, as_json: bool) -> None:
    """Put the library back that `facecluster backup` wrote into FILE."""
    from facecluster import restoring

    place = to if to is not None else context.settings().library
    with progress_bar(as_json) as tell:
        found = restoring.restore(file, place, replace, tell)
    if as_json:
        kept = None if found.kept is None else str(found.kept)
        click.echo(json.dumps({**asdict(found.manifest), "kept": kept}, ensure_ascii=False, indent=1))
        return
    _print_libraries(found.manifest)
    click.echo(f"Restored into {place}, as it was at {found.manifest.at}.")
    if found.kept is not None:
        click.echo(f"What was there before is {found.kept} now.")


def _print_libraries(manifest: Manifest) -> None:
    for one in manifest.libraries:
        click.echo(f"{one.user}: {one.faces:,} faces, {one.changes:,} changes, hash {one.hash}")
