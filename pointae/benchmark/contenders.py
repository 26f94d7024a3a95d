"""The networks that are compared, the events they meet, and one step of training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from pointae import draws, shipped
from pointae.analysis.conditions import ONE_TRACK
from pointae.config import (
    AttentionSettings,
    Dense2dSettings,
    Dense3dSettings,
    EdgeConvSettings,
    Encoder,
    ImageSettings,
    LatentSettings,
    LossSettings,
    ModelSettings,
    PointNetSettings,
    SparseSettings,
)
from pointae.errors import ComponentError
from pointae.geometry import DetectorGeometry
from pointae.hits import HitBatch
from pointae.losses import build_loss
from pointae.nn.autoencoder import Autoencoder
from pointae.nn.sparse.engines import ENGINES, resolve_engine
from pointae.precision import choose_precision
from pointae.weights import load_weights

SIGNAL_SHARE = 0.13
"""As of the benchmark's events: 30 of 230."""


@dataclass(frozen=True)
class Contender:
    """One network of the comparison.

    Args:
        name: of its rows.
        settings: of the model.
        precision: of the arithmetic.
        loss: of a training step.
        weights: name of the shipped weights it is filled with; none: as initialised.
        at_once: events that the network sees at once when it denoises, as its config says.
        slow: timed with few events only.
        trains: whether a training step is timed.
        quick: whether it is in the quick benchmark too.
        compared: timed in turns with the others that a ratio is made of, and longer.
    """

    name: str
    settings: ModelSettings
    precision: str = "fp32"
    loss: str = "bce"
    weights: str = ""
    at_once: int = 250
    slow: bool = False
    trains: bool = True
    quick: bool = False
    compared: bool = False

    def build(self, geometry: DetectorGeometry, device: str) -> Contestant:
        """The network for a grid, on its device."""
        torch.manual_seed(1)
        precision = choose_precision(device, self.precision)
        model = Autoencoder(self.settings, geometry)
        if self.weights:
            load_weights(model, shipped.weights_path(self.weights))
        return Contestant(self, model.to(precision.device), precision)

    def quality(self) -> dict[str, Any]:
        """Noise removed at 97 % and 99 % of signal kept, as the card of its weights tells."""
        if not self.weights:
            return {"weights": "random weights"}
        figures = shipped.read_shipped(self.weights).figures.get(ONE_TRACK.name, {})
        shares = {f"at_{cut}": 100 * figures[f"noise_removed_at_{cut}"] for cut in (97, 99) if figures}
        return {"weights": self.weights, **shares}


@dataclass(frozen=True)
class Contestant:
    """A contender's network, built."""

    contender: Contender
    model: Autoencoder
    precision: Any

    @property
    def parameters(self) -> int:
        """Trained numbers."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @torch.no_grad()
    def logits(self, hits: HitBatch) -> torch.Tensor:
        """(N,) of a forward pass in evaluation."""
        self.model.eval()
        with self.precision.autocast():
            return self.model(hits).output.hit_logits(hits)

    def step(self) -> Callable[[HitBatch], float]:
        """A training step: forward, loss, gradients, AdamW."""
        loss = build_loss(LossSettings(name=self.contender.loss))
        optimiser = torch.optim.AdamW(self.model.parameters(), 1e-4, fused=True)

        def work(hits: HitBatch) -> float:
            if not self.model.training:  # a training does not ask for it again before every step
                self.model.train()
            with self.precision.autocast():
                prediction = self.model(hits)
            value = loss(prediction.output, hits, hits.select(hits.signal))  # type: ignore[arg-type]
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            optimiser.step()
            return float(value.detach())

        return work


def contenders(quick: bool = False) -> list[Contender]:
    """All networks that can run here; spconv is left out where it is not installed."""
    small = shipped.read_shipped("torch-small").config
    at_once = small.evaluate.batch_size
    found = [
        Contender("torch-small, bf16", small.model, "bf16", weights="torch-small", at_once=at_once, quick=True,
                  compared=True),
        Contender("torch-small, fp32", small.model, "fp32", weights="torch-small", at_once=at_once, compared=True),
        *(Contender(f"sparse U-Net, {engine}", _per_hit(SparseSettings(engine=engine)), quick=True, compared=True)  # type: ignore[arg-type]
          for engine in engines()),
        Contender("PointNet", _per_hit(PointNetSettings()), quick=True),
        Contender("set attention", _per_hit(AttentionSettings())),
        Contender("EdgeConv", _per_hit(EdgeConvSettings())),
        Contender("dense 3D", _per_hit(Dense3dSettings())),
        Contender("dense 2D", DENSE_2D, loss="acb_mse", at_once=DENSE_2D_AT_ONCE, quick=True, compared=True),
        Contender("dense 2D, bf16", DENSE_2D, "bf16", loss="acb_mse", at_once=DENSE_2D_AT_ONCE, compared=True),
    ]  # fmt: skip
    for name in ("torch-finder", "torch-base"):
        if name in shipped.shipped_names():
            settings = shipped.read_shipped(name).config.model
            found.append(Contender(name, settings, weights=name, slow=True, trains=name != "torch-base"))
    return [contender for contender in found if contender.quick or not quick]


def engines() -> list[str]:
    """Engines of sparse convolution that can run here and whose cost follows the hits."""
    found = []
    for name in ENGINES:
        if name == "dense":  # a grid at 4 x 4 x 32 is far too large for batches: it has a sweep of its own
            continue
        try:
            found.append(resolve_engine(name)[0])
        except ComponentError:
            continue
    return found


def _per_hit(encoder: Encoder) -> ModelSettings:
    return ModelSettings(encoder=encoder, latent=LatentSettings(size=16))


DENSE_2D = ModelSettings(encoder=Dense2dSettings(), latent=LatentSettings(size=24), decoder=ImageSettings())
"""The predecessor's network."""
DENSE_2D_AT_ONCE = 64
"""Its images are denoised in groups that memory serves best: of 250 at once an event takes longer."""


def uniform_hits(geometry: DetectorGeometry, events: int, hits: int, seed: int = 1) -> HitBatch:
    """Events of exactly so many hits anywhere on a grid, the same places of any grid in its own bins."""
    keys = draws.event_keys(seed, 0, torch.arange(events), "benchmark").repeat_interleave(hits)
    number = torch.arange(hits).repeat(events)
    columns = [
        (draws.uniform(keys, 4 * number + i).double() * axis.bins).int().clamp(max=axis.bins - 1)
        for i, axis in enumerate(geometry.axes)
    ]
    signal = draws.uniform(keys, 4 * number + 3) < SIGNAL_SHARE
    return HitBatch(geometry, torch.stack(columns, 1), torch.arange(events + 1) * hits, signal=signal)
