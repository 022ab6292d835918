"""A device that is none: tensors that say they are on `pretend`, with every operation carried out on the CPU.

As on a GPU, an operation that is given tensors of two devices raises (one without dimensions may lie on the CPU). It
shows on any machine whether code puts its tensors where the model is; it says nothing of a GPU's numbers or speed.
PyTorch registers a backend once and for good, so import this in a process of its own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "pretend"
PLACE = f"{NAME}:0"
COPIES = ("aten::copy_", "aten::_copy_from")
INDEXING = ("aten::index", "aten::index_put_", "aten::index_put", "aten::_index_put_impl_")  # indices may be on the CPU
_setup_privateuseone_for_python_backend(NAME)


class Pretended(torch.Tensor):
    """Stands for `behind`, an ordinary tensor."""

    behind: torch.Tensor

    @staticmethod
    def __new__(cls, behind: torch.Tensor) -> "Pretended":
        made = torch.Tensor._make_wrapper_subclass(
            cls, behind.size(), behind.stride(), behind.storage_offset(), dtype=behind.dtype, device=PLACE
        )
        made.behind = behind
        return made

    def __repr__(self) -> str:
        return f"Pretended({self.behind})"

    def tolist(self) -> Any:
        return self.behind.tolist()

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"can't convert {PLACE} tensor to numpy: copy it to the CPU first")

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return carry_out(operation, *args, **(kwargs or {}))


def carry_out(operation: Any, *args: Any, **kwargs: Any) -> Any:
    """Any operation with a part on the device."""
    name = operation._schema.name
    outer, shape = tree_flatten((args, kwargs))
    foreign = [one for one in outer if isinstance(one, torch.Tensor) and not isinstance(one, Pretended) and one.ndim]
    if foreign and name not in COPIES + INDEXING:
        raise RuntimeError(f"{name} was given tensors on the CPU and on {NAME}")
    to = kwargs.get("device")
    stays = to is not None and torch.device(to).type != NAME
    inner = [
        one.behind if isinstance(one, Pretended)
        else torch.device("cpu") if isinstance(one, torch.device) or one == PLACE
        else one
        for one in outer
    ]  # fmt: skip
    new_args, new_kwargs = tree_unflatten(inner, shape)
    if name == "aten::_to_copy" and stays and isinstance(args[0], Pretended):
        return operation(*new_args, **new_kwargs).clone()
    result = operation(*new_args, **new_kwargs)
    same = {id(i): o for i, o in zip(inner, outer, strict=True) if isinstance(o, Pretended)}

    def outside(one: Any) -> Any:
        if not isinstance(one, torch.Tensor):
            return one
        return same[id(one)] if id(one) in same else Pretended(one)

    return tree_map(outside, result)


_everything = torch.library.Library("_", "IMPL")
_everything.fallback(carry_out, "PrivateUse1")  # tensors made on the device out of nothing
_tensor, _arange = torch.tensor, torch.arange


def tensor(data: Any, *args: Any, device: Any = None, **kwargs: Any) -> torch.Tensor:
    """In place of `torch.tensor`, whose own way to a device knows no such tensors."""
    data = tree_map(lambda one: one.behind if isinstance(one, Pretended) else one, data)
    made = _tensor(data, *args, **kwargs)
    return made if device is None else made.to(device)


def arange(*args: Any, device: Any = None, **kwargs: Any) -> torch.Tensor:
    """In place of `torch.arange`, which would give an empty tensor another shape."""
    made = _arange(*args, **kwargs)
    return made if device is None else made.to(device)


@contextmanager
def in_use() -> Iterator[None]:
    """While tensors are made on the device. Not while a model is loaded: the library makes its buffers by the names."""
    overwrite = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.tensor, torch.arange = tensor, arange
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        yield
    finally:
        torch.tensor, torch.arange = _tensor, _arange
        torch.__future__.set_overwrite_module_params_on_conversion(overwrite)
