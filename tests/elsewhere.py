"""A device that is not there: its tensors hold real values, and say as CUDA's do where they meet the processor's.

With it a training runs from end to end without a graphics processor, computes the very same, and fails where a tensor
was left behind. PyTorch's own fake tensors on 'cuda:0' end the program at the first gradient where PyTorch was built
for the processor alone. The device is called 'meta', the one that every build knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

ELSEWHERE = torch.device("meta")
aten = torch.ops.aten
CROSSES = {aten.copy_.default, aten._to_copy.default}
PLACES = {aten.index.Tensor, aten.index_put_.default}  # CUDA takes the places from the processor
READ = {aten._local_scalar_dense.default}


class Far(Tensor):
    """A tensor on that device; `near` is where its values are."""

    near: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, near: Tensor) -> Far:
        made = Tensor._make_wrapper_subclass(
            cls, near.size(), strides=near.stride(), dtype=near.dtype, device=ELSEWHERE
        )
        made.near = near
        return made

    @property
    def data(self) -> Tensor:
        return Tensor.data.__get__(self)

    @data.setter
    def data(self, other: Far) -> None:
        Tensor.data.__set__(self, other)
        self.near = other.near

    def __repr__(self) -> str:
        return f"Far({self.near!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return carried_out(func, args, kwargs or {})


class Away(TorchDispatchMode):
    """Inside, what is made on the device is made there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return carried_out(func, args, kwargs or {})


def carried_out(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """What an operator makes, on the device where CUDA would make it."""
    given = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, Tensor)]
    far = [one for one in given if isinstance(one, Far)]
    named = kwargs.get("device")
    there = torch.device(named) == ELSEWHERE if named is not None else bool(far)
    meeting = given[:1] if func in PLACES else given
    if far and func not in CROSSES and any(not isinstance(one, Far) for one in meeting):
        shapes = ", ".join(f"{'far' if isinstance(one, Far) else 'near'} {tuple(one.shape)}" for one in given)
        raise RuntimeError(f"Expected all tensors to be on the same device; {func} was given {shapes}.")
    if func is aten.copy_.default:
        there = isinstance(args[0], Far)
    wrapped = {id(one.near): one for one in far}
    args, kwargs = tree_map(lambda one: one.near if isinstance(one, Far) else one, (args, kwargs))
    if named is not None:
        kwargs["device"] = "cpu"
    made = func(*args, **kwargs)
    if not there or func in READ:
        return made

    def brought(one: Any) -> Any:
        if not isinstance(one, Tensor):
            return one
        return wrapped[id(one)] if id(one) in wrapped else Far(one)

    return tree_map(brought, made)


@contextmanager
def elsewhere() -> Iterator[torch.device]:
    """Inside, the device is there."""
    optimisers: Any = import_module("torch.optim.optimizer")
    before = optimisers._get_fused_kernels_supported_devices
    optimisers._get_fused_kernels_supported_devices = lambda: [*before(), ELSEWHERE.type]
    try:
        with Away():
            yield ELSEWHERE
    finally:
        optimisers._get_fused_kernels_supported_devices = before
