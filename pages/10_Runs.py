"""Runs: every recipe evaluated here, to look at again, compare and take away."""

from ui import runs
from ui.frame import begin

begin("Runs")
runs.page()
