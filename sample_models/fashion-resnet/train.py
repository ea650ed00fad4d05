"""Train `fashion-resnet`: a residual network of 0.4 million parameters on Fashion-MNIST."""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from training import Schedule, train_fashion  # noqa: E402  (the shared code lies one folder up)

if __name__ == "__main__":
    train_fashion(
        FOLDER,
        "Fashion ResNet",
        "A residual network of 0.4 million parameters that tells ten kinds of clothing apart.",
        [16, 32, 64, 160],
        Schedule(epochs=36, batch=128, rate=0.1, weight_decay=2e-4, shift=0, seed=1),
    )
