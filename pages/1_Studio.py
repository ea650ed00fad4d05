"""Studio: three sliders, and everything they change, beside the original."""

from ui import studio
from ui.frame import begin

begin("Studio")
studio.page()
