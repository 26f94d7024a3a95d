"""What keeps the code of a variational latent near a standard normal."""

from __future__ import annotations

from torch import Tensor

from pointae.losses.cells import widen


def kl_divergence(mean: Tensor, log_var: Tensor) -> Tensor:
    """Kullback-Leibler divergence of N(mean, exp(log_var)) from N(0, 1), mean over events.

    ``-1/2 sum(1 + log_var - mean^2 - exp(log_var))``, as in Kingma and Welling, `Auto-Encoding
    Variational Bayes <https://arxiv.org/abs/1312.6114>`_.

    Args:
        mean, log_var: (B, D) of the posterior.

    Returns:
        0-d, at least float32, in nats; 0 for a batch without events.
    """
    mean, log_var = widen(mean), widen(log_var)
    divergence = -0.5 * (1 + log_var - mean.square() - log_var.exp())  # (B, D)
    return divergence.sum() / max(len(mean), 1)
