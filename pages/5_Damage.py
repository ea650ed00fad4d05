"""Damage: what changed between the original and the tempered model, who paid, and whether it is real."""

from ui import damage
from ui.frame import begin

begin("Damage")
damage.page()
