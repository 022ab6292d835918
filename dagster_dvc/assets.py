"""dvc.yaml → Dagster assets, as dagster-dbt does it for a dbt manifest.

The graph, the commands and the descriptions are dvc.yaml's. Which stages become one asset, with which partitions, is a
`DvcAsset`; `layout` is the plain choice: one asset a stage, one partition a key of `foreach`.
"""

import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_dvc.project import DvcProject, Stage

Run = Callable[[Callable[[], None], Callable[[], None]], Mapping[str, Any]]  # prepare, commit → metadata


@dataclass(frozen=True)
class DvcAsset:
    """One asset. `targets`: partition → DVC target; {"": target} for one without partitions. Targets may repeat."""

    key: dg.AssetKey
    targets: Mapping[str, str]

    @property
    def example(self) -> str:
        """Any of its targets: they differ in their key alone."""
        return next(iter(self.targets.values()))

    @property
    def partitions(self) -> dg.StaticPartitionsDefinition | None:
        return None if "" in self.targets else dg.StaticPartitionsDefinition(list(self.targets))


def layout(stages: Mapping[str, Stage]) -> list[DvcAsset]:
    """One asset a stage of dvc.yaml, called as `meta.dagster.asset` says or as the stage; one partition a key."""
    found: dict[str, dict[str, str]] = {}
    for target, stage in stages.items():
        found.setdefault(stage.settings.get("asset", stage.name), {})[stage.key] = target
    return [DvcAsset(dg.AssetKey(name), targets) for name, targets in found.items()]


def asset_arguments(asset: DvcAsset, every: Sequence[DvcAsset], stages: Mapping[str, Stage]) -> dict[str, Any]:
    """What `@dg.asset` is called with: key, edges, partitions, description, group and kinds.

    `every`: all assets of the graph, this one among them. `meta.dagster` of a stage may give `group` and `kinds`.
    """
    stage = stages[asset.example]
    return {
        "key": asset.key,
        "deps": dependencies(asset, every, stages),
        "description": stage.description or None,
        "partitions_def": asset.partitions,
        "group_name": stage.settings.get("group"),
        "kinds": {"dvc", *stage.settings.get("kinds", [])},
        "metadata": {"stage": stage.name, **({"code": dg.MetadataValue.path(stage.files[0])} if stage.files else {})},
    }


def dependencies(asset: DvcAsset, every: Sequence[DvcAsset], stages: Mapping[str, Stage]) -> list[dg.AssetDep]:
    """The edges of dvc.yaml. Where partitions differ, the targets say which feed which."""
    needed = {need for target in asset.targets.values() for need in stages[target].needs}
    deps = []
    for other in every:
        if other.key == asset.key or not needed & set(other.targets.values()):
            continue
        mapping = None
        if "" not in asset.targets and "" not in other.targets and other.targets.keys() != asset.targets.keys():
            feeds = {
                partition: {mine for mine, own in asset.targets.items() if target in stages[own].needs}
                for partition, target in other.targets.items()
            }
            mapping = dg.StaticPartitionMapping(feeds)
        deps.append(dg.AssetDep(other.key, partition_mapping=mapping))
    return deps


def materialize(stage: Stage, dvc: DvcProject, run: Run) -> dg.MaterializeResult:
    """Run a stage where DVC says that it is needed, and let DVC record what it made.

    `run(prepare, commit)` runs the stage's command: it calls `prepare` before the command begins and `commit` when it
    ended well, raises where it did not, and returns metadata. It may hand the command to another machine.
    """
    with dvc.alone(stage.target):
        version = dvc.made(stage.target)
        cached, reported, made = version is not None, {}, []
        if not cached:
            reported = run(lambda: dvc.clear(stage.target), lambda: made.append(dvc.commit(stage.target)))
        return dg.MaterializeResult(
            metadata={
                **reported,
                **dvc.metrics(stage),
                "files": dg.MetadataValue.md("\n".join(f"- `{out}`" for out in stage.outs)),
                "cached": cached,
                "command": stage.command,
                "target": stage.target,
            },
            data_version=dg.DataVersion(version or made[-1]),
        )


def dvc_assets(project: DvcProject) -> list[dg.AssetsDefinition]:
    """Every stage of a project as an asset that runs its command on this machine; see `layout`.

    The assets ask for a resource `dvc`, the project.
    """
    stages = project.stages()
    every = layout(stages)
    return [_asset(asset, every, stages) for asset in every]


def _asset(asset: DvcAsset, every: Sequence[DvcAsset], stages: Mapping[str, Stage]) -> dg.AssetsDefinition:
    def stage_asset(context: dg.AssetExecutionContext, dvc: DvcProject) -> dg.MaterializeResult:
        stage = stages[asset.targets[context.partition_key if context.has_partition_key else ""]]
        return materialize(stage, dvc, lambda prepare, commit: _run_here(stage, Path(dvc.root), prepare, commit))

    return dg.asset(**asset_arguments(asset, every, stages))(stage_asset)


def _run_here(stage: Stage, root: Path, prepare: Callable[[], None], commit: Callable[[], None]) -> dict:
    """DVC's commands are shell, so a command with shell in it goes to one. Raises dg.Failure with its status."""
    prepare()
    done = subprocess.run(["sh", "-c", stage.command], cwd=root, check=False)
    if done.returncode:
        raise dg.Failure(f"{shlex.quote(stage.command)} ended with status {done.returncode}")
    commit()
    return {}
