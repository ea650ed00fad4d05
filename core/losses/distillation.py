"""What a student loses against its teacher."""

import torch.nn.functional as F
from torch import Tensor


def distillation(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """`T^2` times the mean over examples of `KL(teacher || student)`, both softened by `T`; logits `(N, C)`.

    The factor keeps the gradients' size whatever the temperature (Hinton et al. 2015, Distilling the knowledge in a
    neural network, arXiv 1503.02531, section 2). The mean is over examples, not over classes.
    """
    soft = F.log_softmax(student / temperature, -1)
    wanted = F.log_softmax(teacher / temperature, -1)
    return F.kl_div(soft, wanted, reduction="batchmean", log_target=True) * temperature**2


def imitation(student: Tensor, teacher: Tensor, variance: float) -> Tensor:
    """Half the mean squared gap of two networks that predict numbers `(N, outputs)`, over the labels' `variance`.

    A second output, the log of the deviation, has no unit and is compared as it is.
    """
    gap = (student[:, 0] - teacher[:, 0]).square().mean() / (2 * variance)
    return gap if student.shape[1] == 1 else gap + (student[:, 1:] - teacher[:, 1:]).square().mean() / 2
