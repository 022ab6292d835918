"""A dvc.yaml in Dagster. Beside this file: `git init && dvc init && dagster dev -f definitions.py`."""

from pathlib import Path

import dagster as dg

from dagster_dvc import DvcProject, dvc_assets

project = DvcProject(root=str(Path(__file__).parent))
assets = dvc_assets(project)


@dg.asset_check(asset="total", description="The sum is that of the squares and cubes of 1 to 10.")
def total_is_right(dvc: DvcProject) -> dg.AssetCheckResult:
    found = dvc.metrics(dvc.stages()["total"])["sum"]
    return dg.AssetCheckResult(passed=found == 385 + 3025, metadata={"sum": found})


defs = dg.Definitions(
    assets=assets,
    asset_checks=[total_is_right],
    jobs=[dg.define_asset_job("everything")],
    resources={"dvc": project},
)
