"""`facecluster export` and `facecluster import-library`: a library for other programs, and back."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click

from facecluster.cli_progress import progress_bar
from facecluster.errors import InputError

if TYPE_CHECKING:
    from facecluster.config import Settings
    from facecluster.service import Service


class Context(Protocol):
    """What these commands are handed."""

    def settings(self) -> Settings:
        """The settings in force."""

    def library(self) -> Service:
        """The service with its faces at hand."""


@click.command()
@click.option("--json", "to_json", is_flag=True, help="Run, people and faces as JSON (the default).")
@click.option("--csv", "to_csv", is_flag=True, help="Faces as CSV.")
@click.option("--parquet", type=click.Path(path_type=Path, dir_okay=False), help="Write faces to this Parquet file.")
@click.option("--xlsx", type=click.Path(path_type=Path, dir_okay=False), help="Write faces to this Excel workbook.")
@click.option("--all", "folder", type=click.Path(path_type=Path), help="Write everything into this folder.")
@click.option(
    "--xmp", type=click.Path(path_type=Path), help="Write who is where into an XMP sidecar beside each photo."
)
@click.option("--photos", type=click.Path(path_type=Path), help="Where the photos lie, if not in the folder of --xmp.")
@click.pass_obj
def export(
    context: Context,
    /,
    to_json: bool,
    to_csv: bool,
    parquet: Path | None,
    xlsx: Path | None,
    folder: Path | None,
    xmp: Path | None,
    photos: Path | None,
) -> None:
    """Print the library for other programs, or write all of it into a folder that can be imported again."""
    from facecluster import exporting, tables

    if to_json + to_csv + sum(place is not None for place in (parquet, xlsx, folder, xmp)) > 1:
        raise click.UsageError("Choose one of --json, --csv, --parquet, --xlsx, --all and --xmp.")
    service = context.library()
    view = service.view()
    if parquet is not None:
        exporting.write_parquet(view, parquet)
        click.echo(f"{len(view.faces):,} faces written to {parquet}.")
    elif xlsx is not None:
        tables.write_xlsx(exporting.faces_table(view), xlsx)
        click.echo(f"{len(view.faces):,} faces written to {xlsx}.")
    elif folder is not None:
        _export_all(service, folder)
    elif xmp is not None:
        _export_xmp(service, xmp, photos)
    elif to_csv:
        click.echo(tables.as_csv(exporting.faces_table(view)), nl=False)
    else:
        click.echo(exporting.as_json(view))


def _export_all(service: Service, folder: Path) -> None:
    from facecluster.open_export import export_all

    with progress_bar(False) as tell:
        found = service.contents()
        while (view := service.view()).faces is not found.faces or view.snapshot.revision != found.snapshot.revision:
            found = service.contents()  # somebody wrote meanwhile
        done = export_all(service.user, view, found, service.crop, folder, tell)
    click.echo(
        f"{done.faces:,} faces with {done.crops:,} pictures, {done.people:,} people, {done.changes:,} changes and "
        f"{done.runs:,} runs written to {folder}, hash {done.hash}."
    )


def _export_xmp(service: Service, folder: Path, photos: Path | None) -> None:
    from facecluster.xmp import write_sidecars

    with progress_bar(False) as tell:
        done = write_sidecars(service.view(), folder, photos, tell)
    click.echo(f"{done.written:,} sidecars with {done.regions:,} faces written to {folder}.")
    for line in done.left_out_in_words():
        click.echo(line)


@click.command("import-library")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print what was imported as JSON.")
@click.pass_obj
def import_library(context: Context, folder: Path, as_json: bool) -> None:
    """Make a library of FOLDER, which `facecluster export --all` wrote: names, history and runs with the faces."""
    from facecluster import open_import
    from facecluster.model import UserId

    settings = context.settings()
    if settings.is_hosted:
        raise InputError(
            "A whole library is imported into the embedded store alone, and the settings name Pinecone or Supabase. "
            "Nothing was changed. Unset PINECONE_API_KEY and SUPABASE_URL for this command."
        )
    with progress_bar(as_json) as tell:
        done = open_import.import_library(folder, settings.library, UserId(settings.user), tell)
    if as_json:
        click.echo(json.dumps(asdict(done), indent=1))
    else:
        click.echo(f"{done.faces:,} faces, {done.changes:,} changes and {done.runs:,} runs imported, hash {done.hash}.")
