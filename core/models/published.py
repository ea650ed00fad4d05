"""Architectures with their published weights: from this machine's cache, or downloaded when a person agrees."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.errors import TemperError
from core.models import catalogue
from core.models.sentences import reason
from core.models.states import read_state

WEIGHTS = "model.safetensors"  # of a timm model; anything else would be a pickle


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
    """timm itself would download unasked; so the file is found, or fetched, here."""
    catalogue.weightless(f"timm:{short}", 10)  # says so where there is no such name
    import timm
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    stated = timm.get_pretrained_cfg(short)
    if stated is None or not stated.hf_hub_id:
        raise TemperError(f"timm publishes no weights for {short:.60}.", "Load a file.")
    repository = str(stated.hf_hub_id)
    if repository.endswith("/"):
        repository += ".".join(part for part in (stated.architecture, stated.tag) if part)
    file = try_to_load_from_cache(repository, WEIGHTS)
    if not isinstance(file, str):
        if not download:
            raise TemperError(
                f"The published weights of timm:{short} are not on this machine.", "Allow the download (--download)."
            )
        file = hf_hub_download(repository, WEIGHTS)
    return timm.create_model(short, pretrained=True, pretrained_cfg_overlay={"file": file}), ()
