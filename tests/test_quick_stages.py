"""The graph without DVC is the graph with it, and what is not understood is left to DVC."""

from pathlib import Path

import pytest
import yaml
from small_project import ROOT

from dagster_dvc import DvcProject
from pipelines.quick_stages import resolve


@pytest.mark.slow
def test_dvc_says_the_same_of_this_projects_stages_in_the_same_order():
    theirs, _ = DvcProject(root=str(ROOT))._resolve()
    ours = resolve(ROOT)
    assert ours == theirs and list(ours) == list(theirs)


GRAPH = {
    "stages": {
        "raw": {
            "foreach": "${grid.data}",
            "do": {
                "cmd": "vrft stage raw --cell ${key}", "params": ["of.${item.of}"], "deps": ["code"],
                "outs": ["data/${key}"], "plots": [{"drawn/${key}": {"x": "x"}}],
            },
        }
    }
}  # fmt: skip


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump(GRAPH))
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"grid": {"data": {"a": {"of": "x"}}}, "of": {"x": 1}}))
    return tmp_path


def first(graph: dict) -> dict:
    return graph["stages"]["raw"]["do"]


@pytest.mark.parametrize(
    "change",
    [
        lambda graph: graph.update(vars=[{"a": 1}]),
        lambda graph: graph["stages"]["raw"].update(foreach=["a", "b"]),
        lambda graph: graph["stages"]["raw"].update(matrix={"a": [1]}),
        lambda graph: graph["stages"].update(alone={"cmd": "true"}),
        lambda graph: first(graph).update(wdir="data"),
        lambda graph: first(graph).update(cmd=["one", "two"]),
        lambda graph: first(graph).update(cmd="echo ${nightly.hour}"),
        lambda graph: first(graph).update(cmd="echo ${item.data.kind}"),
        lambda graph: first(graph).update(cmd="echo ${item.unknown}"),
        lambda graph: first(graph).update(params=[{"other.yaml": ["a"]}]),
        lambda graph: first(graph).update(deps=["../elsewhere"]),
        lambda graph: first(graph).update(deps=["./code/"]),
        lambda graph: first(graph).update(outs=["s3://bucket/${key}"]),
    ],
)
def test_what_is_not_understood_is_left_to_dvc(change, root):
    assert resolve(root)
    graph = yaml.safe_load((root / "dvc.yaml").read_text())
    change(graph)
    (root / "dvc.yaml").write_text(yaml.safe_dump(graph, sort_keys=False))
    assert resolve(root) is None


def test_without_a_graph_dvc_says_so(tmp_path):
    assert resolve(tmp_path) is None
