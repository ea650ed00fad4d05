"""Temper's compute core: load, transform, evaluate, explain. Knows nothing of Streamlit."""

import os

# Torch's threads would else wait for one another by turning on the spot. Where a core is taken by other work, as while
# a person uses the page, that made a training of a small network forty times as long. Read when torch is first loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
