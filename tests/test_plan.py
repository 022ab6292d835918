"""`vrft plan`: the published models are counted exactly, impossible settings are refused, nothing is loaded."""

import sys
from pathlib import Path

import pytest
import torch
import yaml
from small_policy import detection_tokenizer
from small_project import ROOT

from vrft_core import cli, flops
from vrft_core.architectures import outline
from vrft_core.tasks import load_params

PARAMS = load_params(ROOT / "params.yaml")


@pytest.mark.parametrize(
    ("recipe", "published"),  # weights in the repositories' safetensors
    [
        ("qwen2-vl-2b", 2_208_985_600),
        ("qwen2-vl-7b", 8_291_375_616),
        ("qwen25-vl-3b", 3_754_622_976),
        ("qwen25-vl-7b", 8_292_166_656),
    ],
)
def test_an_outline_has_the_published_number_of_weights_and_holds_none(recipe, published):
    model = outline(PARAMS, PARAMS.recipes[recipe])
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert sum(parameter.numel() for parameter in model.parameters()) == published


@pytest.mark.parametrize("recipe", [name for name in PARAMS.recipes if name.endswith("-lora")])
def test_adapters_match_the_language_layers_and_not_the_vision_tower(recipe, capsys):
    assert cli.main(["--root", str(ROOT), "plan", recipe]) == 0
    text = PARAMS.recipes[recipe].adapter
    names = [name for name, _ in outline(PARAMS, PARAMS.recipes[recipe]).named_modules() if "visual" in name]
    import re

    assert names and not any(re.fullmatch(text.target_modules, name) for name in names)
    assert "(LoRA)" in capsys.readouterr().out


def test_flops_agree_with_what_torch_counts_on_a_real_pass():
    from torch.utils.flop_counter import FlopCounterMode

    from vrft_core.policy.model import build_model

    model = build_model(detection_tokenizer(["cat"]), 0)
    model.set_attn_implementation("eager")  # a fused kernel's masked half is counted differently
    rows, text, image, patches = 2, 200, 16, 64
    ids = torch.full((rows, text + image), 20)
    ids[:, :image] = model.config.image_token_id
    kinds = (ids == model.config.image_token_id).int()
    pixels, grid = torch.randn(rows * patches, 3 * 2 * 14 * 14), torch.tensor([[1, 8, 8]] * rows)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=ids, pixel_values=pixels, image_grid_thw=grid, mm_token_type_ids=kinds)
    shape = flops.Shape.of(model)
    load = flops.Load(rows, ids.numel(), ids.numel(), rows * patches)
    masked = 2 * shape.layers * shape.width * ids.numel() * (text + image)  # eager computes this half too
    assert sum(load.forward(shape)) + masked == pytest.approx(counter.get_total_flops(), rel=0.02)


def refused(change, tmp_path, capsys, *options: str, recipe: str = "qwen2-vl-2b") -> str:
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    change(content["recipes"][recipe])
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    assert cli.main(["--root", str(tmp_path), "plan", f"lvis-{recipe}-1shot-s0", *options]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (lambda r: r["rft"].update(num_generations=7), [], "batch_size 128 is not a multiple of num_generations 7"),
        (lambda r: r["rft"].update(micro_batch_size=24), [], "micro_batch_size 24 does not divide 128 rows"),
        (lambda r: None, ["--gpus", "3"], "cannot be divided over 3 GPUs"),
        (lambda r: r["rft"].update(max_completion_length=33_000), [], "longer than the model's 32768"),
        (lambda r: r["policy"].update(max_pixels=50_000_000), [], "image tokens .* lower policy.max_pixels"),
        (lambda r: r["policy"].update(max_pixels=784), [], "min_pixels is larger than max_pixels"),
        (lambda r: r["policy"]["hub"].update(repo="someone/else"), [], "no plan for someone/else"),
        (lambda r: None, ["--gpu", "abacus"], "no 'abacus'; known: h100"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line(change, options, said, tmp_path, capsys):
    import re

    error = refused(change, tmp_path, capsys, *options)
    assert re.search(said, error) and error.count("\n") == 1


def test_a_benchmark_that_nobody_described_is_named(capsys):
    assert cli.main(["--root", str(ROOT), "plan", "nope-mini-1shot-s0"]) == 2
    assert "params.yaml has no benchmark 'nope'; known: lvis" in capsys.readouterr().err


def test_the_embedded_recipe_can_be_planned_too(capsys):
    assert cli.main(["--root", str(ROOT), "plan", "lvis-mini-1shot-s0"]) == 0
    said = capsys.readouterr().out
    recipe = PARAMS.recipes["mini"]
    assert "1.51 M weights" in said and f"| steps | {recipe.sft.steps} | {recipe.rft.steps} |" in said


def test_sharding_and_checkpointing_make_a_plan_fit(capsys):
    def fits(*options: str) -> bool:
        status = cli.main(["--root", str(ROOT), "plan", *options])
        assert status == int("does not fit" in capsys.readouterr().out)
        return not status

    assert not fits("qwen2-vl-7b")
    assert fits("qwen2-vl-7b", "--gpus", "8", "--sharded")
    assert Path(ROOT / "deploy/accelerate/zero3.yaml").is_file()


@pytest.mark.parametrize(("recipe", "each", "together"), [("qwen2-vl-2b", "27 GB", "62 GB"), ("mini", "0.", "0.")])
def test_a_plan_says_what_checkpoints_take_and_whether_the_disk_has_room(recipe, each, together, capsys):
    assert cli.main(["--root", str(ROOT), "plan", recipe, "--gpu", "h200"]) == 0
    said = capsys.readouterr().out
    [line] = [line for line in said.splitlines() if line.startswith("On the disk")]
    assert f"a checkpoint takes {each}" in line and f"the weights chosen: {together}" in line


def test_a_disk_that_is_too_small_is_named_before_anything_is_spent(capsys, monkeypatch):
    usage = type("Usage", (), {"free": 20 * 10**9})
    monkeypatch.setattr("vrft_core.commands.plan.shutil.disk_usage", lambda place: usage)
    assert cli.main(["--root", str(ROOT), "plan", "qwen2-vl-2b", "--gpu", "h200"]) == 0
    assert "**The disk is too small.** Free 42 GB, or put `runs/` on another one." in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "ours", "checkpointing", "gib", "seconds"),  # docs/gpu.md, an H200
    [
        ("Qwen2-VL-2B", True, False, 11.1, 3.02),
        ("Qwen2-VL-2B", False, True, 7.91, 9.44),
        ("Qwen2-VL-2B", False, False, 21.4, 8.51),
        ("Qwen3-VL-2B", True, False, 11.2, 3.11),
        ("Qwen3-VL-2B", False, True, 6.75, 8.95),
    ],
)
def test_a_plan_lies_near_what_a_gpu_showed(name, ours, checkpointing, gib, seconds):
    sys.path.insert(0, str(ROOT / "bench"))
    from gpu_kit import estimate, models
    from gpu_kit.settings import Settings

    model, _ = models.build(name, "Find the dog.", "meta", toy=False)
    plan = estimate.estimate(name, model, Settings(), checkpointing, ours, "NVIDIA H200")
    assert plan["peak_gib"] == pytest.approx(gib, rel=0.15)
    assert plan["seconds"] == pytest.approx(seconds, rel=0.3)
