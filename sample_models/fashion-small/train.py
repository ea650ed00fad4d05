"""Train `fashion-small`: a residual network of 85,000 parameters on Fashion-MNIST."""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from training import Schedule, train_fashion  # noqa: E402  (the shared code lies one folder up)

if __name__ == "__main__":
    train_fashion(
        FOLDER,
        "Fashion Small",
        "The same task in 85,000 parameters, small enough for a microcontroller.",
        [8, 20, 36, 64],
        Schedule(epochs=40, batch=128, rate=0.1, weight_decay=2e-4, seed=2),
    )
