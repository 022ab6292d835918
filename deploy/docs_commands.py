"""The reference of the command line, made from the commands themselves: their help, arguments and options.

python deploy/docs_commands.py      # writes docs/reference/commands.md between its two markers
"""

import inspect
import re
from pathlib import Path

import click

from vrft_core.cli import vrft

PAGE = Path(__file__).resolve().parents[1] / "docs/reference/commands.md"
BEGIN, END = "<!-- made by deploy/docs_commands.py: begin -->", "<!-- end -->"


def text() -> str:
    """The page as it should be; what stands outside the markers is kept."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n\n{_sections()}\n{END}{after}"


def _sections() -> str:
    parts = []
    for title, commands in vrft.sections.items():
        rows = [f"| [`vrft {one.name}`](#vrft-{one.name}) | {_cell(one.get_short_help_str(200))} |" for one in commands]
        parts.append(f"## {title}\n\n| command | what it does |\n|---|---|\n" + "\n".join(rows) + "\n")
        parts += [_command(one) for one in commands]
    return "\n".join(parts)


def _command(one: click.Command) -> str:
    context = click.Context(one, info_name=f"vrft {one.name}", **vrft.context_settings)
    usage = " ".join([context.command_path, *one.collect_usage_pieces(context)])
    said = inspect.cleandoc(one.help or "").replace("\f", "")
    said = re.sub(
        r"^\x08\n((?:.+\n?)+)", lambda lines: f"```text\n{lines[1].rstrip()}\n```\n", said, flags=re.MULTILINE
    )
    lines = [f"### vrft {one.name}", "", f"```text\n{usage}\n```", "", said, ""]
    options = [option for option in one.params if isinstance(option, click.Option) and not option.hidden]
    if options:
        lines += ["| option | meaning |", "|---|---|"]
        lines += [_option(option, context) for option in options] + [""]
    return "\n".join(lines)


def _option(option: click.Option, context: click.Context) -> str:
    names, meaning = option.get_help_record(context) or (", ".join(option.opts), option.help or "")
    return f"| `{names}` | {_cell(meaning)} |"


def _cell(words: str) -> str:
    return " ".join(words.split()).replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[")


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
    print(PAGE)
