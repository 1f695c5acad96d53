"""A picture file as the model sees it: bit for bit what the published code makes of it, in half the time or less.

The published order is: RGB, bars in the mean colour to make a square, bicubic resize, division by 255, normalisation.
It is cheaper here because the resize runs only where the picture is (`cvl.train.samples.square`), and because after
it a channel has 256 values, so that rescaling and normalising are one look into a table.

Pictures that the published code stumbles over, or reads as nobody meant, and what happens to them here:

| picture                          | published code                        | here                                 |
| -------------------------------- | ------------------------------------- | ------------------------------------ |
| grey with 16 bits                | levels above 255 of 65535 turn white  | the higher 8 bits, as for 16-bit RGB |
| grey with 32 bits, or floats     | likewise                              | see `_eight_bits`                    |
| 1 or 3 pixels on the longer side | crashes, or takes rows for channels   | as any other                         |
| 100 times as long as high        | a square of the long side in memory   | no more than what holds the picture  |
| cut short, damaged, no picture   | ends the run                          | ImageError                           |
| more than 179 million pixels     | ends the run                          | read, up to 268 million              |

As published: transparency is dropped, and what lies under it shows; EXIF's rotation is not applied; of an animation,
the first frame is taken; CMYK becomes RGB by Pillow's simple formula; 16-bit RGB keeps its higher bytes.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cvl.errors import CheckpointError, ImageError
from cvl.images import decode, decode_reduced
from cvl.memory import keep_memory
from cvl.train.samples.square import Colour, remember_size, resized_square

SPARE = 4 / 3
"""How much longer than the model's resolution a picture stays when `fast_decode` reads it at a smaller scale."""

_FILE = "preprocessor_config.json"
_EXPECTED = {
    "do_resize": True,
    "resample": Image.Resampling.BICUBIC.value,
    "do_center_crop": True,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
}
"""The steps that are taken here, and transformers' defaults where the file does not name them."""

Channels = tuple[float, float, float]


@dataclass(frozen=True)
class Preprocessing:
    """How pictures are prepared for one model.

    Args:
        resolution: side of the square that the model sees, in pixels, an even number.
        mean: of red, green and blue, between 0 and 1. Also the colour of the bars.
        std: the standard deviations to divide by.
        fast_decode: read JPEGs that are much larger than needed at a half, a quarter or an eighth of their size, so
            that the longer side keeps at least 4/3 of the resolution. Not bit-equal: from 1500×2250 to 768 pixels the
            benchmark's pictures are off by 0.55 of 255 grey levels on average, and by 33 at most.
    """

    resolution: int
    mean: Channels
    std: Channels
    fast_decode: bool = False

    @property
    def colour(self) -> Colour:
        """The colour of the bars: the mean, rounded down as published. (122, 116, 104) for CLIP's."""
        red, green, blue = (int(mean * 255) for mean in self.mean)
        return red, green, blue

    @classmethod
    def from_folder(cls, folder: Path) -> Preprocessing:
        """What a checkpoint's preprocessor_config.json says.

        Raises:
            CheckpointError: there is no such file, it is no JSON, or it asks for other steps than these.
        """
        path = folder / _FILE
        try:
            entries = json.loads(path.read_bytes())
        except FileNotFoundError as error:
            raise CheckpointError(
                f"{folder} has no {_FILE}", hint="it lies beside the vision tower's weights"
            ) from error
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from error
        if not isinstance(entries, dict):
            raise CheckpointError(f"{path}: expected an object, found {type(entries).__name__}")
        for key, expected in _EXPECTED.items():
            if entries.get(key, expected) != expected:
                raise CheckpointError(f"{path}: {key}: expected {expected}, found {entries[key]}")
        mean, std = (_channels(path, entries, key) for key in ("image_mean", "image_std"))
        if 0 in std:
            raise CheckpointError(f"{path}: image_std: expected three numbers other than 0, found {list(std)}")
        return cls(_resolution(path, entries), mean, std)


def open_picture(source: Path | bytes, how: Preprocessing | None = None) -> Image.Image:
    """A picture file's first frame in RGB; at a smaller scale if `how` asks for fast decoding and the file allows it.

    Raises:
        ImageError: it cannot be read, is larger than `cvl.images.MAX_PIXELS`, or has colours without a meaning in RGB.
            The message begins with the path, where `source` is one.

    Like `cvl.images.decode` it is for processes, not for threads.
    """
    if how is None or not how.fast_decode:
        picture = decode(source)
        size = picture.size
    else:
        picture, size = decode_reduced(source, SPARE * how.resolution)
    try:
        with warnings.catch_warnings():
            # Transparency that is dropped, which is meant.
            warnings.simplefilter("ignore")
            result = _rgb(picture)
    except (ValueError, OSError) as error:
        where = "" if isinstance(source, bytes) else f"{source}: "
        raise ImageError(f"{where}{picture.mode} picture that cannot become RGB: {error}") from error
    remember_size(result, size)
    return result


