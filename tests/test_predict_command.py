"""`vrft predict` and `vrft presence` on a model folder and images of one's own."""

import json
from pathlib import Path

import pytest
from PIL import Image

from vrft_core import io, policy
from vrft_core.cli import main
from vrft_core.policy.model import PATCH_SIZE, build_model
from vrft_core.policy.processor import build_processor
from vrft_core.policy.tokenizer import build_tokenizer

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def small_policy(tmp_path_factory) -> Path:
    """Random weights: what it answers means nothing, but it answers."""
    directory = tmp_path_factory.mktemp("policy")
    tokenizer = build_tokenizer(["cat", "dog"], 20, "qwen3-vl")
    size = {"hidden_size": 32, "layers": 1, "heads": 2, "vision_size": 24, "vision_layers": 2, "vision_heads": 2}
    policy.save(directory, build_model(tokenizer, 0, **size), build_processor(tokenizer, PATCH_SIZE, 784, 12544))
    return directory


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "images/b").mkdir(parents=True)
    Image.new("RGB", (90, 60)).save(tmp_path / "images/a.png")
    Image.new("RGB", (60, 90)).save(tmp_path / "images/b/c.jpg")
    return tmp_path / "images"


def test_predict_asks_for_every_category_in_every_image_of_a_folder(small_policy, folder, tmp_path, capsys):
    output = tmp_path / "out.jsonl"
    status = main(
        ["--root", str(ROOT), "predict", "--model", str(small_policy), "--images", str(folder), "--output", str(output),
         "--categories", "cat", "猫"]
    )  # fmt: skip
    assert status == 0
    rows = io.read_jsonl(output)
    assert [(row["file_name"], row["category"]) for row in rows] == [
        ("a.png", "cat"), ("a.png", "猫"), ("b/c.jpg", "cat"), ("b/c.jpg", "猫")
    ]  # fmt: skip
    assert set(rows[0]["rankings"]) == {"likelihood", "certainty"}
    assert json.loads(capsys.readouterr().out)["questions"] == 4
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([], "nothing says what to look for"),
        (["--categories", "cat", "--presence", "self"], "needs to know what is there"),
        (["--categories", "cat", "--recipe", "huge"], "no recipe 'huge'"),
        (["--categories", "cat", "--images", "nowhere"], "holds no images"),
    ],
)
def test_predict_names_what_is_missing(small_policy, folder, tmp_path, capsys, arguments, fault):
    output = tmp_path / "out.jsonl"
    common = ["--root", str(ROOT), "predict", "--model", str(small_policy), "--images", str(folder)]
    assert main([*common, "--output", str(output), *arguments]) == 2
    assert fault in capsys.readouterr().err
    assert not output.exists()


def test_a_model_that_cannot_say_yes_or_no_makes_no_map(small_policy, folder, tmp_path, capsys):
    output = tmp_path / "map.json"
    status = main(
        ["--root", str(ROOT), "presence", "--model", str(small_policy), "--images", str(folder), "--categories", "cat",
         "--output", str(output)]
    )  # fmt: skip
    assert status == 2
    assert "neither yes nor no" in capsys.readouterr().err
    assert not output.exists()
