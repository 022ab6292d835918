"""dvc.yaml and dvc.lock without DVC: what each stage needs and makes, and whether what is recorded still holds.

Only what this project's dvc.yaml uses: `foreach` over the grid of params.yaml, `${key}`, `${item}`, `${item.name}`.
Digests and records are DVC's own, so that what one has made the other recognises.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from vrft_core import io
from vrft_core.digests import md5, of_file
from vrft_core.errors import InputError
from vrft_core.yaml_text import parse, read

LOCK = "dvc.lock"
MADE = ("outs", "metrics", "plots")
IGNORED = ("__pycache__", "*.pyc")  # of .dvcignore, what may lie in a folder that a stage names
_PLACE = re.compile(r"\$\{(key|item)(?:\.(\w+))?\}")


@dataclass(frozen=True)
class Stage:
    """One stage for one key. Paths are relative to the root; `params` names values of params.yaml."""

    target: str  # such as rft@lvis-mini-1shot-s0
    command: str
    deps: tuple[str, ...]
    params: tuple[str, ...]
    outs: tuple[str, ...]


def stages(root: Path) -> dict[str, Stage]:
    """Every stage of dvc.yaml by its target. Raises InputError where a file cannot be read or a name is unknown."""
    return {
        target: Stage(target, one["cmd"], tuple(one.get("deps", ())), tuple(one.get("params", ())), paths(one, *MADE))
        for target, one in written_out(root, load(root / "dvc.yaml"))
    }


def written_out(root: Path, graph: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(target, what `do` says for its key) of every stage of `graph`, the content of dvc.yaml.

    Raises InputError where params.yaml cannot be read or a name is unknown.
    """
    grid = load(root / "params.yaml").get("grid", {})
    for name, stage in graph.get("stages", {}).items():
        rows = grid.get(stage["foreach"].removeprefix("${grid.").removesuffix("}"), {})
        for key, item in rows.items() if isinstance(rows, Mapping) else ((row, row) for row in rows):
            yield f"{name}@{key}", _filled(stage["do"], str(key), item, root / "dvc.yaml")


def paths(stage: Mapping[str, Any], *kinds: str) -> tuple[str, ...]:
    """What a stage makes, of some kinds of outs; settings of one, such as a plot's, are left out."""
    entries = [entry for kind in kinds for entry in stage.get(kind, ())]
    return tuple(next(iter(entry)) if isinstance(entry, Mapping) else entry for entry in entries)


def in_order(every: Mapping[str, Stage], target: str) -> list[Stage]:
    """A stage and all it needs, those first that others need."""
    if target not in every:
        raise InputError(target, "is not a stage of dvc.yaml", "is its cell in the grid of params.yaml?")
    order: dict[str, Stage] = {}

    def visit(name: str) -> None:
        if name not in order:
            for maker in makers(every, every[name]):
                visit(maker)
            order[name] = every[name]

    visit(target)
    return list(order.values())


def makers(every: Mapping[str, Stage], stage: Stage) -> list[str]:
    """The targets that make what a stage needs, a part of it, or a folder that it is in, in the order of its needs."""
    outs = [(f"{out}/", other.target) for other in every.values() if other != stage for out in other.outs]
    found = [
        maker for dep in stage.deps for out, maker in outs if f"{dep}/".startswith(out) or out.startswith(f"{dep}/")
    ]
    return list(dict.fromkeys(found))


def entry(root: Path, stage: Stage, outs: bool = True) -> dict[str, Any]:
    """What dvc.lock says of a stage as things are now. Raises InputError where something is missing."""
    values = load(root / "params.yaml")
    found: dict[str, Any] = {"cmd": stage.command, "deps": [_digest(root, path) for path in sorted(stage.deps)]}
    if stage.params:
        found["params"] = {"params.yaml": {name: _value(values, name) for name in sorted(stage.params)}}
    return found | ({"outs": [_digest(root, path) for path in sorted(stage.outs)]} if outs else {})


