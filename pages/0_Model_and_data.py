"""Model and data: what is in force, what it reads and what was checked; the way in for one's own."""

from ui import models
from ui.frame import begin

begin("Model and data")
models.page()
