"""The code between encoder and decoder: as it is, or drawn from a posterior."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pointae.config import LatentSettings
from pointae.nn.outputs import Latent


class PlainLatent(nn.Module):
    """The code itself."""

    code_size_factor = 1

    def forward(self, code: Tensor) -> Latent:
        return Latent(code)


class VariationalLatent(nn.Module):
    """A normal posterior, drawn by reparameterisation in training, its mean otherwise.

    Kingma & Welling 2014, arXiv:1312.6114. Draws come from torch's generator, which the training
    loop seeds for each (seed, epoch, batch).

    Shapes:
        code (B, 2 D): mean and log-variance -> z (B, D).
    """

    code_size_factor = 2

    def forward(self, code: Tensor) -> Latent:
        mean, log_var = code.float().chunk(2, dim=1) if code.dtype != torch.float64 else code.chunk(2, dim=1)
        log_var = log_var.clamp(-20, 20)
        z = mean + torch.randn_like(mean) * (log_var / 2).exp() if self.training else mean
        return Latent(z, mean, log_var)


LATENTS: dict[str, type[PlainLatent | VariationalLatent]] = {"plain": PlainLatent, "variational": VariationalLatent}


def build_latent(settings: LatentSettings) -> PlainLatent | VariationalLatent:
    """The latent that the settings name; its ``code_size_factor * size`` is the encoder's code size."""
    return LATENTS[settings.name]()
