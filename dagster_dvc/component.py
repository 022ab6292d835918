"""A project of DVC's as a Dagster component, for definitions in YAML."""

from pathlib import Path

import dagster as dg

from dagster_dvc.assets import dvc_assets
from dagster_dvc.project import DvcProject


class DvcProjectComponent(dg.Component, dg.Model, dg.Resolvable):
    """Every stage of a dvc.yaml as an asset.

    `root`: the folder of the DVC repository, absolute or relative to the component's own folder.
    """

    root: str = "."

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        here = Path(context.path)
        folder = here if here.is_dir() else here.parent
        project = DvcProject(root=str((folder / self.root).resolve()))
        return dg.Definitions(assets=dvc_assets(project), resources={"dvc": project})
