"""The command line: from importing and fetching faces to people, runs, erasing and the doctor.

Everything heavy is imported inside the commands: `--help` answers at once, and BLAS is set up before numpy loads.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facecluster import __version__, jobs
from facecluster.cli_backup import backup, restore
from facecluster.cli_export import export, import_library
from facecluster.cli_find import find
from facecluster.cli_history import history
from facecluster.cli_progress import progress_bar as _progress
from facecluster.cli_rights import RIGHTS
from facecluster.cli_sessions import sessions, sign_out
from facecluster.errors import ConfigError, FaceClusterError

if TYPE_CHECKING:
    from facecluster.config import Settings
    from facecluster.hierarchies import Params
    from facecluster.service import Service

USER_MISTAKE = 2


class _Context:
    """What every command needs: settings, opened when asked for."""

    def __init__(self, library: str | None, user: str | None) -> None:
        self._library, self._user = library, user

    def settings(self, **flags: str | None) -> Settings:
        from facecluster.config import load_settings

        return load_settings(library=self._library, user=self._user, **flags)

    def service(self, **flags: str | None) -> Service:
        from facecluster.wiring import open_service

        return open_service(self.settings(**flags))

    def library(self) -> Service:
        """The service with its faces at hand: a hosted index that was never read is read now, before people's eyes."""
        service = self.service()
        if service.must_fetch():
            with _progress(False) as tell:
                service.fetch(progress=tell)
        return service


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option("--library", metavar="DIR", help="Folder of the embedded library (or FACECLUSTER_LIBRARY).")
@click.option("--user", help="Whose faces these are (or FACECLUSTER_USER).")
@click.pass_context
def cli(context: click.Context, library: str | None, user: str | None) -> None:
    """Turn face vectors into named people, and never lose a name."""
    context.obj = _Context(library, user)


@cli.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_obj
def import_(context: _Context, files: tuple[Path, ...], as_json: bool) -> None:
    """Add the faces of FILES (.npz, .parquet, .csv, .jsonl); the same file twice changes nothing."""
    service = context.library()
    with _progress(as_json) as tell:
        report = service.import_files(files, tell)
    if as_json:
        _print_json(
            {
                "added": report.added,
                "replaced": report.replaced,
                "unchanged": report.unchanged,
                "refused": [{"id": r.face, "reason": r.reason} for r in report.refused],
                "without_picture": [{"id": r.face, "reason": r.reason} for r in report.without_picture],
                "blocked": report.blocked,
            }
        )
        return
    click.echo(f"{report.added:,} faces added, {report.replaced:,} replaced, {report.unchanged:,} unchanged.")
    if report.blocked:
        click.echo(f"{report.blocked:,} left out: they are of people who were erased and may not come back.")
    for what, refusals in (("refused", report.refused), ("taken without their picture", report.without_picture)):
        if refusals:
            click.echo(f"{len(refusals):,} {what}:")
            for refusal in refusals[:10]:
                click.echo(f"  {refusal.face}: {refusal.reason}")
            if len(refusals) > 10:
                click.echo(f"  and {len(refusals) - 10:,} more (--json lists all)")


