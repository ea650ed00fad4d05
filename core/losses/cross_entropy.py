"""Cross-entropy, with smoothed labels where wanted."""

import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, y: Tensor, smoothing: float = 0.0) -> Tensor:
    """The mean negative log-likelihood of classes `y` int64 `(N,)` under `logits` `(N, C)`.

    With `smoothing` the target is `1 - smoothing` of the label and an even share of the rest over all classes
    (Szegedy et al. 2016, Rethinking the Inception architecture, arXiv 1512.00567), which makes the network less sure
    of itself.
    """
    return F.cross_entropy(logits, y, label_smoothing=smoothing)
