"""The command line's frame: sections of commands, the project they work in, kinds of options. No command is here."""

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vrft_core import __version__
from vrft_core.errors import InputError

if TYPE_CHECKING:  # imported when a command needs them: `vrft --help` stays quick
    from click.shell_completion import CompletionItem

    from vrft_core.cell import Cell, Layout
    from vrft_core.params import Params

EPILOG = """
\b
Exit status:
  0    done
  1    a stage or a check failed
  2    bad input: one line names what, where, and the remedy
  130  interrupted; the same command resumes
  143  ended by SIGTERM; the same command resumes

\b
Tab completion: eval "$(vrft completion bash)", also for zsh and fish.
"""


@dataclass(frozen=True)
class Project:
    """The folder with params.yaml; read when first asked for."""

    root: Path

    @cached_property
    def params(self) -> "Params":
        """Raises InputError with the first wrong field."""
        from vrft_core.tasks import load_params

        return load_params(self.root / "params.yaml")

    @cached_property
    def layout(self) -> "Layout":
        from vrft_core.cell import Layout

        return Layout(self.root)

    def cell(self, key: str, *scopes: str) -> "Cell":
        """The cell, study, … that the grid knows by this key, of one of `scopes` (none: of any).

        Raises InputError that names the closest keys.
        """
        cell = self.params.parse_cell(key)
        if scopes and cell.scope not in scopes:
            below = sorted({c.at(scopes[0]).key for c in self.params.cells() if _within(c, cell)})
            wanted = " or ".join(scopes)
            raise InputError(key, f"is a {cell.scope}, not a {wanted}", f"its {scopes[0]}s: {', '.join(below)}")
        return cell


def _within(cell: "Cell", wider: "Cell") -> bool:
    return cell.at(wider.scope) == wider


class Several(click.Option):
    """An option that takes one value or more: `--seeds 0 1 2`. The values end at the next option."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, multiple=True, **settings)


class Command(click.Command):
    """A command that knows `Several`, and reads `--cell KEY` where it takes the cell as an argument."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        several = {name for one in self.params if isinstance(one, Several) for name in one.opts}
        if any(isinstance(one, click.Argument) and one.type is CELL for one in self.params):
            args = [one.removeprefix("--cell=") for one in args if one != "--cell"]
        return super().parse_args(ctx, list(_repeated(args, several)))


def _repeated(args: list[str], several: set[str]) -> Iterator[str]:
    """`--seeds 0 1` → `--seeds 0 --seeds 1`, as click wants it."""
    option, first = None, True
    for position, one in enumerate(args):
        if one == "--":
            yield from args[position:]
            return
        if one.startswith("-") and len(one) > 1:
            option, first = one if one in several else None, True
        elif option and not first:
            yield option
        else:
            first = False
        yield one


class Vrft(click.Group):
    """Commands by section, in the order of the modules."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.sections: dict[str, list[click.Command]] = {}

    def section(self, title: str) -> "Section":
        self.sections.setdefault(title, [])
        return Section(self, title)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = formatter.width - 4 - max(map(len, self.commands))
        for title, commands in self.sections.items():
            with formatter.section(title):
                formatter.write_dl([(one.name or "", one.get_short_help_str(width)) for one in commands])


@dataclass(frozen=True)
class Section:
    """Part of `vrft --help`."""

    app: Vrft
    title: str

    def command(self, name: str | None = None) -> Callable[[Callable[..., int | None]], click.Command]:
        """Decorator: the function is called with the `Project` and its options; it may return an exit status."""

        def register(function: Callable[..., int | None]) -> click.Command:
            made = click.command(name, cls=Command)(click.pass_obj(function))
            self.app.add_command(made)
            self.app.sections[self.title].append(made)
            return made

        return register


@click.group(
    cls=Vrft,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110, "show_default": True},
)
@click.option("--root", type=click.Path(path_type=Path), default=".", metavar="DIR", help="The project's folder.")
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def vrft(context: click.Context, root: Path) -> None:
    """Few-shot fine-tuning of vision-language models, supervised (SFT) and by verifiable rewards (RFT), compared.

    Start with `vrft plan CELL`, then `vrft run CELL`. A CELL is one experiment, such as lvis-mini-1shot-s0:
    benchmark, recipe, shots, seed.
    """
    context.obj = Project(root)


class Listed(click.ParamType):
    """A name in params.yaml: the shell completes it, the command checks it."""

    def __init__(self, name: str, names: Callable[["Params"], Iterable[str]]) -> None:
        self.name, self.names = name, names

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        try:
            params = Project(Path(ctx.find_root().params.get("root") or ".")).params
        except InputError:
            return []
        return completions(self.names(params), incomplete)


CELL = Listed("CELL", lambda params: [*params.grid.cells, *params.grid.studies])
RECIPE = Listed("RECIPE", lambda params: params.recipes)
BENCHMARK = Listed("BENCHMARK", lambda params: params.benchmarks)


def completions(names: Iterable[str], incomplete: str) -> "list[CompletionItem]":
    """What the shell offers."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


FILE: click.ParamType = click.Path(path_type=Path)  # the commands check it and say what is wrong
cell_argument = click.argument("cell", metavar="CELL", type=CELL)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for programs.")


def print_json(found: Any) -> None:
    click.echo(json.dumps(found, allow_nan=False))


@contextlib.contextmanager
def dagster_pipes() -> Iterator[Callable[[dict], None]]:
    """Yield report(numbers); under Dagster Pipes the numbers become the asset's metadata."""
    if not under_dagster():
        yield lambda numbers: None
        return
    from dagster_pipes import open_dagster_pipes

    with open_dagster_pipes() as pipes:
        yield lambda numbers: pipes.report_asset_materialization(metadata=numbers)


def under_dagster() -> bool:
    return "DAGSTER_PIPES_CONTEXT" in os.environ
