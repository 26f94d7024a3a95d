"""The assembly: encoder -> latent -> decoder, chosen by name."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from pointae.config import ModelSettings
from pointae.errors import unknown_name
from pointae.geometry import DetectorGeometry
from pointae.hits import HitBatch
from pointae.nn.decoders import PerHitDecoder
from pointae.nn.event_parts import in_parts, parts_of_events
from pointae.nn.event_sizes import refuse_large_events
from pointae.nn.latent import PlainLatent, build_latent
from pointae.nn.outputs import HitLogits, Latent, Output
from pointae.nn.track_mixture import TrackMixture

# Modules by name, imported on use: torch_geometric and spconv take seconds to load.
ENCODERS = {
    "pointnet": "pointae.nn.pointnet:PointNetEncoder",
    "attention": "pointae.nn.attention:AttentionEncoder",
    "track_fit": "pointae.nn.track_fit:TrackFitEncoder",
    "perceiver": "pointae.nn.perceiver:PerceiverEncoder",
    "edgeconv": "pointae.nn.edgeconv:EdgeConvEncoder",
    "sparse": "pointae.nn.sparse_encoder:SparseEncoder",
    "dense2d": "pointae.nn.dense2d:Dense2dEncoder",
    "dense3d": "pointae.nn.dense3d:Dense3dEncoder",
    "category_grid": "pointae.nn.category_grid:CategoryGridEncoder",
}
DECODERS = {
    "per_hit": "pointae.nn.decoders:PerHitDecoder",
    "point_set": "pointae.nn.decoders:PointSetDecoder",
    "autoregressive": "pointae.nn.autoregressive:AutoregressiveDecoder",
    "dense": "pointae.nn.dense3d:DenseDecoder",
    "image": "pointae.nn.dense2d:ImageDecoder",
    "category_grid": "pointae.nn.category_grid:CategoryGridDecoder",
}


@dataclass(frozen=True)
class Prediction:
    """What a forward pass gives: the output, the latent it was made from; the rest is the encoder's, see Encoding."""

    output: Output
    latent: Latent
    tracks: TrackMixture | None = None
    alignment: Tensor | None = None
    judged: Tensor | None = None


class Autoencoder(nn.Module):
    """Any encoder with any decoder.

    Args:
        settings: the model section of a config.
        geometry: the detector's grid; layer sizes follow from it.
        in_features: C of ``hits.features``.

    Raises:
        DataError: on a batch with an event of more hits than the encoder takes, its ``max_hits``.
    """

    def __init__(self, settings: ModelSettings, geometry: DetectorGeometry, in_features: int = 0) -> None:
        super().__init__()
        size, self.name = settings.latent.size, settings.encoder.name
        self.latent = build_latent(settings.latent)
        self.encoder = _class("encoder", settings.encoder.name, ENCODERS)(
            settings.encoder, geometry, size * self.latent.code_size_factor, in_features
        )
        self.decoder = _class("decoder", settings.decoder.name, DECODERS)(
            settings.decoder, geometry, size, self.encoder.hit_channels, in_features
        )

    @property
    def max_hits(self) -> int | None:
        """Most hits of an event, where the cost is not linear in them or is large; ``None``: any number."""
        most: int | None = getattr(self.encoder, "max_hits", None)
        return most

    def forward(self, hits: HitBatch) -> Prediction:
        self.refuse_large_events(hits)
        parts = parts_of_events(hits, self.encoder.hits_a_thread) if self._has_parts else 1
        if parts == 1:
            return self._predicted(hits)
        z, logits = in_parts(self._code_and_logits, hits, self.parameters(), parts)
        return Prediction(HitLogits(logits), Latent(z))

    def refuse_large_events(self, hits: HitBatch, first: int = 0) -> None:
        """Refuse a batch with an event of more hits than :attr:`max_hits`.

        Args:
            hits: of B events.
            first: number of the batch's first event, for events without an ``event_id``.

        Raises:
            DataError: with the event.
        """
        remedy = getattr(self.encoder, "takes_more_with", "")
        refuse_large_events(hits, self.max_hits, self.name, first, remedy)

    @property
    def _has_parts(self) -> bool:
        """Whether events may go through in parts: nothing is drawn for a whole batch, all that comes out are logits."""
        deterministic = isinstance(self.latent, PlainLatent) and isinstance(self.decoder, PerHitDecoder)
        return deterministic and hasattr(self.encoder, "hits_a_thread")

    def _code_and_logits(self, hits: HitBatch) -> tuple[Tensor, Tensor]:
        prediction = self._predicted(hits)
        return prediction.latent.z, prediction.output.hit_logits(hits)

    def _predicted(self, hits: HitBatch) -> Prediction:
        encoding = self.encoder(hits)
        latent = self.latent(encoding.code)
        output = self.decoder(latent.z, encoding.hit_features, hits)
        return Prediction(output, latent, encoding.tracks, encoding.alignment, encoding.judged)


def _class(kind: str, name: str, registry: dict[str, str]) -> Any:
    if name not in registry:
        raise unknown_name(kind, name, registry)
    module, attribute = registry[name].split(":")
    return getattr(import_module(module), attribute)


def count_parameters(settings: ModelSettings, geometry: DetectorGeometry, in_features: int = 0) -> dict[str, int]:
    """How many numbers are learned by the encoder and the decoder that settings describe, without making them.

    Returns:
        by part; empty for networks that cannot be built without their numbers.
    """
    try:
        with torch.device("meta"):
            model = Autoencoder(settings, deepcopy(geometry), in_features)  # it keeps tensors once asked for
    except RuntimeError:  # meta tensors have no values
        return {}
    parts = {"encoder": model.encoder, "decoder": model.decoder}
    return {name: sum(weights.numel() for weights in part.parameters()) for name, part in parts.items()}
