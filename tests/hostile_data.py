"""Valid and hostile data files, made on demand; a canary shows whether opening one of them ran code."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from damage import sentence
from PIL import Image

from core.data.intake import DataWish, Examples, read_examples
from core.errors import TemperError

N = 24  # examples of a valid file


def judged(path: Path, wish: DataWish | None = None) -> Examples | TemperError:
    """Read it: what comes back is either consistent, or an error of one short sentence."""
    try:
        found = read_examples(path, wish)
    except TemperError as error:
        assert error.message.endswith("."), error.message
        return sentence(error, lines=True)
    assert len(found.x) == len(found.y) >= 4
    assert found.y.dtype == np.int64 and found.y.min() >= 0 and found.y.max() < len(found.classes)
    assert found.x.dtype == np.uint8 or (found.x.dtype == np.float32 and np.isfinite(found.x).all())
    assert found.part is None or len(found.part) == len(found.y)
    return found


def arrays(n: int = N) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.normal(size=(n, 3)).astype(np.float32), np.arange(n) % 3


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=False)
    return stream.getvalue()


def png(shape: tuple[int, ...] = (6, 5, 3), seed: int = 0) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def zipped(path: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def pictures() -> dict[str, bytes]:
    return {f"{name}/{k}.png": png(seed=10 * k + len(name)) for name in ("cat", "horse") for k in range(4)}


def written(root: Path, entries: dict[str, bytes]) -> Path:
    for name, content in entries.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def table() -> pd.DataFrame:
    x, y = arrays()
    frame = pd.DataFrame(x, columns=["a", "b", "c"])
    return frame.assign(colour=np.array(["red", "green"])[y % 2], label=np.array(["low", "mid", "top"])[y])


def _npz(folder: Path, compressed: bool) -> tuple[Path, Path]:
    x, y = arrays()
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    return (zipped(folder / "data.npz", {"x.npy": npy(x), "y.npy": npy(y)}, method),) * 2


def _csv(folder: Path) -> tuple[Path, Path]:
    table().to_csv(folder / "data.csv", index=False)
    return (folder / "data.csv",) * 2


def _parquet(folder: Path) -> tuple[Path, Path]:
    table().to_parquet(folder / "data.parquet", index=False)
    return (folder / "data.parquet",) * 2


def _folder(folder: Path) -> tuple[Path, Path]:
    return written(folder / "set", pictures()), folder / "set" / "cat" / "1.png"


def _zip(folder: Path) -> tuple[Path, Path]:
    return (zipped(folder / "set.zip", pictures()),) * 2


def _idx(folder: Path, packed: bool, broken: str) -> tuple[Path, Path]:
    images, labels = np.random.default_rng(0).integers(0, 256, (N, 4, 4)), np.arange(N) % 3
    files = {
        "raw/train-images-idx3-ubyte": idx(images),
        "raw/train-labels-idx1-ubyte": idx(labels),
        "raw/t10k-images-idx3-ubyte": idx(255 - images[:8]),
        "raw/t10k-labels-idx1-ubyte": idx(labels[:8]),
    }
    if packed:
        files = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in files.items()}
    root = written(folder / "MNIST", files)
    return root, next(path for path in sorted((root / "raw").iterdir()) if broken in path.name)


# What makes a valid file: the path to read, and the file to damage.
VALID: dict[str, Callable[[Path], tuple[Path, Path]]] = {
    "npz": lambda folder: _npz(folder, compressed=False),
    "npz-deflated": lambda folder: _npz(folder, compressed=True),
    "csv": _csv,
    "parquet": _parquet,
    "png": _folder,
    "zip": _zip,
    "idx-images": lambda folder: _idx(folder, False, "train-images"),
    "idx-labels": lambda folder: _idx(folder, False, "train-labels"),
    "idx-gz": lambda folder: _idx(folder, True, "train-images"),
}


def pickled_call(canary: Path) -> bytes:
    """A pickle that makes the canary when opened, written by hand."""
    return f"cpathlib\nPath\n(V{canary}\ntRp0\n0cbuiltins\ngetattr\n(g0\nVtouch\ntR(tR.".encode()


def npy_of(descr: str, shape: str, content: bytes) -> bytes:
    """An .npy entry that says of itself what one likes."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


def object_npy(canary: Path) -> bytes:
    return npy_of("'|O'", f"({N},)", pickled_call(canary))


def huge_png(width: int = 40_000, height: int = 25_000) -> bytes:
    """A picture of 10^9 pixels made of its header and a few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def huge_webp() -> bytes:
    side = (16_383).to_bytes(3, "little")
    body = b"VP8X" + struct.pack("<I", 10) + bytes(4) + side + side
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def huge_bmp() -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, 32_000, 32_000, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + header


def with_link(path: Path, name: str, target: str) -> Path:
    """A zip of class folders with one more entry that is a link."""
    zipped(path, pictures())
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo(name)
        info.create_system, info.external_attr = 3, 0o120777 << 16
        archive.writestr(info, target)
    return path


def bomb(path: Path, name: str, size: int) -> Path:
    """A zip with an entry of zeros, `size` bytes once unpacked, made without holding them."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w") as entry:
        for _ in range(size >> 20):
            entry.write(bytes(2**20))
    return path


def many_entries(path: Path, n: int) -> Path:
    """A zip whose list holds n entries of nothing, written without making them one by one."""
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 0, 0, 0, 0, 1, 0) + b"a"
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, n & 0xFFFF, n & 0xFFFF, n * len(entry), len(local), 0)
    path.write_bytes(local + entry * n + end)
    return path
