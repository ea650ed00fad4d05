"""From one picture's bytes to uint8 values of the wanted size and channels, as torchvision's loader would have it."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.errors import TemperError

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")  # none that starts another program
MOST_PIXELS = 100_000_000
MOST_ENCODED = 400 * 2**20  # bytes of a picture's file: 100 megapixels unpacked, and some
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
GREY = {"1", "L", "LA", "La", "I", "F"}
ORIENTATION = 0x0112  # the EXIF tag


@dataclass(frozen=True)
class Fit:
    """How pictures become arrays: `height` and `width` in pixels, `channels` 1, 3 or 4; `resize` as in `DataWish`."""

    height: int
    width: int
    channels: int
    resize: int | None = None
    interpolation: str = "bilinear"


@dataclass(frozen=True)
class Glance:
    """What a picture's header says: its size in pixels as shown, whether it is grey, whether EXIF turns it."""

    height: int
    width: int
    grey: bool
    turned: bool


def glance(data: bytes) -> Glance:
    """Read a picture's header. Raises `TemperError` where it is none or has more than 100 megapixels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = _opened(data)
        turn = _orientation(image)
    width, height = image.size if turn < 5 else image.size[::-1]
    return Glance(height, width, image.mode in GREY or image.mode.startswith("I;16"), turn > 1)


def decoded(data: bytes, fit: Fit) -> tuple[NDArray[np.uint8], bool]:
    """A picture as uint8 `(H, W)` or `(H, W, C)`, and whether EXIF turned it. Raises `TemperError` if unreadable."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = _opened(data)
        try:
            image.load()
            turn = _orientation(image)
            if turn > 1:
                from PIL import ImageOps

                image = ImageOps.exif_transpose(image)
            return fitted(image, fit), turn > 1
        except TemperError:
            raise
        except Exception as error:  # Pillow's decoders raise nearly anything on damaged bytes
            raise TemperError(f"it cannot be decoded ({type(error).__name__})") from error


def _opened(data: bytes) -> Image:
    from PIL import Image

    pixels = _webp_pixels(data)
    try:
        if pixels <= MOST_PIXELS:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            pixels = image.width * image.height
    except Image.DecompressionBombError:
        pixels = 2 * MOST_PIXELS
    except Exception as error:  # as above
        raise TemperError("it is no picture of a known format") from error
    if pixels > MOST_PIXELS:
        raise TemperError(f"it has more than {MOST_PIXELS:,} pixels")
    if not pixels:
        raise TemperError("it has no pixels")
    return image


def _webp_pixels(data: bytes) -> int:
    """Pixels a WebP header states, else 0: its decoder makes room for them all before Pillow can ask how many."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return 0
    if data[12:16] == b"VP8X":
        return (1 + int.from_bytes(data[24:27], "little")) * (1 + int.from_bytes(data[27:30], "little"))
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (1 + (bits & 0x3FFF)) * (1 + (bits >> 14 & 0x3FFF))
    return (int.from_bytes(data[26:28], "little") & 0x3FFF) * (int.from_bytes(data[28:30], "little") & 0x3FFF)


def _orientation(image: Image) -> int:
    """How EXIF says the picture is turned, 1 to 8; damaged EXIF says nothing."""
    try:
        turn = int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # as above
        return 1
    return turn if 1 <= turn <= 8 else 1


def fitted(image: Image, fit: Fit) -> NDArray[np.uint8]:
    """A Pillow picture as uint8 `(H, W)` or `(H, W, C)` of the wanted size; alpha is dropped, as torchvision does."""
    from PIL import Image

    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65_535:
            raise TemperError("its values exceed 16 bits")
        image = Image.fromarray((values // 257).astype(np.uint8))
    if image.mode == "F":
        raise TemperError("it holds floats without a known range")
    image = image.convert(MODES[fit.channels])
    how = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}.get(
        fit.interpolation, Image.Resampling.NEAREST
    )
    if fit.resize is None:
        if image.size != (fit.width, fit.height):
            image = image.resize((fit.width, fit.height), how)
        return np.asarray(image, np.uint8)
    short, long = min(image.size), max(image.size)
    scaled = int(fit.resize * long / short)  # the arithmetic of torchvision's Resize and CenterCrop, to the pixel
    if scaled * fit.resize > MOST_PIXELS:
        raise TemperError(f"its sides are {short} and {long} pixels, too uneven to resize the shorter one")
    size = (fit.resize, scaled) if image.width <= image.height else (scaled, fit.resize)
    if image.size != size:
        image = image.resize(size, how)
    left, top = round((image.width - fit.width) / 2), round((image.height - fit.height) / 2)
    return np.asarray(image.crop((left, top, left + fit.width, top + fit.height)), np.uint8)


def refitted(x: NDArray[Any], fit: Fit) -> NDArray[np.uint8]:
    """Stored pictures, uint8 `(N, H, W)` or `(N, H, W, C)`, at another size or with other channels."""
    from PIL import Image

    x = x[..., 0] if x.ndim == 4 and x.shape[-1] == 1 else x
    tail = () if fit.channels == 1 else (fit.channels,)
    out = np.empty((len(x), fit.height, fit.width, *tail), np.uint8)
    for row, picture in enumerate(x):
        out[row] = fitted(Image.fromarray(np.ascontiguousarray(picture)), fit)
    return out
