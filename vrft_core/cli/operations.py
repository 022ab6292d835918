"""Commands that keep things going: baselines, the nightly check, promotion, records for MLflow, completion."""

import click

from vrft_core.cli.app import (
    CELL,
    Project,
    as_json,
    cell_argument,
    dagster_pipes,
    print_json,
    under_dagster,
    vrft,
)
from vrft_core.errors import InputError

operations = vrft.section("Operations")


@operations.command()
@cell_argument
def baseline(project: Project, cell: str) -> None:
    """Record RFT predictions for the nightly comparison."""
    from vrft_core.commands.baseline import record_baseline

    folder = record_baseline(project.layout, project.params, project.cell(cell, "cell"))
    click.echo(f"{folder}: commit it with git")


@operations.command()
@click.argument("cells", metavar="[CELL]...", nargs=-1, type=CELL)
@as_json
def nightly(project: Project, cells: tuple[str, ...], as_json: bool) -> int:
    """Is every RFT model as good as its baseline?

    Without CELL: all that params.yaml lists under `nightly`, and the golden training. Exit status 1: something is not
    as good as it was."""
    from vrft_core.commands.nightly import nightly as evaluate_all

    keys = [project.cell(cell, "cell").key for cell in cells]
    with dagster_pipes() as report:
        night = evaluate_all(project.layout, project.params, keys)
        report({"passed": night["passed"], "sentence": night["sentence"]})
    if as_json:
        print_json(night)
    else:
        click.echo(night["sentence"])
    return 0 if night["passed"] or under_dagster() else 1  # Dagster has checks of its own, which read the night


@operations.command()
@click.argument("cell", metavar="[CELL]", required=False, type=CELL)
@click.option("--rollback", metavar="MODEL", help="Go back to the champion before, for example of lvis-mini.")
def promote(project: Project, cell: str | None, rollback: str | None) -> int:
    """Make a cell's RFT model the registry's champion.

    Exit status 1: a data check, the comparison with the baseline or a diagnostic did not pass."""
    from vrft_core.commands.promote import promote as judge
    from vrft_core.commands.promote import roll_back

    if cell and not rollback:
        good, lines = judge(project.layout, project.params, project.cell(cell, "cell"))
        click.echo("\n".join(lines))
        return 0 if good else 1
    if rollback and not cell:
        click.echo(roll_back(project.layout, rollback))
        return 0
    raise InputError("vrft promote", "takes a cell or --rollback MODEL, one of the two", "see `vrft promote --help`")


@operations.command()
@click.option("--resend", is_flag=True, help="Records that wait in runs/tracking.")
@click.option("--rebuild", is_flag=True, help="Runs of results that came with `dvc pull`.")
def track(project: Project, resend: bool, rebuild: bool) -> None:
    """Send MLflow what did not reach it."""
    if resend == rebuild:
        raise InputError("vrft track", "takes --resend or --rebuild, one of the two", "see `vrft track --help`")
    if resend:
        from vrft_core.tracking import resend as send

        lines = send(project.layout)
    else:
        from vrft_core.commands.track import rebuild as record

        lines = record(project.layout, project.params)
    for line in lines:
        click.echo(line)


@operations.command()
@click.option("--days", type=click.FloatRange(0), default=14, metavar="N", help="Keep the last N days.")
@click.option("--yes", is_flag=True, help="Remove it. Without this, nothing is removed.")
@as_json
def gc(project: Project, days: float, yes: bool, as_json: bool) -> None:
    """Remove old runs and what they leave.

    First it only says what would go: checkpoints and rollouts in runs/, runs of MLflow and Dagster, objects in DVC's
    cache. What a registered model, a baseline or a cell of the grid needs is kept. Disk use by cell is shown too.
    """
    from vrft_core.cli.costs import disk_table, things_table
    from vrft_core.commands.gc import disk_use
    from vrft_core.commands.gc import gc as collect

    use = disk_use(project.layout, project.params)
    found = collect(project.layout, project.params, days, yes)
    if as_json:
        things = [{"kind": one.kind, "name": one.name, "why": one.why, "bytes": one.bytes} for one in found.things]
        print_json({"removed": yes, "things": things, "notes": found.notes, "disk": dict(use)})
        return
    click.echo("\n".join([disk_table(use), "", things_table(found.things, yes), *(f"{note}." for note in found.notes)]))


@operations.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(project: Project, shell: str) -> None:
    """Print the script for tab completion.

    It completes commands, options and cells:

    \b
    bash, in ~/.bashrc:                      eval "$(vrft completion bash)"
    zsh, in ~/.zshrc:                        eval "$(vrft completion zsh)"
    fish, in ~/.config/fish/config.fish:     vrft completion fish | source
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind  # the three that click knows
    click.echo(kind(vrft, {}, "vrft", "_VRFT_COMPLETE").source())
