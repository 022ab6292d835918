"""The page at /vrft/: every experiment of the grid with its verdict, and links to all that is known of it.

Made again at each request from the files that are there; no script, everything from outside escaped.
"""

from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from pipelines.dvc_assets import benchmarks, partition, prefix
from pipelines.pages import FOLDERS, PREFIX, address
from vrft_core import io, nights, tracking
from vrft_core.cell import Cell, Layout
from vrft_core.commands.status import running
from vrft_core.errors import InputError
from vrft_core.params import Params
from vrft_core.report import tables
from vrft_core.report.page import style
from vrft_core.tasks import load_params

CHECKED = ("raw", "few_shot", "prompts")
OWN_STYLE = "article { margin: 14px 0 20px; } article h3 { margin: 0; } article p { margin: 2px 0; }"
OWN_STYLE += " .links { display: flex; flex-wrap: wrap; gap: 2px 16px; font-size: .92rem; }"


def html(root: Path) -> str:
    """Raises InputError where params.yaml cannot be read."""
    layout, params = Layout(root), load_params(root / "params.yaml")
    overall = {"Dagster": "/asset-groups", "All studies": tables.folder(layout) / "index.html"}
    overall |= {"Nightly": nights.page(layout)}
    parts = [Markup("<h1>Experiments</h1>{}").format(_links(root, overall))]
    for name in benchmarks(params):
        about = f"/assets/{prefix(name)}_benchmark"
        parts.append(
            Markup('<h2>{}</h2><p class="note">{}. <a href="{}">About it, in Dagster</a></p>').format(
                name, params.benchmarks[name].task, about
            )
        )
        cells = [cell for cell in params.cells() if cell.benchmark == name]
        studies = list(dict.fromkeys(cell.at("study") for cell in cells))
        parts += [_entry(layout, params, one) for one in (*studies, *cells)]
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Experiments</title>'
    return Markup(head + "<style>{}{}</style><main>{}</main></html>\n").format(
        style(), Markup(OWN_STYLE), Markup("").join(parts)
    )


def _entry(layout: Layout, params: Params, cell: Cell) -> Markup:
    """A cell's or a study's verdict and links."""
    folder = layout.report(cell)
    asset = f"{prefix(cell.benchmark)}_{'study' if cell.scope == 'study' else 'rft_eval'}"
    found: dict[str, Path | str] = {"report": folder / "report.html"}
    found |= {"in Dagster": f"/assets/{asset}?partition={quote(partition(cell))}"}
    if cell.scope == "cell":
        for stage in CHECKED:
            key = cell.at("data").key if stage == "raw" else cell.key
            found[f"data docs: {stage}"] = layout.root / FOLDERS[1] / stage / key / "checks.html"
        for method in ("base", "sft", "rft"):
            key = cell.at("setup").key if method == "base" else cell.key
            found[f"MLflow: {method}"] = tracking.address(layout, key, method) or ""
    return Markup('<article id="{}"><h3>{}</h3><p>{}</p>{}</article>').format(
        cell.key, cell.key, _verdict(layout, cell), _links(layout.root, found)
    )


def _verdict(layout: Layout, cell: Cell) -> str:
    try:
        return str(io.read_json(layout.report(cell) / "metrics.json")["verdict"]["headline"])
    except (InputError, KeyError, TypeError):
        now = running(layout, [cell]) if cell.scope == "cell" else []
        return f"Being made now: {', '.join(now)}." if now else f"Not made yet: vrft run {cell.key}"


def _links(root: Path, found: dict[str, Path | str]) -> Markup:
    """Of files only those that are there."""
    parts = []
    for name, where in found.items():
        target = (address(root, where) if where.is_file() else None) if isinstance(where, Path) else where
        if target:
            parts.append(Markup('<a href="{}">{}</a>').format(target, name))
    return Markup('<p class="links">{}</p>').format(Markup("").join(parts))


NOTHING_YET = (
    "<!doctype html><meta charset=utf-8><title>Not made yet</title><p>This page is not made yet. A report is made by "
    f'the asset <code>…_report</code>, data docs by the checks of data. <a href="{PREFIX}/">All experiments</a></p>\n'
)
