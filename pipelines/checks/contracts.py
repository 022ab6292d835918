"""The data contracts: blocking checks on raw data, few-shot samples and prompts, one check for each suite.

A broken `critical` expectation stops everything downstream in the run; a `warning` is shown and stops nothing.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg

from pipelines.dvc_assets import FIRST, asset_key, benchmarks, partitions
from pipelines.dvc_project import DvcProject
from pipelines.pages import link
from vrft_core.cell import Cell, Layout
from vrft_core.params import Params

DESCRIPTIONS = {
    "raw": {
        "images": "Ids and names unique, every field there, every file there.",
        "boxes": "Inside their image, of positive size, with known category and image; ids unique.",
        "categories": "Frequency letters and counts agree with the training images.",
        "split_leaks": "No image in two splits, by id or by content.",
    },
    "few_shot": {
        "counts": "Exactly K images a category (or all there are, where the recipe says so).",
        "choices": "Each chosen once, showing its category; hashes equal to those of the raw files.",
        "leaks": "No validation or evaluation image, by id or by content.",
    },
    "prompts": {
        "examples": "Unique and complete; each target answer reads back to exactly its boxes.",
        "boxes": "Inside the answer's frame.",
        "strays": "Training pairs are the chosen ones; no example of another split.",
    },
}


def data_checks(root: Path, project: DvcProject, params: Params) -> list[dg.AssetChecksDefinition]:
    stages = {stage.name: stage for stage in project.stages().values()}
    return [
        _checks(root, params, benchmark, name, asset_key(benchmark, stages[name]))
        for benchmark in benchmarks(params)
        for name in DESCRIPTIONS
    ]


def _checks(root: Path, params: Params, benchmark: str, stage: str, asset: dg.AssetKey) -> dg.AssetChecksDefinition:
    parts = partitions(params, benchmark, stage)
    specs = [
        dg.AssetCheckSpec(name, asset=asset, description=text, blocking=True, partitions_def=parts)
        for name, text in DESCRIPTIONS[stage].items()
    ]

    @dg.multi_asset_check(name=f"{asset.to_python_identifier()}_contract", specs=specs, op_tags=FIRST)
    def contract(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        from pipelines.checks.validation import validate

        cell = params.parse_cell(f"{benchmark}-{context.partition_key}")
        pages = root / "data_docs" / stage / cell.key
        frames, suites = FRAMES[stage](Layout(root), params, cell)
        for name, verdict in validate(frames, suites, pages).items():
            if not verdict.passed:
                print(f"{asset.to_user_string()} {name}: " + "; ".join(verdict.broken), flush=True)
            yield dg.AssetCheckResult(
                asset_key=asset,
                check_name=name,
                passed=verdict.passed,
                severity=dg.AssetCheckSeverity.ERROR if verdict.critical else dg.AssetCheckSeverity.WARN,
                description="; ".join(verdict.broken) or None,
                metadata={
                    "rows": verdict.rows,
                    "expectations": verdict.expectations,
                    "broken": "; ".join(verdict.broken) or "none",
                    "data_docs": link(root, pages / "index.html"),
                },
            )

    return contract


def raw(layout: Layout, params: Params, cell: Cell) -> tuple[dict, dict]:
    """Frames and suites of a source."""
    from pipelines.checks import frames, suites

    return frames.raw(layout.raw(cell)), suites.raw()


def few_shot(layout: Layout, params: Params, cell: Cell) -> tuple[dict, dict]:
    """Frames and suites of a few-shot sample."""
    from pipelines.checks import frames, suites
    from vrft_core.annotations import Annotations
    from vrft_core.sampling import targets

    settings = params.recipe(cell).few_shot
    source = Annotations.load(layout.raw(cell) / "annotations.json")
    wanted = targets(source, settings.frequencies, params.benchmarks[cell.benchmark].categories)
    return (
        frames.few_shot(
            layout.few_shot(cell),
            layout.raw(cell),
            [category["id"] for category in wanted],
            cell.shots,
            all_there_are=settings.when_short == "all",
        ),
        suites.few_shot(),
    )


def prompts(layout: Layout, params: Params, cell: Cell) -> tuple[dict, dict]:
    """Frames and suites of training and validation examples."""
    from pipelines.checks import frames, suites

    recipe = params.recipe(cell)
    return frames.prompts(layout.prompts(cell), layout.raw(cell), layout.few_shot(cell), recipe), suites.prompts()


FRAMES: dict[str, Callable] = {"raw": raw, "few_shot": few_shot, "prompts": prompts}
