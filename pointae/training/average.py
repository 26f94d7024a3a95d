"""The exponential moving average of a model's weights."""

from __future__ import annotations

import copy

import torch
from torch import nn


class WeightAverage:
    """A copy of a model that follows it slowly: less noise of single steps, at the price of a copy.

    After step ``n`` each weight moves by ``1 - d`` of the way to the model's, ``d`` being the smaller
    of ``decay`` and ``(1 + n) / (10 + n)``: an average that starts short forgets the random start
    soon. Floating-point buffers (running statistics) are averaged with the weights, others copied.
    Polyak & Juditsky 1992; the decay as in Tarvainen & Valpola 2017, arXiv:1703.01780.

    Args:
        model: what is followed, on its final device.
        decay: of a step, in (0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay, self.updates = decay, 0
        # Both state dicts alias the tensors that they name, so they are looked up once.
        self._pairs = list(zip(self.model.state_dict().values(), model.state_dict().values(), strict=True))

    @torch.no_grad()
    def update(self) -> None:
        """Follow the model; call after every optimisation step."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for mine, theirs in self._pairs:
            if mine.is_floating_point():
                mine.lerp_(theirs, 1 - decay)
            else:
                mine.copy_(theirs)
