"""Pixels into files: a picture, or a turntable as GIF or MP4."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pointae.optional import require
from pointae.storage import write_atomically

FRAMES = 60
"""Pictures of one turn."""
FRAMES_PER_SECOND = 12

Pixels = NDArray[np.uint8]
"""(H, W, 3) red, green and blue."""


def turns(count: int = FRAMES) -> list[float]:
    """Degrees of the pictures of one turn."""
    return [360.0 * i / count for i in range(count)]


def write_pixels(pixels: Pixels, path: Path) -> Path:
    """Write a PNG; the folder is made if need be.

    Raises:
        StorageError: it cannot be written.
    """
    from PIL import Image

    content = BytesIO()
    Image.fromarray(pixels).save(content, format="PNG")
    return _write(content.getvalue(), path)


def write_gif(frames: Iterable[Pixels], path: Path) -> Path:
    """Write pictures as an endless GIF, of the colours of the first one.

    Raises:
        StorageError: it cannot be written.
    """
    from PIL import Image

    images = [Image.fromarray(pixels) for pixels in frames]
    palette = _palette(images[0])
    few = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    content = BytesIO()
    few[0].save(
        content, format="GIF", save_all=True, append_images=few[1:], duration=round(1000 / FRAMES_PER_SECOND), loop=0
    )
    return _write(content.getvalue(), path)


def _palette(image: Any) -> Any:
    """A picture's colours, of which the lightest are white: the paper would otherwise be an average of greys."""
    from PIL import Image

    # That method keeps rare colours apart: those of few hits.
    palette = image.quantize(256, Image.Quantize.MAXCOVERAGE)
    colours = np.array(palette.getpalette()).reshape(-1, 3)
    colours[colours.min(1) > 244] = 255
    palette.putpalette(colours.ravel().tolist())
    return palette


def write_mp4(frames: Iterable[Pixels], path: Path) -> Path:
    """Write pictures as H.264, which every browser and slide program plays.

    Raises:
        ComponentError: imageio-ffmpeg is missing.
        StorageError: it cannot be written.
    """
    ffmpeg = require("imageio_ffmpeg", extra="view")
    writer = None
    with TemporaryDirectory() as folder:
        unfinished = Path(folder) / "turn.mp4"
        for pixels in frames:
            if writer is None:
                size = (pixels.shape[1], pixels.shape[0])
                writer = ffmpeg.write_frames(
                    str(unfinished),
                    size,
                    fps=FRAMES_PER_SECOND,
                    macro_block_size=2,
                    quality=8,
                    ffmpeg_log_level="error",
                )
                writer.send(None)
            writer.send(np.ascontiguousarray(pixels))
        assert writer is not None
        writer.close()
        return _write(unfinished.read_bytes(), path)


def _write(content: bytes, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
    return path
