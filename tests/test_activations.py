"""MLPs keep half as much for their backward pass, and every gradient is the same to the last bit."""

from typing import Any

import pytest
import torch
from test_grpo_reuse import small_model
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from vrft_core.training.activations import computed_again, gated


class Other(nn.Module):
    """Has the parts of a gated MLP, and puts them together in another way."""

    def __init__(self) -> None:
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = (nn.Linear(8, 8) for _ in range(3))
        self.act_fn = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.act_fn(self.gate_proj(x)) + self.up_proj(x))


def learned(model: nn.Module, ids: Tensor) -> list[Tensor]:
    model.zero_grad()
    model(ids).logits.square().mean().backward()
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("family", ["qwen2-vl", "qwen3-vl", "qwen3.5", "llava-next", "gemma-3"])
def test_gradients_are_the_same_to_the_last_bit(family):
    model, ids = small_model(family), torch.randint(300, 400, (2, 9))
    mlps = gated(model)
    assert len(mlps) >= 2
    expected = learned(model, ids)
    with computed_again(mlps):
        found = learned(model, ids)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_two_of_four_values_are_gone_once_the_pass_is_over():
    mlp: Any = gated(small_model("qwen2-vl"))[0]
    alive: dict[str, StorageWeakRef] = {}
    mlp.act_fn.register_forward_hook(lambda module, args, output: alive.update(active=storage(output)))
    mlp.down_proj.register_forward_pre_hook(lambda module, args: alive.update(product=storage(args[0])))
    mlp.up_proj.register_forward_hook(lambda module, args, output: alive.update(up=storage(output)))
    x, found = torch.randn(3, 32, requires_grad=True), []
    for mlps in ([], [mlp]):
        with computed_again(mlps):
            output = mlp(x)
        found.append({name for name, one in alive.items() if not one.expired()})
        output.sum().backward()
    assert found == [{"active", "product", "up"}, {"up"}]


def storage(value: Tensor) -> StorageWeakRef:
    return StorageWeakRef(value.untyped_storage())


def test_what_only_looks_like_a_gated_mlp_is_left_alone():
    assert gated(nn.Sequential(Other())) == []
