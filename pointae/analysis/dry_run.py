"""A config shown before it is trained: events, layers, shapes."""

from __future__ import annotations

from rich.table import Table
from torch import Tensor, nn

from pointae.analysis.neighbours import neighbour_counts
from pointae.config import Config, SparseSettings
from pointae.data.events import SPLITS, EventData
from pointae.nn.autoencoder import Autoencoder
from pointae.nn.outputs import Output
from pointae.terminal import console


def describe(config: Config) -> None:
    """Build data and model, run one batch, and print parameters by layer and the batch's shapes."""
    data = EventData(config.data, config.seed)
    model = Autoencoder(config.model, data.geometry, len(data.feature_names))
    console.print(_events(data))
    console.print(_layers(model))
    batch = next(data.batches("train", config.train.batch_size))
    if isinstance(config.model.encoder, SparseSettings):
        console.print("neighbours at each stride of the encoder:")
        for count in neighbour_counts(batch.hits, config.model.encoder.strides):
            console.print(f"  {count}")
        console.print(f"engine: {model.encoder.engine} ({model.encoder.engine_reason})")
    prediction = model.train()(batch.hits)
    console.print(_shapes(batch.hits.coords, batch.hits.offsets, prediction.output, prediction.latent.z))


def _events(data: EventData) -> Table:
    table = Table("split", "events", title=f"grid {' x '.join(map(str, data.geometry.spatial_shape))}")
    for split in SPLITS:
        table.add_row(split, f"{data.num_events(split):,}")
    return table


def _layers(model: nn.Module) -> Table:
    total = sum(parameter.numel() for parameter in model.parameters())
    table = Table("layer", "kind", "parameters", title=f"{total:,} parameters")
    for name, module in model.named_modules():
        own = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        if own:
            table.add_row(name, type(module).__name__, f"{own:,}")
    return table


def _shapes(coords: Tensor, offsets: Tensor, output: Output, z: Tensor) -> Table:
    table = Table("tensor", "shape", title="one batch")
    table.add_row("coords", str(tuple(coords.shape)))
    table.add_row("offsets", str(tuple(offsets.shape)))
    table.add_row("z", str(tuple(z.shape)))
    for name, value in vars(output).items():
        if isinstance(value, Tensor):
            table.add_row(f"{type(output).__name__}.{name}", str(tuple(value.shape)))
    return table
