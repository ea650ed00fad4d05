"""Export: files to take away, and the proof that they predict what the screen showed."""

from ui import export
from ui.frame import begin

begin("Export")
export.page()
