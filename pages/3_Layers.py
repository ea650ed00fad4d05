"""Layers: where a recipe's bytes and its damage are, layer by layer."""

from ui import layers
from ui.frame import begin

begin("Layers")
layers.page()