def holds(root: Path, stage: Stage, recorded: Mapping[str, Any] | None) -> bool:
    """Whether a record still tells the truth: command, dependencies, parameters and outs."""
    if recorded is None or not all((root / path).exists() for path in (*stage.deps, *stage.outs)):
        return False
    return _same(_essence(entry(root, stage)), _essence(recorded))


def recorded(root: Path) -> dict[str, Any]:
    """The entries of dvc.lock by target; none where it is missing."""
    return load(root / LOCK).get("stages", {}) if (root / LOCK).is_file() else {}


def record(root: Path, target: str, found: Mapping[str, Any]) -> None:
    """Put an entry into dvc.lock."""
    entries = recorded(root) | {target: found}
    text = yaml.safe_dump({"schema": "2.0", "stages": entries}, sort_keys=False, allow_unicode=True)
    io.write_text(root / LOCK, text)


def load(path: Path) -> dict[str, Any]:
    found = parse(read(path), path)
    if not isinstance(found, dict):
        raise InputError(path, "holds no mapping", "restore the file")
    return found


def _filled(value: Any, key: str, item: Any, path: Path) -> Any:
    """`value` with what stands for the key and the item of the grid put in."""
    if isinstance(value, Mapping):
        return {_filled(name, key, item, path): _filled(one, key, item, path) for name, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, key, item, path) for one in value]
    if not isinstance(value, str) or "${" not in value:
        return value

    def put(place: re.Match) -> str:
        whole, name = (key if place[1] == "key" else item), place[2]
        if name is None:
            return str(whole)
        if not isinstance(whole, Mapping) or name not in whole:
            raise InputError(path, f"{place[0]}: {key} has no {name!r}", "add it to the row in params.yaml")
        return str(whole[name])

    return _PLACE.sub(put, value)


def _value(values: Any, name: str) -> Any:
    for part in name.split("."):
        if not isinstance(values, Mapping) or part not in values:
            raise InputError("params.yaml", f"has no {name}", "add it, or remove the row from the grid")
        values = values[part]
    return values


def _digest(root: Path, path: str) -> dict[str, Any]:
    """DVC's: a file's MD5, or for a folder that of the list of its files with theirs."""
    place = root / path
    if not place.exists():
        raise InputError(place, "is missing", "run the stage that makes it, or restore the file")
    if place.is_file():
        return {"path": path, "hash": "md5", "md5": of_file(place), "size": place.stat().st_size}
    files = sorted((file.relative_to(place).as_posix(), file) for file in _files(place))
    listed = json.dumps([{"md5": of_file(file), "relpath": name} for name, file in files], sort_keys=True)
    digest = md5(listed.encode()).hexdigest()
    size = sum(file.stat().st_size for _, file in files)
    return {"path": path, "hash": "md5", "md5": f"{digest}.dir", "size": size, "nfiles": len(files)}


def _files(folder: Path) -> Iterator[Path]:
    for directory, names, files in os.walk(folder, followlinks=True):
        names[:] = [name for name in names if not _ignored(name)]
        yield from (Path(directory, name) for name in files if not _ignored(name))


def _ignored(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in IGNORED)


def _essence(found: Mapping[str, Any]) -> dict[str, Any]:
    """An entry without what it says for information only, such as sizes."""
    digests = {kind: {one["path"]: one.get("md5") for one in found.get(kind, ())} for kind in ("deps", "outs")}
    return {"cmd": found["cmd"], **digests, "params": found.get("params", {})}


def _same(a: Any, b: Any) -> bool:
    """Equal; a number that one library writes as `1e-05` and another reads as text is the same number."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[name], b[name]) for name in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_same(*pair) for pair in zip(a, b, strict=True))
    if isinstance(a, str) and isinstance(b, float):
        a, b = b, a
    if isinstance(a, float) and isinstance(b, str):
        with suppress(ValueError):
            return a == float(b)
    return a == b
