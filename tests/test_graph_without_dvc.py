"""dvc.yaml read without DVC: the same stages, the same order, and the truth about what is stale."""

from pathlib import Path

import pytest
import yaml

from vrft_core import graph
from vrft_core.errors import InputError

GRAPH = """
stages:
  first:
    foreach: ${grid.names}
    do: {cmd: "vrft first --cell ${item}", params: ["size.${item}"], deps: [code], outs: ["made/${item}"]}
  second:
    foreach: ${grid.rows}
    do:
      cmd: vrft second --cell ${key}
      deps: ["made/${item.of}"]
      outs: ["seen/${key}"]
      metrics: ["seen-${key}.json"]
      plots: [{"drawn/${key}": {x: x}}]
"""
PARAMS = {"grid": {"names": ["a", "b"], "rows": {"r": {"of": "b"}}}, "size": {"a": 1.0e-5, "b": 2}}


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "dvc.yaml").write_text(GRAPH)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    (tmp_path / "code/__pycache__").mkdir(parents=True)
    (tmp_path / "code/one.py").write_text("1")
    (tmp_path / "code/__pycache__/one.pyc").write_text("1")
    (tmp_path / "made/a").mkdir(parents=True)
    (tmp_path / "made/a/file").write_text("made")
    return tmp_path


def test_a_stage_comes_after_what_it_needs_and_nothing_else_is_run(root):
    found = graph.stages(root)

    assert [stage.target for stage in graph.in_order(found, "second@r")] == ["first@b", "second@r"]
    assert found["second@r"].outs == ("seen/r", "seen-r.json", "drawn/r")
    with pytest.raises(InputError, match="third@r"):
        graph.in_order(found, "third@r")


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "code/two.py").write_text("2"),
        lambda root: (root / "made/a/file").write_text("edited"),
        lambda root: (root / "params.yaml").write_text(
            (root / "params.yaml").read_text().replace("a: 1.0e-05", "a: 3")
        ),
        lambda root: (root / "made/a/file").rename(root / "made/a/other"),
        lambda root: (root / "dvc.yaml").write_text(GRAPH.replace("vrft first", "vrft other")),
    ],
    ids=["code", "out", "parameter", "name of a file", "command"],
)
def test_a_record_holds_until_something_of_its_stage_changes(change, root):
    stage = graph.stages(root)["first@a"]
    assert not graph.holds(root, stage, graph.recorded(root).get("first@a"))
    graph.record(root, "first@a", graph.entry(root, stage))
    (root / "code/__pycache__/two.pyc").write_text("2")
    assert graph.holds(root, stage, graph.recorded(root)["first@a"])

    change(root)
    assert not graph.holds(root, graph.stages(root)["first@a"], graph.recorded(root)["first@a"])


def test_a_number_as_dvc_writes_it_is_the_same_number(root):
    stage = graph.stages(root)["first@a"]
    graph.record(root, "first@a", graph.entry(root, stage))
    lock = root / graph.LOCK
    lock.write_text(lock.read_text().replace("1.0e-05", "1e-05"))

    assert graph.recorded(root)["first@a"]["params"]["params.yaml"]["size.a"] == "1e-05", "text, for this YAML reader"
    assert graph.holds(root, stage, graph.recorded(root)["first@a"])


def test_what_is_missing_is_named(root):
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS | {"size": {"b": 2}}))
    with pytest.raises(InputError, match="has no size"):
        graph.entry(root, graph.stages(root)["first@a"])
    with pytest.raises(InputError, match="made/b"):
        graph.entry(root, graph.stages(root)["second@r"])
