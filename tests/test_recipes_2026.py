"""The recipes for Qwen3-VL and Qwen3.5: counted exactly, adapters where they belong, planned within a card's memory."""

import re

import pytest
import torch
from small_project import ROOT

from vrft_core import cli, flops
from vrft_core.architectures import outline
from vrft_core.errors import InputError
from vrft_core.policy.quantized import quantization
from vrft_core.tasks import load_params

PARAMS = load_params(ROOT / "params.yaml")
NAMES = [name for name in PARAMS.recipes if name.startswith("qwen3")]


def plan(capsys, *arguments: str) -> str:
    assert cli.main(["--root", str(ROOT), "plan", *arguments]) == 0
    return capsys.readouterr().out


def held(text: str, column: int) -> float:
    """GiB in all, of the plan's column for SFT (1) or RFT (2)."""
    [row] = re.findall(r"\| at once, of \d+ \| ([\d.]+) \| ([\d.]+) \|", text)
    return float(row[column - 1])


@pytest.mark.parametrize(
    ("recipe", "published"),  # weights in the repositories' safetensors
    [("qwen3-vl-2b", 2_127_532_032), ("qwen3-vl-4b", 4_437_815_808), ("qwen3-vl-8b", 8_767_123_696)],
)
def test_an_outline_has_the_published_number_of_weights(recipe, published):
    model = outline(PARAMS, PARAMS.recipes[recipe])
    assert sum(parameter.numel() for parameter in model.parameters()) == published


@pytest.mark.parametrize("recipe", NAMES)
def test_every_recipe_can_be_planned_and_its_adapter_reaches_every_language_layer_alone(recipe, capsys):
    assert "(LoRA" in plan(capsys, recipe)
    model, adapter = outline(PARAMS, PARAMS.recipes[recipe]), PARAMS.recipes[recipe].adapter
    assert adapter
    matched = [name for name, _ in model.named_modules() if re.fullmatch(adapter.target_modules, name)]
    assert not [name for name in matched if "visual" in name]
    layers = {int(number) for name in matched for number in re.findall(r"layers\.(\d+)\.(?:self|linear)_attn\.", name)}
    assert layers == set(range(model.config.text_config.num_hidden_layers))


def test_only_layers_that_attend_hold_keys_and_values():
    config = outline(PARAMS, PARAMS.recipes["qwen35-2b"]).config.text_config
    assert flops.attending(config) == config.num_hidden_layers / 4


def test_weights_of_4_bits_fit_a_card_of_24_gb_with_room_to_spare(capsys):
    small, whole = plan(capsys, "qwen35-4b-qlora", "--gpu", "rtx4090"), plan(capsys, "qwen35-4b", "--gpu", "rtx4090")
    assert held(small, 2) <= 20 and "does not fit" not in small
    assert held(small, 1) < held(whole, 1) - 4


def test_weights_of_4_bits_are_refused_where_they_cannot_be_had():
    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    assert quantization(PARAMS.recipes["qwen35-4b"]) is None
    with pytest.raises(InputError, match="4 needs a CUDA GPU"):
        quantization(PARAMS.recipes["qwen35-4b-qlora"])
