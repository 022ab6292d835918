"""Signs that a reward is gamed, or teaches nothing: asset checks on the results of training and evaluation.

Warnings stop nothing; a reward that no longer pays as specified stops everything before training. The numbers
are computed in `vrft_core`; here they are compared with their limits.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import dagster as dg

from pipelines.dvc_assets import FIRST, asset_key, benchmarks, partitions
from pipelines.dvc_project import DvcProject
from vrft_core import io
from vrft_core.cell import Cell, Layout
from vrft_core.params import Params
from vrft_core.tasks import get_task

TRAINING = {"zero_variance": (0.4, "Share of groups paid alike, over all steps: they teach nothing.")}


def health_checks(root: Path, project: DvcProject, params: Params) -> list[dg.AssetChecksDefinition]:
    stages = {stage.name: stage for stage in project.stages().values()}
    found = []
    for benchmark in benchmarks(params):
        prompts = asset_key(benchmark, stages["prompts"])
        task = params.benchmarks[benchmark].task
        found.append(_golden_rewards(prompts, partitions(params, benchmark, "prompts"), task))
        for name in ("rft_eval", "rft"):
            limits = get_task(task).checks.LIMITS if name == "rft_eval" else TRAINING
            found.append(_warnings(root, params, benchmark, name, asset_key(benchmark, stages[name]), limits))
    return found


def _golden_rewards(asset: dg.AssetKey, parts: dg.PartitionsDefinition, task: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset,
        name="golden_rewards",
        description="Every adversarial answer is still paid as specified.",
        blocking=True,
        partitions_def=parts,
        op_tags=FIRST,
    )
    def golden_rewards() -> dg.AssetCheckResult:
        from vrft_core.evaluation.adversarial import rescore

        found = rescore(get_task(task))
        wrong = [
            f"{one['case']}: {one['reward']} pays {one['paid']}, not {one['golden']}" for one in found["mismatches"]
        ]
        if wrong:
            print(f"{asset.to_user_string()} golden_rewards: " + "; ".join(wrong), flush=True)
        return dg.AssetCheckResult(
            passed=not wrong,
            severity=dg.AssetCheckSeverity.ERROR,
            description="; ".join(wrong[:5]) or None,
            metadata={"cases": found["cases"], "mismatches": len(wrong)},
        )

    return golden_rewards


def _warnings(
    root: Path, params: Params, benchmark: str, stage: str, asset: dg.AssetKey, limits: Mapping[str, tuple[float, str]]
) -> dg.AssetChecksDefinition:
    parts = partitions(params, benchmark, stage)
    specs = [
        dg.AssetCheckSpec(name, asset=asset, description=f"{meaning} At most {most:g}.", partitions_def=parts)
        for name, (most, meaning) in limits.items()
    ]

    @dg.multi_asset_check(name=f"{asset.to_python_identifier()}_health", specs=specs, op_tags=FIRST)
    def health(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        cell = params.parse_cell(f"{benchmark}-{context.partition_key}")
        values = VALUES[stage](Layout(root), params, cell)
        for name, (most, meaning) in limits.items():
            value = values[name]
            passed = value is None or value <= most
            said = "nothing to measure" if value is None else f"{value:.3g}, limit {most:g}"
            if not passed:
                said = f"a warning, the result stands: {said}. {meaning}"
                print(f"{asset.to_user_string()} {name}: {said}", flush=True)
            yield dg.AssetCheckResult(
                asset_key=asset,
                check_name=name,
                passed=passed,
                severity=dg.AssetCheckSeverity.WARN,
                description=said,
                metadata={name: value} if value is not None else {},
            )

    return health


def evaluation(layout: Layout, params: Params, cell: Cell) -> dict[str, float | None]:
    """The values that `rft_eval` is held against; None where there is nothing to measure."""
    found = io.read_json(layout.evaluation(cell, "rft") / "metrics.json")["diagnostics"]
    return get_task(params.task(cell)).diagnostics.measured(found)


def training(layout: Layout, params: Params, cell: Cell) -> dict[str, float | None]:
    """The values that `rft` is held against."""
    log = io.read_json(layout.training(cell, "rft"))["log"]
    shares = [row["frac_reward_zero_std"] for row in log if "frac_reward_zero_std" in row]
    return {"zero_variance": sum(shares) / len(shares) if shares else None}


VALUES = {"rft_eval": evaluation, "rft": training}
