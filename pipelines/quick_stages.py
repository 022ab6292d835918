"""dvc.yaml resolved without DVC, which takes fifteen CPU seconds for a grid of 300 cells, after every edit.

Only for a dvc.yaml that uses no more of DVC's language than this project's own does; any other is left to DVC. What
comes out is what DVC would say; reading the file belongs to `vrft_core.graph`.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from dagster_dvc.stage import Made, Stage
from vrft_core.errors import InputError
from vrft_core.graph import MADE, load, paths, written_out

TOP = {"stages"}
STAGE = {"foreach", "do"}
DO = {"desc", "meta", "cmd", "deps", "params", *MADE}
FOREACH = re.compile(r"\$\{grid\.\w+\}")
PLACES = re.compile(r"\$\{(?!key\}|item\}|item\.\w+\})")


def resolve(root: Path) -> dict[str, Stage] | None:
    """Every stage by its target, as `DvcProject.stages`; None where DVC has to be asked."""
    try:
        graph = load(root / "dvc.yaml")
        if not _known(graph):
            return None
        found = dict(written_out(root, graph))
    except (InputError, KeyError, TypeError, AttributeError):  # DVC says what is wrong
        return None
    outs = {target: paths(one, *MADE) for target, one in found.items()}
    made, makers = cache(Made(out for one in outs.values() for out in one).__contains__), cache(_Makers(outs).of)
    return {
        target: Stage(
            name=target.partition("@")[0],
            key=target.partition("@")[2],
            command=one["cmd"],
            description=one.get("desc", ""),
            settings=one.get("meta", {}).get("dagster", {}),
            files=tuple(path for path in one.get("deps", ()) if not made(path)),
            needs=tuple(sorted(frozenset().union(*map(makers, one.get("deps", ()))) - {target})),
            outs=outs[target],
            metrics=tuple(out for out in outs[target] if out in paths(one, "metrics")),
        )
        for target, one in found.items()
    }


class _Makers:
    """Which targets make a path, a part of it, or a folder that it is in."""

    def __init__(self, outs: Mapping[str, tuple[str, ...]]) -> None:
        self._at: dict[PurePosixPath, set[str]] = defaultdict(set)
        self._below: dict[PurePosixPath, set[str]] = defaultdict(set)
        for target, own in outs.items():
            for out in map(PurePosixPath, own):
                self._at[out].add(target)
                for folder in out.parents:
                    self._below[folder].add(target)

    def of(self, path: str) -> frozenset[str]:
        own = PurePosixPath(path)
        return frozenset(self._below.get(own, ())).union(*(self._at.get(place, ()) for place in (own, *own.parents)))


def _known(graph: Mapping[str, Any]) -> bool:
    """Whether it uses only what is understood here."""
    stages = graph.get("stages", {})
    return graph.keys() <= TOP and all(
        stage.keys() == STAGE
        and FOREACH.fullmatch(stage["foreach"])
        and stage["do"].keys() <= DO
        and isinstance(stage["do"]["cmd"], str)
        and not any(map(PLACES.search, _texts(stage["do"])))
        and all(map(_plain, (*stage["do"].get("deps", ()), *paths(stage["do"], *MADE))))
        and all(isinstance(one, str) for one in stage["do"].get("params", ()))
        for stage in stages.values()
    )


def _plain(path: Any) -> bool:
    """Whether DVC takes it as it stands: a path below the root, without detours."""
    if not isinstance(path, str) or "://" in path:
        return False
    own = PurePosixPath(path)
    return str(own) == path and not own.is_absolute() and ".." not in own.parts


def _texts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [text for pair in value.items() for one in pair for text in _texts(one)]
    return [text for one in value for text in _texts(one)] if isinstance(value, list) else [str(value)]
