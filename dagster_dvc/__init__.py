"""Dagster assets from a dvc.yaml: the graph, the commands and what is up to date are DVC's; nothing is repeated.

Needs dagster and dvc, and nothing of the project that it lives in: README.md says how to use it.
"""

from dagster_dvc.assets import DvcAsset, asset_arguments, dvc_assets, layout, materialize
from dagster_dvc.component import DvcProjectComponent
from dagster_dvc.project import DvcProject, Stage

__all__ = [
    "DvcAsset", "DvcProject", "DvcProjectComponent", "Stage", "asset_arguments", "dvc_assets", "layout", "materialize",
]  # fmt: skip
