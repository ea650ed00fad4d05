"""Adapt: give a model more learning: recover, fine-tune, teach."""

from ui import adapt
from ui.frame import begin

begin("Adapt")
adapt.page()
