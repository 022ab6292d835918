"""The regression gate: a model that has become worse than its recorded baseline fails the run that found it."""

from pathlib import Path

import dagster as dg

from vrft_core import io
from vrft_core.cell import Layout
from vrft_core.params import Params


def no_regression(asset: dg.AssetsDefinition, root: Path, params: Params) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset,
        blocking=True,
        partitions_def=asset.partitions_def,
        description="Not worse than the baseline: the paired 95 % interval does not lie wholly below zero.",
    )
    def no_regression(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        cell = params.parse_cell(context.partition_key)
        found = io.read_json(Layout(root).runs(cell, "nightly") / "comparison.json")
        name = found.get("metric")
        if name is None:
            raise dg.Failure(f"{cell.key}: the comparison is older than the metrics' names; run nightly_eval again")
        verdict = (
            f"{cell.key}: {name} {found[name]:.3f}, baseline {found[f'baseline {name}']:.3f}, difference "
            f"{found['difference']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"
        )
        print(verdict + ("" if found["passed"] else ": WORSE"), flush=True)
        return dg.AssetCheckResult(passed=found["passed"], description=verdict, metadata=found)

    return no_regression