def pixel_values(picture: Image.Image, how: Preprocessing) -> NDArray[np.float32]:
    """A picture of `open_picture`, padded, resized and normalised: float32 of shape (3, resolution, resolution).

    The process that calls this keeps more freed memory than others do, see `keep_memory`.

    Raises:
        ImageError: it is longer than `MAX_SIDE`.
    """
    keep_memory()
    rows = resized_square(picture, how.resolution, how.colour)
    bottom = rows.top + rows.image.height
    values = np.empty((3, how.resolution, how.resolution), np.float32)
    for channel, (table, pairs) in enumerate(zip(_table(how.mean, how.std), _pairs(how.mean, how.std), strict=True)):
        plane = values[channel]
        plane[: rows.top] = plane[bottom:] = table[how.colour[channel]]
        levels = np.frombuffer(rows.image.tobytes("raw", "RGB"[channel]), np.uint16)
        # Every index is in the table; "clip" only spares numpy a copy.
        np.take(pairs, levels, out=plane[rows.top : bottom].reshape(-1).view(np.float64), mode="clip")
    return values


@lru_cache(maxsize=8)
def _table(mean: Channels, std: Channels) -> NDArray[np.float32]:
    """Each channel's normalised value of each level, (3, 256), in the types that transformers computes in."""
    # Scaled in double precision, then cast; normalised in single precision.
    levels = (np.arange(256) * (1 / 255)).astype(np.float32)
    means, stds = np.array(mean, np.float32), np.array(std, np.float32)
    return (levels - means[:, None]) / stds[:, None]


@lru_cache(maxsize=8)
def _pairs(mean: Channels, std: Channels) -> NDArray[np.float64]:
    """The same for two neighbours at a time, which halves the number of looks: (3, 65536), two float32 in each item."""
    levels = np.arange(2**16, dtype=np.uint16).view(np.uint8).reshape(-1, 2)
    values = np.ascontiguousarray(_table(mean, std)[:, levels])
    return values.view(np.float64)[..., 0]


def _rgb(picture: Image.Image) -> Image.Image:
    """The picture in RGB. Raises ValueError where there is no way."""
    if picture.mode == "RGB":
        return picture
    if picture.mode.startswith(("I", "F")):
        picture = Image.fromarray(_eight_bits(np.asarray(picture)))
    return picture.convert("RGB")


def _eight_bits(levels: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey levels of more than 8 bits, as 8 bits.

    16-bit levels keep their higher byte. Wider types do not say which level is white. Up to 255 they are taken as they
    are, as published; up to 65535 as 16 bits; and floats up to 1 as fractions of white. Raises ValueError for others.
    """
    low, high = levels.min(), levels.max()
    if not (low >= 0 and high <= 65535):
        raise ValueError(f"grey levels from {low} to {high}, expected 0 to 65535")
    if levels.dtype.kind == "f" and high <= 1:
        levels = np.rint(levels * 255)
    elif levels.dtype.itemsize == 2 or high > 255:
        levels = levels // 256
    return np.asarray(levels, np.uint8)


def _resolution(path: Path, entries: dict[str, Any]) -> int:
    """The side of the square, which `size` and `crop_size` must agree on."""
    crop, size = entries.get("crop_size"), entries.get("size")
    # Old files have a bare number.
    crop = {"height": crop, "width": crop} if isinstance(crop, int) else crop
    size = {"shortest_edge": size} if isinstance(size, int) else size
    if not isinstance(size, dict) or not isinstance(side := size.get("shortest_edge"), int) or side < 1 or side % 2:
        raise CheckpointError(f"{path}: size: expected a shortest_edge of an even number of pixels, found {size}")
    if crop != {"height": side, "width": side}:
        raise CheckpointError(f"{path}: crop_size: expected a height and a width of {side} as in size, found {crop}")
    return side


def _channels(path: Path, entries: dict[str, Any], key: str) -> Channels:
    values = entries.get(key)
    if not isinstance(values, list) or len(values) != 3 or not all(isinstance(value, int | float) for value in values):
        raise CheckpointError(f"{path}: {key}: expected three numbers, found {values}")
    red, green, blue = map(float, values)
    return red, green, blue
