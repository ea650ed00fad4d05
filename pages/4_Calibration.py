"""Calibration: every way to mend a model's confidence, fitted on one split and judged on another."""

from ui import calibration
from ui.frame import begin

begin("Calibration")
calibration.page()
