"""LoRA layers with their arithmetic alone: in generation passes are many and rows few.

PEFT's layer chooses between several ways of working in every call, calls four modules and makes two tensors more. With
few rows that takes as long as its products. Adding adapters and merging them belongs to `training` and `loading`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import linear


@contextmanager
def plain_adapters(model: nn.Module) -> Iterator[None]:
    """Inside, LoRA layers compute the same operations in the same order with nothing around them.

    Layers that do anything else (another variant, dropout, quantized weights, several adapters, hooks) stay as they
    are. Adapters must not be switched, merged or added inside.
    """
    layers = [(module, forward) for module in model.modules() if (forward := _plain(module))]
    for layer, forward in layers:
        layer.forward = forward
    try:
        yield
    finally:
        for layer, _ in layers:
            del layer.forward  # the class's own is behind it


def _plain(module: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """What a LoRA layer computes, as a function of its input; None where it is no such layer, or not a plain one."""
    if not hasattr(module, "lora_A"):
        return None
    from peft.tuners.lora.layer import Linear

    if type(module) is not Linear or module.merged or module.disable_adapters or "forward" in vars(module):
        return None
    layer: Any = module
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    if len(active) != 1 or active[0] in layer.lora_variant or not layer.cast_input_dtype_enabled:
        return None
    [name] = active
    if not isinstance(layer.lora_dropout[name], nn.Identity):
        return None
    products = layer.base_layer, layer.lora_A[name], layer.lora_B[name]
    if any(type(one) is not nn.Linear or "forward" in vars(one) or _hooked(one) for one in products):
        return None
    (weight, bias), (down, down_bias), (up, up_bias) = ((one.weight, one.bias) for one in products)
    scaling = layer.scaling[name]

    def forward(x: Tensor) -> Tensor:
        result = linear(x, weight, bias)
        change = linear(linear(x.to(down.dtype), down, down_bias), up, up_bias).mul_(scaling)
        if change.dtype != result.dtype:
            return (result + change).to(result.dtype)
        return result.add_(change)  # new, and needed by no gradient

    return forward


def _hooked(module: nn.Module) -> bool:
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return any(getattr(module, name) for name in hooks)