@cli.command()
@click.option(
    "--refresh", is_flag=True, help="Read all faces again: new values under an old id are not seen otherwise."
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@click.pass_obj
def fetch(context: _Context, refresh: bool, as_json: bool) -> None:
    """Bring what is new in the hosted index, and drop what is gone there."""
    service = context.service()
    with _progress(as_json) as tell:
        found = service.fetch(refresh, tell)
    if as_json:
        _print_json(asdict(found))
    elif found.coverage is None:
        click.echo(
            "The faces lie in the embedded library, so there is nothing to fetch. `facecluster import` adds some."
        )
    else:
        click.echo(f"{found.added:,} faces added, {found.replaced:,} replaced, {found.removed:,} removed.")
        click.echo(found.coverage.in_words())


@cli.command()
@click.option("--min-samples", type=int, help="Neighbours that make a face dense.")
@click.option("--min-cluster-size", type=int, help="Faces that make a person.")
@click.option("--epsilon", type=float, help="Distance (0 to 2) below which people are not split further.")
@click.option("--method", type=click.Choice(["eom", "leaf", "cut"]), help="How people are read from the hierarchy.")
@click.option("--blur-threshold", type=float, help="Faces with a lower blur score are left out.")
@click.option(
    "--refine/--no-refine",
    "refined",
    default=True,
    help="With the second layer that mends HDBSCAN's clusters, or HDBSCAN alone.",
)
@click.option("--engine", type=click.Choice(["fast", "hdbscan"]), default="fast", help="hdbscan: that package alone.")
@click.option("--scheduler", metavar="tcp://HOST:PORT", help="Compute on the workers of this Dask scheduler.")
@click.option("--shared-folder", metavar="DIR", help="Folder or URL that all those workers see.")
@click.option("--no-fetch", is_flag=True, help="Take the faces as they were last read from the hosted index.")
@click.option("--refresh", is_flag=True, help="Read all faces of the hosted index again.")
@click.option("--publish", is_flag=True, help="Publish exactly the plan that is printed.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.pass_obj
def recluster(
    context: _Context,
    /,
    refined: bool,
    no_fetch: bool,
    refresh: bool,
    publish: bool,
    as_json: bool,
    scheduler: str | None,
    shared_folder: str | None,
    **flags: Any,
) -> None:
    """Print what would change, and write nothing unless told to --publish."""
    from facecluster.plan_output import plan_as_json, plan_in_words

    if no_fetch and refresh:
        raise click.UsageError("Choose one of --no-fetch and --refresh.")
    service = context.service(scheduler=scheduler, shared_folder=shared_folder)
    settings = context.settings()
    params = _params(settings, refined=refined, **flags)
    if settings.has_pinecone and not no_fetch:
        with _progress(as_json) as tell:
            service.fetch(refresh, tell)
    with _progress(as_json) as tell:
        plan = service.plan(params, tell)
    if publish:
        service.publish(plan)
    if as_json:
        _print_json(plan_as_json(plan, publish))
        return
    coverage = service.view().faces.coverage
    if coverage is not None and (coverage.why or not coverage.is_complete):
        click.echo(coverage.in_words())
    for line in plan_in_words(plan, publish):
        click.echo(line)


def _params(settings: Settings, *, refined: bool, **flags: Any) -> Params:
    """Settings, overruled by the flags that were given; never the last run's."""
    from facecluster.config import load_settings
    from facecluster.hierarchies import Params

    engine = flags.pop("engine")
    given = {key: value for key, value in flags.items() if value is not None}
    s = load_settings(library=settings.library, user=settings.user, **given)
    return Params(s.min_samples, s.min_cluster_size, s.epsilon, s.method, s.blur_threshold, refined, engine)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
@click.pass_obj
def people(context: _Context, as_json: bool) -> None:
    """List people, most faces first."""
    from facecluster.exporting import people_table

    table = people_table(context.library().view())
    if as_json:
        _print_json(table)
        return
    for row in table:
        hidden = "  (hidden)" if row["hidden"] else ""
        click.echo(f"{row['cluster_id']}  {row['face_count']:>7,}  {row['name']}{hidden}")
    if not table:
        click.echo("Nobody yet. `facecluster import FILE` adds faces, `facecluster recluster --publish` finds people.")


@cli.command()
@click.argument("cluster_id")
@click.argument("name")
@click.option("--confirm", is_flag=True, help="Confirm all faces of the person as well.")
@click.pass_obj
def rename(context: _Context, cluster_id: str, name: str, confirm: bool) -> None:
    """Name the person CLUSTER_ID; "" takes the name away."""
    from facecluster.model import PersonId

    service = context.library()
    person = PersonId(cluster_id)
    service.rename(person, name, confirm=confirm)
    known = service.view().person(person)
    click.echo(f"{cluster_id} is “{known.name}”." if known.name else f"{cluster_id} has no name.")
    for other in service.view().named(known.name, but=person):
        click.echo(f"{other.id} has the same name ({other.n_faces:,} faces).")


cli.add_command(find)


for command in RIGHTS:
    cli.add_command(command)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
@click.pass_obj
def runs(context: _Context, as_json: bool) -> None:
    """List published runs, newest first: the live one, the last five and those with a name are kept."""
    from facecluster.exporting import runs_table

    service = context.library()
    table = runs_table(service.view().snapshot, service.runs())
    if as_json:
        _print_json(table)
        return
    for row in table:
        live = "  (live)" if row["live"] else ""
        click.echo(
            f"{row['id']}  {row['at'][:19]}  {row['people']:>6,} people in {row['faces']:,} faces  {row['name']}{live}"
        )
    if not table:
        click.echo("Nothing was published yet. `facecluster recluster --publish` does.")


@cli.command("name-run")
@click.argument("run_id")
@click.argument("name")
@click.pass_obj
def name_run(context: _Context, run_id: str, name: str) -> None:
    """Name the run RUN_ID, so that it is kept; "" takes the name away."""
    service = context.library()
    service.name_run(run_id, name)
    known = service.view().snapshot.facts.get(("run_name", run_id, ""), "")
    click.echo(f"{run_id} is “{known}” and is kept." if known else f"{run_id} has no name and goes when it is old.")


cli.add_command(history)
cli.add_command(sessions)
cli.add_command(sign_out)
cli.add_command(backup)
cli.add_command(restore)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.pass_obj
def doctor(context: _Context, as_json: bool) -> None:
    """Check settings, keys, index, database and disk, and say what to do about each failure; exit code 1 for any."""
    from facecluster.doctor import examined

    findings = []
    for finding in examined(context.settings()):
        findings.append(finding)
        if not as_json:
            click.echo(finding.in_words())
    is_well = not any(finding.state == "wrong" for finding in findings)
    if as_json:
        _print_json({"ok": is_well, "checks": [asdict(finding) for finding in findings]})
    if not is_well:
        sys.exit(1)


cli.add_command(export)
cli.add_command(import_library)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
@click.pass_obj
def verify(context: _Context, as_json: bool) -> None:
    """Check the exact hierarchy against the hdbscan package on your own faces; exit code 1 if they differ."""
    service = context.library()
    with _progress(as_json) as tell:
        found = service.verify(service.defaults, tell)
    if as_json:
        _print_json(asdict(found))
    else:
        click.echo(found.in_words())
    if not found.is_equal:
        sys.exit(1)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--hash", "only_hash", is_flag=True, help="Print the hash of faces, facts, history and runs alone.")
@click.pass_obj
def status(context: _Context, as_json: bool, only_hash: bool) -> None:
    """Show the library in use: where it is, what is in it, which settings are in force."""
    from facecluster.wiring import other_users, status_of, where_it_is

    if only_hash:
        click.echo(context.library().contents().hash())
        return
    settings, service = context.settings(), context.service()
    if service.must_fetch():  # looking must not take the minutes that reading takes
        unread = "Nothing was read yet. `facecluster fetch` reads the index."
        found: dict[str, Any] = {**where_it_is(settings), "coverage": unread, "faces": 0, "settings": {}}
        others = {}
    else:
        found = status_of(service)
        others = {} if found["faces"] else other_users(settings)
    if as_json:
        _print_json({**found, "other_users": others})
        return
    for key, value in found.items():
        if key != "settings" and value != "":
            click.echo(f"{key.replace('_', ' '):22} {f'{value:,}' if isinstance(value, int) else value}")
    click.echo("settings")
    for key, value in found["settings"].items():
        click.echo(f"  {key:32} {value}")
    if others:
        known = ", ".join(f"{user!r} ({n:,} faces)" for user, n in others.items())
        click.echo(f"User {settings.user!r} has no faces here; {known}. Set FACECLUSTER_USER or --user.")


@cli.command(context_settings={"ignore_unknown_options": True})
@click.argument("streamlit_options", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def serve(context: _Context, streamlit_options: tuple[str, ...]) -> None:
    """Open the dashboard; further options go to `streamlit run`."""
    settings = context.settings()
    _serve(settings, streamlit_options)


@cli.command(context_settings={"ignore_unknown_options": True})
@click.argument("streamlit_options", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def demo(context: _Context, streamlit_options: tuple[str, ...]) -> None:
    """Make the demo library ready and open the dashboard on it."""
    from facecluster.wiring import demo_settings, open_service

    settings = demo_settings(context.settings())
    with _progress(False) as tell:
        open_service(settings).open_demo(tell)
    _serve(settings, streamlit_options)


def _serve(settings: Settings, streamlit_options: tuple[str, ...]) -> None:
    app = Path(__file__).resolve().parent.parent / "app.py"
    if not app.is_file():
        raise ConfigError(f"The dashboard's app.py is not at {app}. Nothing was started. Run it from the repository.")
    environment = {
        **os.environ,
        "FACECLUSTER_LIBRARY": str(settings.library.absolute()),
        "FACECLUSTER_USER": settings.user,
    }
    # Streamlit finds .streamlit/config.toml beside the working directory.
    command = [sys.executable, "-m", "streamlit", "run", str(app), *streamlit_options]
    sys.exit(subprocess.call(command, cwd=app.parent, env=environment))  # noqa: S603  (our own interpreter and app)


@cli.command(hidden=True)
@click.argument("job", type=click.Path(path_type=Path))
def work(job: Path) -> None:
    """Do one job of the dashboard in this process."""
    from facecluster.config import load_settings
    from facecluster.wiring import open_service, perform

    spec = jobs.read_spec(job)
    settings = load_settings(library=Path(spec["library"]), user=spec["user"])
    jobs.work(job, lambda use_case, args, tell: perform(open_service(settings), use_case, args, tell))


@cli.command("warm-up", hidden=True)
def warm_up() -> None:
    """Compile what is compiled at first use: the demo is opened in a folder that is thrown away."""
    from facecluster.config import load_settings
    from facecluster.leftovers import Leftovers
    from facecluster.wiring import open_service

    with tempfile.TemporaryDirectory() as folder:
        service = open_service(load_settings(library=Path(folder)))
        service.open_demo()
        service.prepare(service.defaults.blur_threshold)
        service.epsilon_changes(service.defaults)
        Leftovers().groups(service.view())
        service.map()


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=1, default=str))


def main() -> None:
    """Run the command line; a user's mistake is one sentence and exit code 2."""
    os.environ.update(jobs.blas_environment())
    try:
        cli(standalone_mode=True)
    except FaceClusterError as exc:
        click.echo(f"facecluster: {exc}", err=True)
        sys.exit(USER_MISTAKE)
