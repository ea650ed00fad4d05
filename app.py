"""Home: what Temper is, a finished result with one sentence of takeaway, and where to go."""

from ui import home
from ui.frame import begin

begin("Home")
home.page()
