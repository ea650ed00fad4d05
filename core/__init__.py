"""Temper's compute core: load, transform, evaluate, explain. Knows nothing of Streamlit."""

import os

# Torch's threads would else wait for one another by turning on the spot. Where a core is taken by other work, as
# while a person uses the page, a training of a small network took forty times as long. Read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
