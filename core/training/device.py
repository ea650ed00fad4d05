"""Where learning runs: on a graphics processor where PyTorch has one that works, else on the processor."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from core.engine.runtime import threads
from core.errors import TemperError

CPU = torch.device("cpu")
NAME = "TEMPER_DEVICE"
CUDA = re.compile(r"cuda(?::(\d{1,3}))?")
FULL = re.compile(r"out of memory|ALLOC_FAILED|not enough memory", re.IGNORECASE)  # as CUDA, cuBLAS and cuDNN word it
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


def device() -> torch.device:
    """The device that learning runs on: 'cuda:0' where a small sum on it succeeds, else the processor.

    `TEMPER_DEVICE` says another: 'cpu', 'cuda', 'cuda:1' and so on, or 'auto'. Raises `TemperError` where it names
    none of these, or one that cannot be used.
    """
    asked = os.environ.get(NAME, "").strip().lower() or "auto"
    named = CUDA.fullmatch(asked)
    if asked == "cpu":
        return CPU
    if asked != "auto" and named is None:
        raise TemperError(
            f"{NAME} says where training runs, one of 'auto', 'cpu', 'cuda' and 'cuda:1', 'cuda:2', ...; "
            f"got {asked!r:.40}.",
            "Set it to one of these, or leave it out.",
        )
    number = int(named[1] or 0) if named else 0
    why = _unusable(number)
    if not why:
        return torch.device("cuda", number)
    if named is None:
        return CPU
    raise TemperError(
        f"{NAME} asks for '{asked}', which cannot be used here: {why}.",
        "Set it to 'cpu' or 'auto', or install a PyTorch and a driver that go with the graphics processor.",
    )


def _unusable(number: int) -> str:
    """Why a graphics processor cannot be used, '' where it can."""
    if torch.version.cuda is None and torch.version.hip is None and not torch.cuda.is_available():
        return "this PyTorch was built for the processor alone"
    if not torch.cuda.is_available():
        return "PyTorch finds no graphics processor"
    count = torch.cuda.device_count()
    if number >= count:
        return "there is only 'cuda:0'" if count == 1 else f"the last of the {count} there are is 'cuda:{count - 1}'"
    try:
        found = float(torch.ones(2, device=torch.device("cuda", number)).sum())
    except (RuntimeError, AssertionError) as error:
        return f"a first sum on it failed ({str(error).strip().splitlines()[0]:.120})"
    return "" if found == 2 else f"1 + 1 came to {found:g} on it"


def title(where: torch.device) -> str:
    """A device's name for people, such as 'NVIDIA H200' or 'CPU, 2 cores'."""
    if where.type != "cpu":
        return torch.cuda.get_device_name(where) if where.type == "cuda" else str(where)
    cores = threads()
    return f"CPU, {cores} core{'' if cores == 1 else 's'}"


@contextmanager
def computing(where: torch.device) -> Iterator[None]:
    """Inside, the device computes the same twice; where its memory runs out, `TemperError` is raised."""
    full = False
    try:
        with _exact() if where.type == "cuda" else nullcontext():
            yield
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        full = True
    if full:
        raise TemperError(f"{too_small(where)}: nothing was learned.", smaller(where))


@contextmanager
def _exact() -> Iterator[None]:
    """Inside, CUDA sums in one order and multiplies all digits of float32.

    So the same comes out twice, and what is rounded falls on the level that it falls on elsewhere: TF32 keeps ten
    digits of 23. An operator that knows no fixed order warns. The settings are the whole process's, and are put back.
    """
    os.environ.setdefault(WORKSPACE, ":4096:8")  # read when cuBLAS is first used; without it sums may differ
    debug: Any = torch.utils.deterministic
    cudnn: Any = torch.backends.cudnn
    cuda = torch.backends.cuda
    fixed = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    before = debug.fill_uninitialized_memory, cudnn.deterministic, cudnn.benchmark
    digits = cuda.matmul.fp32_precision, cudnn.conv.fp32_precision
    try:
        torch.use_deterministic_algorithms(True, warn_only=True)
        debug.fill_uninitialized_memory, cudnn.deterministic, cudnn.benchmark = False, True, False
        cuda.matmul.fp32_precision = cudnn.conv.fp32_precision = "ieee"
        yield
    finally:
        torch.use_deterministic_algorithms(fixed[0], warn_only=fixed[1])
        debug.fill_uninitialized_memory, cudnn.deterministic, cudnn.benchmark = before
        cuda.matmul.fp32_precision, cudnn.conv.fp32_precision = digits
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # a worker lives on, and others may want the room


def out_of_memory(error: RuntimeError) -> bool:
    """Whether a device's memory ran out; libraries on CUDA say so in words of their own."""
    return isinstance(error, torch.OutOfMemoryError) or bool(FULL.search(str(error)))


def too_small(where: torch.device) -> str:
    """The beginning of a sentence for when memory ran out."""
    return f"The memory of {title(where)} was too small for this training"


def smaller(where: torch.device) -> str:
    """What to do then."""
    other = "close other programs" if where.type == "cpu" else f"set {NAME}=cpu"
    return f"Take a smaller batch, or {other}."


def settled(where: torch.device) -> None:
    """Wait until the device has done all that it was given: before that, a clock tells nothing."""
    if where.type == "cuda":
        torch.cuda.synchronize(where)


def moved(tensor: Tensor, where: torch.device) -> Tensor:
    """The tensor on the device: itself where it is there; else without waiting for it to arrive."""
    if tensor.device == where:
        return tensor
    if where.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(where, non_blocking=where.type == "cuda")
