"""Architectures with their published weights: from this machine's cache, or downloaded when a person agrees."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.errors import TemperError
from core.models import catalogue
from core.models.sentences import reason
from core.models.states import read_state


def published(name: str, download: bool) -> tuple[nn.Module, tuple[str, ...]]:
    """The module with its published weights, and the classes they name. Raises `TemperError`."""
    library, _, short = name.partition(":")
    try:
        return _torchvision(short, download) if library == "torchvision" else _timm(short, download)
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise TemperError(
            f"The published weights of {name:.60} could not be had: {reason(error)}.",
            "Check the connection, or load a file.",
        ) from error


def _torchvision(short: str, download: bool) -> tuple[nn.Module, tuple[str, ...]]:
    catalogue.weightless(f"torchvision:{short}", 10)  # says so where there is no such name
    from torchvision import models

    weights: Any = models.get_model_weights(short).DEFAULT
    file = Path(torch.hub.get_dir()) / "checkpoints" / str(weights.url).rpartition("/")[2]
    if not file.exists() and not download:
        raise TemperError(
            f"The published weights of torchvision:{short} are not on this machine.",
            f"Allow the download (--download), or put the file at {file}.",
        )
    module = models.get_model(short, weights=None)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        known = re.search(r"-([0-9a-f]{8,})\.", file.name)
        torch.hub.download_url_to_file(str(weights.url), str(file), known and known[1], progress=False)
    module.load_state_dict(read_state(file))  # not the library's own way, which would unpickle
    return module, tuple(weights.meta.get("categories", ()))


def _timm(short: str, download: bool) -> tuple[nn.Module, tuple[str, ...]]:
    import timm

    catalogue.weightless(f"timm:{short}", 10)  # says so where there is no such name
    before = os.environ.get("HF_HUB_OFFLINE")
    if not download:
        os.environ["HF_HUB_OFFLINE"] = "1"  # this process ends after the model; nothing else reads it
    try:
        return timm.create_model(short, pretrained=True), ()
    except Exception as error:
        if download:
            raise
        raise TemperError(
            f"The published weights of timm:{short} are not on this machine.", "Allow the download (--download)."
        ) from error
    finally:
        if before is None:
            os.environ.pop("HF_HUB_OFFLINE", None)
