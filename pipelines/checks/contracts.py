"""The data contracts: blocking checks on raw data, few-shot samples and prompts, one check for each suite.

A broken `critical` expectation stops everything downstream in the run; a `warning` is shown and stops nothing.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg

from pipelines.dvc_assets import FIRST, asset_key, benchmarks, partitions
from pipelines.dvc_project import DvcProject
from pipelines.pages import link
from vrft_core import expectations
from vrft_core.cell import Cell, Layout
from vrft_core.families.form import Form
from vrft_core.params import Params
from vrft_core.stages import STAGES as SCOPES
from vrft_core.tasks import get_task

STAGES = ("raw", "few_shot", "prompts")


def data_checks(root: Path, project: DvcProject, params: Params) -> list[dg.AssetChecksDefinition]:
    stages = {stage.name: stage for stage in project.stages().values()}
    return [
        _checks(root, params, benchmark, name, asset_key(benchmark, stages[name]))
        for benchmark in benchmarks(params)
        for name in STAGES
    ]


def _checks(root: Path, params: Params, benchmark: str, stage: str, asset: dg.AssetKey) -> dg.AssetChecksDefinition:
    parts = partitions(params, benchmark, stage)
    specs = [
        dg.AssetCheckSpec(name, asset=asset, description=text, blocking=True, partitions_def=parts)
        for name, text in _descriptions(params.benchmarks[benchmark].task, stage).items()
    ]

    @dg.multi_asset_check(name=f"{asset.to_python_identifier()}_contract", specs=specs, op_tags=FIRST)
    def contract(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        from pipelines.checks.page import NAME, write
        from pipelines.checks.validation import validate

        cell = params.parse_cell(f"{benchmark}-{context.partition_key}")
        pages = root / "data_docs" / stage / cell.at(SCOPES[stage]).key
        frames, suites = CONTRACTS[stage](Layout(root), params, cell)
        verdicts = validate(frames, suites, pages)
        write(pages, f"{pages.name}: {stage}", verdicts)
        for name, verdict in verdicts.items():
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
                    "data_docs": link(root, pages / NAME),
                },
            )

    return contract


def _descriptions(task: str, stage: str) -> dict[str, str]:
    """What each check says, those of any task first."""
    return expectations.DESCRIPTIONS.get(stage, {}) | dict(get_task(task).checks.DESCRIPTIONS.get(stage, {}))


def raw(layout: Layout, params: Params, cell: Cell) -> tuple[dict, dict]:
    """Frames and suites of raw data."""
    from pipelines.checks.suites import suites
    from vrft_core import data_frames

    task, directory = get_task(params.task(cell)), layout.raw(cell)
    frames = data_frames.raw(directory, params.benchmark(cell).expect) | task.frames.raw(directory)
    return frames, suites({**expectations.RAW, **task.checks.EXPECTATIONS["raw"]})


def few_shot(layout: Layout, params: Params, cell: Cell) -> tuple[dict, dict]:
    """Frames and suites of a few-shot sample."""
    from pipelines.checks.suites import suites
    from vrft_core import data_frames
    from vrft_core.annotations import Annotations
    from vrft_core.sampling import targets

    settings = params.recipe(cell).few_shot
    source = Annotations.load(layout.raw(cell) / "annotations.json")
    wanted = [category["id"] for category in targets(source, settings.frequencies, params.benchmark(cell).sampled)]
    frames = data_frames.few_shot(
        layout.few_shot(cell),
        layout.raw(cell),
        wanted,
        cell.shots,
        all_there_are=settings.when_short == "all",
        published=settings.published,
    )
    return frames, suites(expectations.FEW_SHOT)


def prompts(layout: Layout, params: Params, cell: Cell) -> tuple[dict, dict]:
    """Frames and suites of training and validation examples."""
    from pipelines.checks.suites import suites

    task, form = get_task(params.task(cell)), Form.of(params.recipe(cell))
    frames = task.frames.prompts(layout.prompts(cell), layout.raw(cell), layout.few_shot(cell), form)
    return frames, suites(task.checks.EXPECTATIONS["prompts"])


CONTRACTS: dict[str, Callable] = {"raw": raw, "few_shot": few_shot, "prompts": prompts}
