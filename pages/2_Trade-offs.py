"""Trade-offs: a whole grid of recipes, and which of them nothing beats."""

from ui import tradeoffs
from ui.frame import begin

begin("Trade-offs")
tradeoffs.page()
