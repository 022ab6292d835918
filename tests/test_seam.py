"""The seam between tasks and all else: outside `tasks/` nobody knows which tasks there are, or what they measure."""

import ast
import re
from collections.abc import Iterator
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import pytest

from vrft_core import tasks
from vrft_core.tasks import Task

ROOT = Path(__file__).parents[1]
TASKS = ROOT / "vrft_core/tasks"
PACKAGES = sorted(path.name for path in TASKS.iterdir() if path.is_dir() and (path / "answers.py").is_file())
OUTSIDE = [
    path
    for folder in ("vrft_core", "pipelines")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if not path.is_relative_to(TASKS)
]
PARTS = [name for name, value in vars(Task).items() if isinstance(value, cached_property)]
METRIC = re.compile(r"(?<![A-Za-z])m?AP[0-9]*(?![A-Za-z0-9])|lvis/|coco/|mIoU|(?<![a-z])accuracy(?![a-z])")


def spoken(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every identifier, module name and string of a file; docstrings and comments are none of them."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    described = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body
        and isinstance(node.body[0], ast.Expr)
    }  # fmt: skip
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in described:
                yield node.lineno, text
            case ast.Name(id=text) | ast.Attribute(attr=text) | ast.arg(arg=text) | ast.keyword(arg=str(text)):
                yield getattr(node, "lineno", 0), text
            case ast.FunctionDef(name=text) | ast.ClassDef(name=text) | ast.AsyncFunctionDef(name=text):
                yield node.lineno, text
            case ast.ImportFrom(module=str(text)):
                yield node.lineno, text
            case ast.alias(name=text):
                yield node.lineno, text


def uttered(pattern: re.Pattern) -> list[str]:
    """Where and how the code outside `tasks/` says something."""
    return [
        f"{path.relative_to(ROOT)}:{line}: {text.strip()[:60]!r}"
        for path in OUTSIDE
        for line, text in spoken(path)
        if pattern.search(text)
    ]


def test_no_task_is_named_outside():
    names = "|".join(PACKAGES)
    assert uttered(re.compile(rf"(?<![a-z])({names})(?![a-z])")) == []


def test_no_metric_is_named_outside():
    assert uttered(METRIC) == []


def test_no_parser_of_answers_is_called_outside():
    """A completion is read by its task's `rewards.read` or `answers.row`, whoever needs it."""
    assert uttered(re.compile(r"^parse_(?!cell$|args$|known_args$|retry_after$)|\banswers\.parse\b")) == []


def test_evaluation_imports_no_task_of_its_own():
    """The contract and the look-up are all it may know."""
    found = []
    for path in sorted((ROOT / "vrft_core/evaluation").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in getattr(node, "names", ())] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            found += [f"{path.name}: {name}" for name in names if name.startswith("vrft_core.tasks.")]
    assert [one for one in found if not one.endswith(": vrft_core.tasks.task")] == []


def test_a_package_with_settings_is_a_task_and_nothing_lists_them():
    assert list(tasks.names()) == [name for name in PACKAGES if (TASKS / name / "settings.py").is_file()]
    assert tasks.DEFAULT in tasks.names()


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", tasks.names())
def test_every_task_has_every_part(name, part):
    assert find_spec(f"vrft_core.tasks.{name}.{part}"), f"{name} lacks {part}"


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", tasks.names())
def test_every_part_has_what_the_contract_names(name, part):
    """The protocol of a part lists its functions and values; a task that lacks one would fail late, in its stage."""
    import vrft_core.tasks.task as contract

    protocol = getattr(contract, part.capitalize())
    wanted = {entry for entry in (*vars(protocol), *protocol.__annotations__) if not entry.startswith("_")}
    assert sorted(entry for entry in wanted if not hasattr(getattr(tasks.get_task(name), part), entry)) == []
