"""Settings of the model: encoder, latent and decoder."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from pointae.config.base import Depth, Fraction, Positive, Settings, Stride, Width, as_tuple

Few = Annotated[int, Field(ge=0, le=1000)]
_Odd = Annotated[int, Field(ge=1, le=15)]
Kernel = Annotated[tuple[_Odd, _Odd, _Odd], BeforeValidator(as_tuple)]


class HitEmbeddingSettings(Settings):
    """What an encoder is told of a hit besides its position and features."""

    categories: Few = 0
    """Kinds of hits; 0: their ``category`` is not looked at."""
    ranks: Few = 0
    """Numbers of hits, from the centre outward; 0: not told. For small sets that a decoder tells in this order."""


class PointNetSettings(HitEmbeddingSettings):
    """PointNet with repeated global context."""

    name: Literal["pointnet"] = "pointnet"
    channels: Width = 64
    rounds: Depth = 4
    align: bool = False
    """Turn and stretch each event by a 3 x 3 matrix that a small network reads from it (T-Net) before all else."""


class AttentionSettings(HitEmbeddingSettings):
    """Set attention over an event's hits."""

    name: Literal["attention"] = "attention"
    channels: Width = 64
    layers: Depth = 3
    heads: Depth = 4
    max_hits: Positive = 20_000
    """Events above this are refused: the cost is quadratic in the hits of an event."""
    proposals: Few = 0
    """TORCH only: components of a mixture that guesses the event's tracks, an auxiliary target; 0: none."""


class PerceiverSettings(Settings):
    """Tokens that read all hits of an event and tell each hit; linear in the hits."""

    name: Literal["perceiver"] = "perceiver"
    channels: Width = 64
    rounds: Depth = 3
    tokens: Width = 16
    token_channels: Width = 64
    proposals: Few = 0
    """As of attention: components of a mixture that guesses the event's tracks."""


class TrackFitSettings(Settings):
    """Tracks fitted to the hits that a finder, trained before, thinks likely; TORCH only."""

    name: Literal["track_fit"] = "track_fit"
    finder: ModelSettings
    tracks: Depth = 6
    """Fitted to each event."""
    guesses: Annotated[int, Field(ge=3, le=10_000)] = 96
    """Drawn for each pass from what the finder thinks of the tracks; a third starts each round of the fit."""
    passes: Depth = 4
    """Of fit and judgement, each with the scores of the one before and with guesses of its own."""
    channels: Width = 64
    max_hits: Positive = 20_000
    """Events above this are refused: the cost is linear in the hits, but a hundred times that of other networks."""


class EdgeConvSettings(Settings):
    """Edge convolution over the nearest hits in physical distance."""

    name: Literal["edgeconv"] = "edgeconv"
    channels: Width = 32
    layers: Depth = 2
    neighbours: Width = 16
    max_hits: Positive = 20_000


class SparseSettings(HitEmbeddingSettings):
    """Sparse convolutional U-Net on occupied voxels."""

    name: Literal["sparse"] = "sparse"
    channels: Width = 32
    strides: Annotated[list[Stride], Field(min_length=1, max_length=16)] = [(4, 4, 32), (8, 8, 64), (16, 16, 128)]
    """Voxel size of each level, finest first; each a multiple of the one before."""
    kernel_size: Kernel = (3, 3, 3)
    """Voxels along each axis that a convolution within a level sees, odd."""
    dilation: Stride = (1, 1, 1)
    """Voxels from one place of that kernel to the next."""
    down: Literal["conv", "max", "mean"] = "conv"
    """How voxels gather into those of the next level."""
    octaves: Annotated[int, Field(ge=0, le=10)] = 10
    """Periods of the sines that tell where on each axis a hit lies, at most; 0: only how far along it. Few, where
    patterns are alike everywhere and events so few that a network would learn their places by heart."""
    engine: Literal["auto", "torch", "spconv", "dense"] = "auto"


class Dense2dSettings(Settings):
    """The predecessor's convolutional encoder on the image with embedded time of flight."""

    name: Literal["dense2d"] = "dense2d"
    channels: Annotated[tuple[Width, Width, Width], BeforeValidator(as_tuple)] = (8, 16, 32)
    hidden: Width = 128
    gap: Annotated[float, Field(gt=0, lt=1)] = 0.25
    """r of the gapped normalisation."""


class Dense3dSettings(Settings):
    """Dense 3D convolutions on a coarse grid."""

    name: Literal["dense3d"] = "dense3d"
    channels: Width = 16
    stride: Stride = (8, 8, 64)


class CategoryGridSettings(Settings):
    """Robots only: one of six dense networks on the grid of kinds, as an encoder and as a decoder."""

    name: Literal["category_grid"] = "category_grid"
    network: Literal["fc", "conv", "conv_pool", "conv_skip", "deep", "batch_norm"] = "fc"


Encoder = Annotated[
    PointNetSettings
    | AttentionSettings
    | PerceiverSettings
    | TrackFitSettings
    | EdgeConvSettings
    | SparseSettings
    | Dense2dSettings
    | Dense3dSettings
    | CategoryGridSettings,
    Field(discriminator="name"),
]


class LatentSettings(Settings):
    """The code between encoder and decoder."""

    name: Literal["plain", "variational"] = "plain"
    size: Width = 64


class PerHitSettings(Settings):
    """A logit for every measured hit: is it signal?"""

    name: Literal["per_hit"] = "per_hit"
    hidden: Width = 64


class PointSetSettings(Settings):
    """A set of points from the code alone."""

    name: Literal["point_set"] = "point_set"
    slots: Width = 64
    hidden: Width = 256
    categories: Few = 0


class AutoregressiveSettings(Settings):
    """A set of hits told one after another, from the code alone: cells rather than points, for few hits."""

    name: Literal["autoregressive"] = "autoregressive"
    slots: Width = 8
    """Most hits of an event; of more, the innermost are told."""
    hidden: Width = 192
    code_hidden: Width = 512
    """Width in which the code is unfolded, once an event rather than once a hit: most of the work is cheap there."""
    layers: Depth = 2
    categories: Few = 0
    hold_back: Fraction = 0.0
    """Share of the true hits that, in training, the steps after them are not told."""


class DenseSettings(Settings):
    """A volume of logits at a declared stride, from the code alone."""

    name: Literal["dense"] = "dense"
    stride: Stride = (8, 8, 50)
    channels: Width = 16


class ImageSettings(Settings):
    """The predecessor's decoder: an image with embedded time of flight, from the code alone."""

    name: Literal["image"] = "image"
    channels: Annotated[tuple[Width, Width, Width], BeforeValidator(as_tuple)] = (32, 16, 8)
    hidden: Width = 128
    gap: Annotated[float, Field(gt=0, lt=1)] = 0.25


Decoder = Annotated[
    PerHitSettings | PointSetSettings | AutoregressiveSettings | DenseSettings | ImageSettings | CategoryGridSettings,
    Field(discriminator="name"),
]


class ModelSettings(Settings):
    """encoder -> latent -> decoder."""

    encoder: Encoder = PointNetSettings()
    latent: LatentSettings = LatentSettings()
    decoder: Decoder = PerHitSettings()


TrackFitSettings.model_rebuild()
