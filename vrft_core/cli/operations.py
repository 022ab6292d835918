"""Commands that keep things going: baselines and the nightly check, records for MLflow, the shell's completion."""

import click

from vrft_core.cli.app import Project, as_json, cell_argument, dagster_pipes, print_json, under_dagster, vrft

operations = vrft.section("Operations")


@operations.command()
@cell_argument
def baseline(project: Project, cell: str) -> None:
    """Record RFT predictions for the nightly comparison."""
    from vrft_core.commands.nightly import record_baseline

    folder = record_baseline(project.layout, project.params, project.cell(cell, "cell"))
    click.echo(f"{folder}: commit it with git")


@operations.command()
@cell_argument
@as_json
def nightly(project: Project, cell: str, as_json: bool) -> int:
    """Evaluate RFT again and compare with the baseline.

    Exit status 1: the model got worse."""
    from vrft_core.commands.nightly import nightly as compare

    with dagster_pipes() as report:
        found = compare(project.layout, project.params, project.cell(cell, "cell"))
        report(found)
    if as_json:
        print_json({"cell": cell, **found})
    else:
        metric = found["metric"]
        click.echo(
            f"{cell}: {metric} {found[metric]:.3f}, baseline {found[f'baseline {metric}']:.3f}, difference "
            f"{found['difference']:+.3f} ({found['low']:+.3f} to {found['high']:+.3f}): "
            f"{'no worse' if found['passed'] else 'worse'}"
        )
    return 0 if found["passed"] or under_dagster() else 1  # Dagster has a check of its own, which reads the numbers


@operations.command()
@click.option("--resend", is_flag=True, required=True, help="Records that wait in runs/tracking.")
def track(project: Project, resend: bool) -> None:
    """Send MLflow what did not reach it."""
    from vrft_core.tracking import resend as send

    for line in send(project.layout):
        click.echo(line)


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
