"""Masks from boxes: with a small SAM of random weights, which says nothing about real ones but how they are called."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as reference
from safetensors.torch import load_file, save_file
from transformers import SamConfig, SamMaskDecoderConfig, SamModel, SamPromptEncoderConfig, SamVisionConfig
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from vrft_core.cli import main
from vrft_core.errors import InputError
from vrft_core.tasks.grounding.metrics import segmentation
from vrft_core.tasks.grounding.metrics.overlap import mask_scores

SIDE = 64
WIDTH, HEIGHT = 50, 40


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A folder as of a published SAM."""
    folder = tmp_path_factory.mktemp("sam")
    config = SamConfig(
        vision_config=SamVisionConfig(
            hidden_size=16, output_channels=16, num_hidden_layers=1, num_attention_heads=2, image_size=SIDE,
            patch_size=8, window_size=4, global_attn_indexes=[0], mlp_dim=16, num_pos_feats=8, initializer_range=0.2,
        ),
        prompt_encoder_config=SamPromptEncoderConfig(
            hidden_size=16, image_size=SIDE, patch_size=8, mask_input_channels=4
        ),
        mask_decoder_config=SamMaskDecoderConfig(
            hidden_size=16, mlp_dim=16, num_hidden_layers=1, num_attention_heads=2, iou_head_hidden_dim=16
        ),
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        SamModel(config).save_pretrained(folder)
    sizes = {"size": {"longest_edge": SIDE}, "pad_size": {"height": SIDE, "width": SIDE}}
    SamImageProcessorPil(**sizes).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        Image.fromarray(rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(folder / name)
    return folder


BOXES = [(5, 5, 20, 20), (10, 0, 49, 39)]


def test_there_is_a_mask_of_the_images_own_size_for_each_box(weights, images):
    sam = segmentation.load(weights)
    with Image.open(images / "a.png") as image:
        masks = segmentation.box_masks(sam, image, BOXES)
        alone = segmentation.box_masks(sam, image, BOXES[1:])
    assert masks.shape == (2, HEIGHT, WIDTH)
    assert masks.dtype == bool
    assert 0 < masks.mean() < 1
    assert (masks[0] != masks[1]).any(), "the box has a say"
    assert np.array_equal(masks[1], alone[0]), "other boxes have none"


def test_the_mask_lies_on_the_image_as_the_model_was_shown_it(weights):
    """Of an image twice as wide as high the lower half of what the model sees is padding."""
    sam = segmentation.load(weights)
    seen = torch.zeros(1, 1, 1, SIDE // 4, SIDE // 4)
    seen[..., : SIDE // 8, SIDE // 8 :] = 1.0
    seen[..., SIDE // 8 :, :] = 1.0
    sam.model.forward = lambda **_: type("Said", (), {"pred_masks": seen - 0.5})
    mask = segmentation.box_masks(sam, Image.new("RGB", (200, 100)), [(0, 0, 9, 9)])[0]
    assert mask.shape == (100, 200)
    assert not mask[:90, :90].any()
    assert mask[:90, 110:].all()


def test_an_image_is_encoded_once_for_all_boxes_of_all_its_rows(weights, images):
    sam = segmentation.load(weights)
    encoded = []
    sam.model.vision_encoder.register_forward_hook(lambda *_: encoded.append(1))
    shares = [[x1 / WIDTH, y1 / HEIGHT, x2 / WIDTH, y2 / HEIGHT] for x1, y1, x2, y2 in BOXES]
    paths = [images / name for name in ("a.png", "b.png", "a.png", "a.png")]
    found = dict(segmentation.row_masks(sam, paths, [shares, [shares[0], None], [shares[1]], [None]]))
    assert len(encoded) == 2
    assert [[mask is None for mask in found[number]] for number in range(4)] == [
        [False, False],
        [False, True],
        [False],
        [True],
    ]
    assert np.array_equal(found[0][1], found[2][0])
    assert (found[0][0] != found[1][0]).any(), "the image has a say"


# `vrft evaluate --sam`


def row(box: str, image: str = "a.png", **more) -> dict:
    target = np.zeros((HEIGHT, WIDTH), dtype=np.uint8, order="F")
    target[10:30, 10:30] = 1
    rle = reference.encode(target)
    return {
        "completion": f"<think>x</think><answer>{box}</answer>",
        "solution": "<answer>(200,250),(600,750)</answer>",
        "image": image,
        "target": {"size": rle["size"], "counts": rle["counts"].decode()},
        **more,
    }


def evaluate(directory: Path, rows: list[dict], weights: Path, images: Path, *options: str) -> int:
    log = directory / "log.jsonl"
    log.write_text("".join(json.dumps(one) + "\n" for one in rows))
    files = ["--answers", str(log), "--sam", str(weights), "--images", str(images)]
    return main(["evaluate", "--rules", "grounding", *files, *options])


def test_masks_are_scored_that_sam_makes_of_the_answers_boxes(tmp_path, capsys, weights, images):
    rows = [row("(100,125),(400,500)"), row("nowhere"), row("(200,0),(980,975)", "b.png")]
    rows.append(row("[100, 125, 400, 500]"))  # no box for the published evaluation
    assert evaluate(tmp_path, rows, weights, images, "--json") == 0
    first = capsys.readouterr().out
    metrics = json.loads(first)["metrics"]
    assert evaluate(tmp_path, rows, weights, images, "--json") == 0
    assert capsys.readouterr().out == first

    sam = segmentation.load(weights)
    masks = []
    for name, box in (("a.png", (5, 5, 20, 20)), ("b.png", (10, 0, 49, 39))):
        with Image.open(images / name) as image:
            masks.append(segmentation.box_masks(sam, image, [box])[0])
    target = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    target[10:30, 10:30] = 1
    for name, last in (("mask", masks[0]), ("published", None)):
        expected = mask_scores([masks[0], None, masks[1], last], [target] * 4)
        assert metrics[f"{name}/gIoU"]["value"] == pytest.approx(expected["gIoU"])
        assert metrics[f"{name}/cIoU"]["value"] == pytest.approx(expected["cIoU"])


def test_the_frame_says_what_the_coordinates_go_up_to(tmp_path, capsys, weights, images):
    values = []
    for box, solution, more in (
        ("(100,125),(400,500)", "(200,250),(600,750)", {}),
        ("(5,5),(20,20)", "(10,10),(30,30)", {"frame": [WIDTH, HEIGHT]}),
    ):
        one = row(box, **more) | {"solution": f"<answer>{solution}</answer>"}
        assert evaluate(tmp_path, [one], weights, images, "--json") == 0
        values.append(json.loads(capsys.readouterr().out)["metrics"]["mask/gIoU"]["value"])
    assert values[0] == values[1]


def without(one: dict, field: str) -> dict:
    return {name: value for name, value in one.items() if name != field}


SMALL = {"size": [2, 2], "counts": [0, 4]}


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (without(row("(1,1),(2,2)"), "image"), "log.jsonl:2: `image` is missing"),
        (without(row("(1,1),(2,2)"), "target"), "log.jsonl:2: its masks cannot be used: `target`"),
        (row("(1,1),(2,2)", target=SMALL), "log.jsonl:2: its masks cannot be used: mask of (40, 50) for a target of"),
        (row("(1,1),(2,2)", ignore=SMALL), "log.jsonl:2: its masks cannot be used: `ignore` of (2, 2)"),
        (row("(1,1),(2,2)", mask=SMALL), "log.jsonl:2: `mask` is given"),
        (row("(1,1),(2,2)", image_size=[1280, 720]), "log.jsonl:2: `frame` is missing"),
        (row("(1,1),(2,2)", frame=[0, 1]), "log.jsonl:2: `frame` is not two positive numbers"),
        (row("(1,1),(2,2)", "c.png"), "log.jsonl:2: no image"),
        (row("(1,1),(2,2)", "."), "log.jsonl:2: no image"),
    ],
)
def test_a_row_that_cannot_be_segmented_is_named_in_one_line(tmp_path, capsys, weights, images, bad, problem):
    assert evaluate(tmp_path, [row("(1,1),(9,9)"), bad], weights, images) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert problem in err.splitlines()[-1]


def test_a_file_that_is_no_image_is_named(tmp_path, capsys, weights):
    (tmp_path / "a.png").write_text("no")
    assert evaluate(tmp_path, [row("(1,1),(9,9)")], weights, tmp_path) == 2
    assert "a.png: has no known format" in capsys.readouterr().err


def test_images_and_weights_belong_together_and_to_grounding(tmp_path, capsys):
    for rules, option, said in (
        ("grounding", "--sam", "belong together"),
        ("grounding", "--images", "belong together"),
        ("classification", "--sam", "make masks, and there are none here"),
    ):
        assert main(["evaluate", "--answers", "log.jsonl", "--rules", rules, option, "x"]) == 2
        assert f"--sam, --images: {said}" in capsys.readouterr().err


def test_a_folder_that_holds_no_whole_sam_is_refused(tmp_path, weights):
    with pytest.raises(InputError, match=r"no config\.json"):
        segmentation.load(tmp_path)
    config = json.loads((weights / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "qwen2_vl"}))
    with pytest.raises(InputError, match="model_type is 'qwen2_vl', not 'sam'"):
        segmentation.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="safetensors"):
        segmentation.load(tmp_path)
    tensors = load_file(weights / "model.safetensors")
    name = next(name for name in tensors if name.startswith("mask_decoder"))
    save_file(
        {other: value for other, value in tensors.items() if other != name},
        tmp_path / "model.safetensors",
        {"format": "pt"},
    )
    (tmp_path / "preprocessor_config.json").write_text((weights / "preprocessor_config.json").read_text())
    with pytest.raises(InputError, match=f"weights lack {name}"):
        segmentation.load(tmp_path)
