"""Trade-offs: a whole grid of recipes, and which of them nothing beats."""

from ui import search, tradeoffs, ways
from ui.frame import begin

begin("Trade-offs")
if ways.chosen() == ways.SEARCH:
    search.page()
else:
    tradeoffs.page()
