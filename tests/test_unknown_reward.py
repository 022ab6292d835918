"""A reward in params.yaml that does not exist is refused before anything runs."""

from pathlib import Path

from vrft_core.cli import main

ROOT = Path(__file__).parents[1]


def test_a_misspelled_reward_is_named_with_those_that_exist_before_the_first_stage(tmp_path, capsys):
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(
        text.replace("rewards: {iou: 1.0, format: 1.0}", "rewards: {iou: 1.0, fromat: 1.0}"), encoding="utf-8"
    )

    assert main(["--root", str(tmp_path), "run", "phrases-mini-4shot-s0"]) == 2

    said = capsys.readouterr().err
    assert said.startswith("vrft: params.yaml: recipes.mini.tasks.grounding.rewards: no reward 'fromat'; known: ")
    assert "format" in said and [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
