"""LoRA layers without PEFT's surroundings compute the same bits, and only inside the block."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.layer import Linear
from torch import nn

from vrft_core.policy.adapters import plain_adapters


def taught(dtype: torch.dtype = torch.float32, **options) -> Any:
    """Two layers, the first with a bias, under an adapter that changes something."""
    torch.manual_seed(0)
    bare = nn.Sequential(nn.Linear(12, 20), nn.Tanh(), nn.Linear(20, 6, bias=False)).to(dtype)
    model = get_peft_model(bare, LoraConfig(r=3, lora_alpha=7, target_modules=["0", "2"], **options))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    return model.eval()


def replaced(model: nn.Module) -> list[bool]:
    return ["forward" in vars(module) for module in model.modules() if isinstance(module, Linear)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["weights of 32 bits", "weights of 16 bits"])
@pytest.mark.parametrize("mixed", [False, True], ids=["as it is", "autocast"])
def test_inside_the_block_outputs_are_the_same_to_the_last_bit(dtype, mixed):
    model, x = taught(dtype), torch.randn(5, 12).to(dtype)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        expected = model(x)
        with plain_adapters(model):
            assert replaced(model) == [True, True]
            found = model(x)

    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)
    assert not torch.equal(found, model.base_model.model[2].base_layer(torch.tanh(model.base_model.model[0](x))))


def test_gradients_are_the_same_to_the_last_bit():
    model, x = taught(), torch.randn(5, 12)
    found = []
    for block in (nullcontext, lambda: plain_adapters(model)):
        model.zero_grad()
        with block():
            output = model(x)
        output.square().sum().backward()
        found.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
    assert len(found[0]) == 4
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_behind_the_block_all_is_as_before_even_after_an_error():
    model, x = taught(), torch.randn(5, 12)
    before = model(x)
    with pytest.raises(ZeroDivisionError), plain_adapters(model):
        raise ZeroDivisionError
    assert replaced(model) == [False, False]
    assert torch.equal(model(x), before)
    with model.disable_adapter():
        assert not torch.equal(model(x), before)


@pytest.mark.parametrize("case", ["dropout", "dora", "disabled", "merged", "two adapters", "hooked"])
def test_a_layer_that_does_more_is_left_alone(case):
    model = taught(**{"dropout": {"lora_dropout": 0.5}, "dora": {"use_dora": True}}.get(case, {}))
    if case == "disabled":
        model.base_model.disable_adapter_layers()
    elif case == "merged":
        model.merge_adapter()
    elif case == "two adapters":
        model.add_adapter("other", LoraConfig(r=2, target_modules=["0", "2"]))
        model.base_model.set_adapter(["default", "other"])
    elif case == "hooked":
        for module in model.modules():
            if isinstance(module, Linear):
                module.base_layer.register_forward_hook(lambda *_: None)
    x = torch.randn(5, 12)
    with torch.no_grad():
        expected = model(x)
        with plain_adapters(model):
            assert replaced(model) == [False, False]
            assert torch.equal(model(x), expected)
