"""Own data, read rightly: arrays, folders and zips of pictures, IDX files and tables, as people save them."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from hostile_data import VALID, N, arrays, idx, npy, npy_of, pictures, png, table, written, zipped
from PIL import Image

from core.data.intake import DataWish, read_examples
from core.errors import TemperError

X, Y = arrays()
GENERATOR = np.random.default_rng(1)
SMALL = GENERATOR.integers(0, 256, (N, 8, 6, 3), np.uint8)


def saved(tmp_path, **named):
    np.savez_compressed(tmp_path / "data.npz", **named)
    return tmp_path / "data.npz"


def notes(found):
    return " ".join(found.notes)


def test_reading_needs_no_torch():
    modules = "intake, arrays, idx, pictures, table, parquet"
    code = f"import sys; from core.data import {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# Arrays


@pytest.mark.parametrize(
    "names", [("x", "y"), ("X", "Y"), ("images", "labels"), ("data", "target"), ("X", "targets")]
)
def test_arrays_by_their_usual_names(names, tmp_path):
    found = read_examples(saved(tmp_path, **dict(zip(names, (X, Y), strict=True))))
    assert np.array_equal(found.x, X) and np.array_equal(found.y, Y)
    assert (found.modality, found.classes, found.part) == ("table", ("0", "1", "2"), None)
    assert found.features == ("feature 0", "feature 1", "feature 2")


@pytest.mark.parametrize("dtype", [">f4", "<f8", ">f8", "<f2", ">i2", "u1", "<i8"])
@pytest.mark.parametrize("labels", [">i4", "u1", "<f8", ">f4", "<U3", ">U3", "S3"])
def test_types_and_byte_orders(dtype, labels, tmp_path):
    x = np.round(X * 10).clip(0).astype(dtype)
    found = read_examples(saved(tmp_path, x=x, y=Y.astype(labels)))
    assert found.x.dtype == np.float32 and found.x.dtype.isnative
    assert np.array_equal(found.x, x.astype(np.float32)) and np.array_equal(found.y, Y)


def test_an_array_by_columns_and_labels_in_a_column(tmp_path):
    found = read_examples(saved(tmp_path, x=np.asfortranarray(X), y=Y[:, None]))
    assert np.array_equal(found.x, X) and np.array_equal(found.y, Y)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_header(version, tmp_path):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, X, version=version)
    found = read_examples(zipped(tmp_path / "data.npz", {"x.npy": stream.getvalue(), "y.npy": npy(Y)}))
    assert np.array_equal(found.x, X)


def test_a_header_by_another_writer(tmp_path):
    x = (
        npy_of("'<f4'", "(24L, 3L)", X.tobytes())
        .replace(b"'descr': '<f4', ", b"")
        .replace(b", }", b", 'descr':'<f4'}")
    )
    length = x.index(b"\n") - 9
    x = x[:8] + length.to_bytes(2, "little") + x[10:]
    assert np.array_equal(read_examples(zipped(tmp_path / "d.npz", {"x.npy": x, "y.npy": npy(Y)})).x, X)


def test_class_names_come_with_the_arrays_or_with_the_wish(tmp_path):
    path = saved(tmp_path, x=X, y=Y, classes=np.array(["low", "mid", "höher"]))
    assert read_examples(path).classes == ("low", "mid", "höher")
    assert read_examples(path, DataWish(classes=("a", "b", "c", "d"))).classes == ("a", "b", "c", "d")
    named = saved(tmp_path, x=X, y=np.array(["b", "c", "a"])[Y])
    assert np.array_equal(read_examples(named, DataWish(classes=("c", "b", "a"))).y, np.array([1, 0, 2])[Y])
    assert np.array_equal(read_examples(named).y, np.array([1, 2, 0])[Y])


def test_labels_that_do_not_start_at_zero_are_numbered_with_a_note(tmp_path):
    found = read_examples(saved(tmp_path, x=X, y=Y * 10 - 5))
    assert found.classes == ("-5", "5", "15") and np.array_equal(found.y, Y)
    assert "ascending" in notes(found)
    gap = read_examples(saved(tmp_path, x=X, y=Y * 2))
    assert gap.classes == ("0", "1", "2", "3", "4") and "No example has the label 1, 3." in gap.notes


def test_an_own_split_of_arrays(tmp_path):
    found = read_examples(
        saved(tmp_path, x_train=X, y_train=Y, X_val=X + 1, Y_val=Y, test_images=X + 2, test_labels=Y)
    )
    assert np.array_equal(np.bincount(found.part), [N, N, N])
    assert "Own split: 24 to fit, 24 to calibration, 24 to evaluation." in found.notes
    for code in range(3):
        assert np.array_equal(found.x[found.part == code], X + np.float32(code))


@pytest.mark.parametrize(
    ("shape", "wanted", "first"),
    [
        ((N, 3, 8, 6), None, True),
        ((N, 8, 6, 3), None, False),
        ((N, 3, 8, 3), (3, 8, 3), True),
        ((N, 3, 8, 3), (3, 3, 8), False),
        ((N, 3, 8, 3), None, False),
        ((N, 1, 8, 8), None, True),
        ((N, 8, 8), None, False),
        ((N, 8, 8), (1, 8, 8), False),
    ],
)
def test_where_the_channels_are(shape, wanted, first, tmp_path):
    x = GENERATOR.integers(0, 256, shape, np.uint8)
    found = read_examples(saved(tmp_path, x=x, y=Y), DataWish(input_shape=wanted))
    assert found.channels_first == first and found.modality == "pictures"
    assert np.array_equal(found.x, x), "pictures of the right size stay as they are"


def test_pictures_of_floats_and_of_wide_integers(tmp_path):
    floats = read_examples(saved(tmp_path, x=SMALL / 255, y=Y))
    assert floats.x.dtype == np.float32 and "used as given" in notes(floats)
    whole = read_examples(saved(tmp_path, x=SMALL.astype(np.int64), y=Y))
    assert whole.x.dtype == np.uint8 and np.array_equal(whole.x, SMALL)


def test_rows_become_pictures_and_pictures_rows_as_the_model_reads(tmp_path):
    flat = SMALL.transpose(0, 3, 1, 2).reshape(N, -1)
    found = read_examples(saved(tmp_path, x=flat, y=Y), DataWish(input_shape=(3, 8, 6)))
    assert found.channels_first and found.x.dtype == np.uint8
    assert np.array_equal(found.x.transpose(0, 2, 3, 1), SMALL)
    back = read_examples(saved(tmp_path, x=SMALL, y=Y), DataWish(input_shape=(144,)))
    assert back.modality == "table" and np.array_equal(back.x, flat)
    with pytest.raises(TemperError, match="reads 5 features and the data have 3"):
        read_examples(saved(tmp_path, x=X, y=Y), DataWish(input_shape=(5,)))
    with pytest.raises(TemperError, match="of shape"):
        read_examples(saved(tmp_path, x=X, y=Y), DataWish(input_shape=(3, 8, 6)))


def test_stored_pictures_are_resized_as_pillow_does(tmp_path):
    found = read_examples(saved(tmp_path, x=SMALL, y=Y), DataWish(input_shape=(1, 4, 4), interpolation="bicubic"))
    right = Image.fromarray(SMALL[5]).convert("L").resize((4, 4), Image.Resampling.BICUBIC)
    assert np.array_equal(found.x[5], np.asarray(right)) and found.x.shape == (N, 4, 4)
    with pytest.raises(TemperError, match="of shape"):
        read_examples(saved(tmp_path, x=SMALL / 255, y=Y), DataWish(input_shape=(3, 4, 4)))


def test_beyond_the_memory_a_stratified_part_is_kept(tmp_path):
    y = np.repeat([0, 1, 2], [600, 300, 100])
    x = np.arange(1000, dtype=np.float32)[:, None] * np.ones(7, np.float32)
    found = read_examples(saved(tmp_path, x=x, y=y), DataWish(most_bytes=100 * 28))
    assert np.array_equal(np.bincount(found.y), [60, 30, 10])
    assert np.array_equal(found.y, y[found.x[:, 0].astype(int)]), "labels stay with their rows"
    assert "100 of 1,000 examples" in notes(found)
    frame = pd.DataFrame(x).assign(label=y)
    frame.to_csv(tmp_path / "data.csv", index=False)
    again = read_examples(tmp_path / "data.csv", DataWish(most_bytes=100 * 28))
    assert np.array_equal(again.x, found.x) and np.array_equal(again.y, found.y)


def test_what_is_in_two_parts_is_noted(tmp_path):
    found = read_examples(saved(tmp_path, x_train=X, y_train=Y, x_test=np.r_[X[:5], X + 1], y_test=np.r_[Y[:5], Y]))
    assert "5 of 29 evaluation examples equal one in calibration or fit" in notes(found)
    assert "equal one" not in notes(read_examples(saved(tmp_path, x=X, y=Y)))


# Pictures


def test_class_folders_are_sorted_as_torchvision_sorts_them(tmp_path):
    from torchvision.datasets import ImageFolder

    names = ["10", "9", "Zebra", "apple", "Ärger"]
    root = written(tmp_path / "set", {f"{n}/deep/{k}.png": png(seed=ord(n[0]) + k) for n in names for k in range(3)})
    written(root, {".hidden/1.png": b"", "__MACOSX/apple/1.png": b"", "apple/._1.png": b"", "apple/notes.txt": b""})
    found = read_examples(root)
    for part in (".hidden", "__MACOSX"):
        (root / part / "1.png").unlink(missing_ok=True)
    hidden = [root / "apple" / "._1.png", root / "__MACOSX" / "apple" / "1.png"]
    for path in hidden:
        path.unlink()
    for path in (root / ".hidden", root / "__MACOSX" / "apple", root / "__MACOSX"):
        path.rmdir()
    right = ImageFolder(root)
    assert found.classes == tuple(right.classes)
    assert np.array_equal(found.y, right.targets)
    assert all(np.array_equal(x, np.asarray(image)) for x, (image, _) in zip(found.x, right, strict=True))


@pytest.mark.parametrize("resize", [None, 16, 20])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize("shape", [(37, 52, 3), (52, 37, 3), (31, 31, 3)])
def test_resizing_is_that_of_torchvision(resize, interpolation, shape, tmp_path):
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

    root = written(tmp_path / "set", {f"{c}/{k}.png": png(shape, seed=k) for c in "ab" for k in range(2)})
    mode = InterpolationMode[interpolation.upper()]
    right = Resize((15, 14), mode) if resize is None else Compose([Resize(resize, mode), CenterCrop((15, 14))])
    found = read_examples(root, DataWish(input_shape=(3, 15, 14), resize=resize, interpolation=interpolation))
    with Image.open(root / "a" / "1.png") as image:
        assert np.array_equal(found.x[1], np.asarray(right(image)))


@pytest.mark.parametrize("form", ["folder", "zip", "wrapped zip"])
def test_train_val_and_test_folders_are_an_own_split(form, tmp_path):
    entries = {f"{part}/{name}": content for part in ("train", "val", "Test") for name, content in pictures().items()}
    entries["test.txt"] = b"about"
    if form == "folder":
        path = written(tmp_path / "set", entries)
    else:
        outer = "my set/" if form == "wrapped zip" else ""
        path = zipped(tmp_path / "set.zip", {outer + name: content for name, content in entries.items()})
    found = read_examples(path)
    assert found.classes == ("cat", "horse") and np.array_equal(np.bincount(found.part), [8, 8, 8])
    assert found.part.dtype == np.int8 and "Own split" in notes(found)


def test_folders_meet_the_classes_of_the_model(tmp_path):
    root = written(tmp_path / "set", pictures())
    swapped = read_examples(root, DataWish(classes=("horse", "cow", "cat")))
    assert np.array_equal(swapped.y, np.repeat([2, 0], 4))
    unnamed = read_examples(root, DataWish(classes=("0", "1")))
    assert np.array_equal(unnamed.y, np.repeat([0, 1], 4)) and "sorted names" in notes(unnamed)
    with pytest.raises(TemperError, match="holds horse"):
        read_examples(root, DataWish(classes=("cat", "cow")))
    digits = written(tmp_path / "digits", {f"{k}/{n}.png": png(seed=n) for k in (10, 2) for n in range(3)})
    names = tuple("abcdefghijkl")
    assert np.array_equal(read_examples(digits, DataWish(classes=names)).y, np.repeat([10, 2], 3))


def encoded(image, kind, **more):
    stream = io.BytesIO()
    image.save(stream, kind, **more)
    return stream.getvalue()


def test_modes_and_formats_of_pictures(tmp_path):
    rgb = Image.fromarray(np.tile(np.arange(0, 240, 40, np.uint8)[:, None, None], (1, 6, 3)))
    grey16 = Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 257)
    files = {
        "a/rgb.png": encoded(rgb, "PNG"), "a/rgba.png": encoded(rgb.convert("RGBA"), "PNG"),
        "a/palette.png": encoded(rgb.quantize(16), "PNG"), "a/grey.png": encoded(rgb.convert("L"), "PNG"),
        "a/16.png": encoded(grey16, "PNG"), "a/16.tif": encoded(grey16, "TIFF"),
        "a/la.png": encoded(rgb.convert("LA"), "PNG"),
        "b/cmyk.tif": encoded(rgb.convert("CMYK"), "TIFF"), "b/x.bmp": encoded(rgb, "BMP"),
        "b/x.ppm": encoded(rgb, "PPM"), "b/x.webp": encoded(rgb, "WEBP", lossless=True),
        "b/x.JPG": encoded(rgb, "JPEG", quality=100), "b/x.jpeg": encoded(rgb.convert("CMYK"), "JPEG", quality=100),
    }  # fmt: skip
    root = written(tmp_path / "set", files)
    for channels, right in ((3, np.asarray(rgb)), (1, np.asarray(rgb.convert("L")))):
        found = read_examples(root, DataWish(input_shape=(channels, 6, 6)))
        assert found.x.shape[3:] == ((3,) if channels == 3 else ())
        for name, x in zip(sorted(files), found.x, strict=True):
            assert np.abs(x.astype(int) - right).max() <= 3, name  # quantizing and JPEG round
    assert read_examples(root).x.shape == (13, 6, 6, 3), "most are coloured"


def test_pictures_are_turned_as_exif_says(tmp_path):
    image = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6) * 10)
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {f"{c}/{k}.png": encoded(image, "PNG", exif=exif) for c in "ab" for k in range(2)}
    found = read_examples(written(tmp_path / "set", files))
    assert np.array_equal(found.x[0], np.rot90(np.asarray(image), -1))
    assert "4 pictures were turned" in notes(found)


def test_sizes_differ(tmp_path):
    files = {f"{c}/{k}.png": png((6, 5, 3) if k else (9, 9), seed=k) for c in "ab" for k in range(4)}
    found = read_examples(written(tmp_path / "set", files))
    assert found.x.shape == (8, 6, 5, 3)
    assert "commonest, 6 x 5" in notes(found) and "all were read as RGB" in notes(found)


@pytest.mark.parametrize(("broken", "fine"), [(1, True), (2, True), (3, False)])
def test_one_in_a_hundred_may_be_unreadable(broken, fine, tmp_path):
    files = {f"{c}/{k:03}.png": png(seed=k + ord(c) * 100) for c in "ab" for k in range(100)}
    for k in range(broken):
        files[f"a/{40 + 7 * k:03}.png"] = b"not a picture"
    root = written(tmp_path / "set", files)
    for wish in (DataWish(), DataWish(input_shape=(3, 6, 5))):
        if fine:
            found = read_examples(root, wish)
            assert len(found.x) == len(found.y) == 200 - broken
            assert np.array_equal(np.bincount(found.y), [100 - broken, 100])
            assert f"{broken} unreadable pictures were left out; the first is a/040.png" in notes(found)
        else:
            with pytest.raises(TemperError, match=r"a/040\.png"):
                read_examples(root, wish)


def test_pictures_outside_class_folders(tmp_path):
    found = read_examples(written(tmp_path / "set", {**pictures(), "cover.png": png()}))
    assert len(found.x) == 8 and "first cover.png" in notes(found)
    with pytest.raises(TemperError, match="without class folders"):
        read_examples(written(tmp_path / "flat", {f"{k}.png": png() for k in range(5)}))
    with pytest.raises(TemperError, match="directly in test, train"):
        read_examples(written(tmp_path / "two", {f"{p}/{k}.png": png() for p in ("train", "test") for k in range(5)}))
    with pytest.raises(TemperError, match="needs two"):
        read_examples(written(tmp_path / "one", {f"cat/{k}.png": png(seed=k) for k in range(5)}))


def test_a_class_without_pictures_keeps_its_place(tmp_path):
    root = written(tmp_path / "set", pictures())
    (root / "dog").mkdir()
    found = read_examples(root)
    assert found.classes == ("cat", "dog", "horse") and set(found.y) == {0, 2}
    assert "without pictures: dog" in notes(found)


def test_zips_with_utf8_names_that_do_not_say_so(tmp_path):
    path = zipped(tmp_path / "set.zip", {f"{c}/{k}.png": png(seed=k) for c in ("käfer", "maus") for k in range(3)})
    content = bytearray(path.read_bytes())
    for start, flag in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = content.find(start)
        while at >= 0:
            content[at + flag + 1] &= 0xF7
            at = content.find(start, at + 1)
    path.write_bytes(content)
    assert "käfer" not in zipfile.ZipFile(path).namelist()[0]
    assert read_examples(path).classes == ("käfer", "maus")


def test_progress_rises_to_its_end(tmp_path):
    for kind in ("npz", "png", "csv"):
        told = []
        read_examples(VALID[kind](tmp_path)[0], progress=told.append)
        assert told and told == sorted(told) and told[0] >= 0 and told[-1] <= 1


# IDX


@pytest.mark.parametrize("packed", ["raw", "gz", "both", "zip"])
def test_idx_folders_of_torchvision(packed, tmp_path):
    from torchvision.datasets import FashionMNIST

    images, labels = GENERATOR.integers(0, 256, (2, N, 28, 28), np.uint8), GENERATOR.integers(0, 10, (2, N))
    files = {}
    for k, part in enumerate(("train", "t10k")):
        files[f"FashionMNIST/raw/{part}-images-idx3-ubyte"] = idx(images[k])
        files[f"FashionMNIST/raw/{part}-labels-idx1-ubyte"] = idx(labels[k])
    raw = dict(files)
    if packed in ("gz", "both"):
        files = {f"{name}.gz": gzip.compress(content) for name, content in files.items()}
    path = written(tmp_path / "root", {**files, **(raw if packed == "both" else {})})
    right = [FashionMNIST(written(tmp_path / "right", raw), train=train) for train in (True, False)]
    found = read_examples(zipped(tmp_path / "set.zip", files) if packed == "zip" else path)
    assert found.classes == tuple(str(k) for k in range(10))
    for code, held in ((0, right[0]), (2, right[1])):
        assert np.array_equal(found.x[found.part == code], held.data.numpy())
        assert np.array_equal(found.y[found.part == code], held.targets.numpy())


def test_idx_sets_that_are_not_whole(tmp_path):
    images, labels = idx(GENERATOR.integers(0, 256, (N, 4, 4))), idx(Y)
    only = {"train-images-idx3-ubyte": images, "train-labels-idx1-ubyte": labels}
    found = read_examples(written(tmp_path / "only", only))
    assert found.part is None and len(found.x) == N, "one part alone is split by us"
    letters = {name.replace("train", "emnist-letters-train"): content for name, content in only.items()}
    assert len(read_examples(written(tmp_path / "letters", letters)).x) == N
    for files, says in (
        ({"train-images-idx3-ubyte": images}, "without labels"),
        ({**only, "t10k-images-idx3-ubyte": images}, "without labels, or labels without images, for t10k"),
        ({**only, **letters}, "several sets"),
        ({**only, "train-labels-idx1-ubyte": idx(Y[:9])}, "24 images and 9 labels"),
        ({**only, "train-labels-idx1-ubyte": images}, "1 dimensions"),
    ):
        with pytest.raises(TemperError, match=says):
            read_examples(written(tmp_path / says[:14], files))


# Tables


@pytest.mark.parametrize("form", ["csv", "semicolons", "tabs", "bom", "parquet", "mac", "quoted"])
def test_tables_in_every_form(form, tmp_path):
    frame = table().assign(flag=np.arange(N) % 5 < 2)[["a", "colour", "label", "flag", "b", "c"]]
    path = tmp_path / ("data.parquet" if form == "parquet" else "data.csv")
    if form == "parquet":
        frame.astype({"colour": "category"}).to_parquet(path)
    else:
        more = {"semicolons": {"sep": ";"}, "tabs": {"sep": "\t"}, "bom": {"encoding": "utf-8-sig"},
                "mac": {"lineterminator": "\r"}, "quoted": {"quoting": 1}}.get(form, {})  # fmt: skip
        frame.to_csv(path, index=False, **more)
    found = read_examples(path)
    assert found.features == ("a", "colour=green", "colour=red", "flag", "b", "c")
    assert found.encodings["colour"] == {"kind": "one-hot", "values": ["green", "red"]}
    assert [e["kind"] for e in found.encodings.values()][:2] == ["number", "one-hot"]
    right = np.c_[X[:, 0], frame["colour"] == "green", frame["colour"] == "red", frame["flag"], X[:, 1:]]
    assert np.allclose(found.x, right, rtol=1e-6)  # text holds the shortest decimal that reads back
    assert found.x.dtype == np.float32 and found.classes == ("low", "mid", "top") and np.array_equal(found.y, Y)


def test_the_label_column(tmp_path):
    path = tmp_path / "data.csv"
    frame = pd.DataFrame({"Target": Y, "a": X[:, 0], "last": 1 - Y % 2})
    frame.to_csv(path, index=False)
    assert read_examples(path).features == ("a", "last")
    found = read_examples(path, DataWish(label="last"))
    assert found.features == ("Target", "a") and np.array_equal(found.y, 1 - Y % 2)
    assert not found.notes
    frame.rename(columns={"Target": "b"}).to_csv(path, index=False)
    guessed = read_examples(path)
    assert guessed.features == ("b", "a") and "The label is the column last." in guessed.notes
    with pytest.raises(TemperError, match="no column z; it has b, a, last"):
        read_examples(path, DataWish(label="z"))


def test_a_split_column_an_index_and_a_constant(tmp_path):
    frame = pd.DataFrame(
        {"a": X[:, 0], "k": 3, "split": np.array(["train", "val", "test"])[np.arange(N) % 3], "y": Y % 2}
    )
    for path, index in ((tmp_path / "d.csv", True), (tmp_path / "d.parquet", True)):
        indexed = frame.set_index(np.arange(N) + 5)
        indexed.to_csv(path, index=index) if path.suffix == ".csv" else indexed.to_parquet(path, index=index)
        found = read_examples(path)
        assert found.features == ("a", "k") and np.array_equal(found.part, np.arange(N) % 3)
        assert "Columns that hold one value only are kept (1): k." in found.notes
        assert "as an index" in notes(found)


def test_numbers_that_are_labels(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("a,label\n" + "".join(f"{k},{(1.0, '2', 3)[k % 3]}\n" for k in range(30)), encoding="utf-8")
    found = read_examples(path)
    assert found.classes == ("1", "2", "3") and np.array_equal(found.y, np.arange(30) % 3)
    pd.DataFrame({"a": np.arange(30), "label": (np.arange(30) % 2).astype(bool)}).to_parquet(tmp_path / "b.parquet")
    assert read_examples(tmp_path / "b.parquet").classes == ("0", "1")
    text = "a,label\n" + "".join(f"{k},{('NA', 'None')[k % 2]}\n" for k in range(30))
    path.write_text(text, encoding="utf-8")
    assert read_examples(path).classes == ("NA", "None"), "as a label, NA may be Namibia"


def test_lines_within_quotes_do_not_shift_the_count(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text('t,a,label\n"two\nlines",1,x\nz,2,y\n\nz,3,x\nz,q,y\n' + "z,4,x\n" * 3, encoding="utf-8")
    with pytest.raises(TemperError, match="q in line 7"):
        read_examples(path)


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        (DataWish(input_shape=(3, 4)), "input shape"),
        (DataWish(input_shape=(3, 0, 4)), "input shape"),
        (DataWish(input_shape=(3, 10**6, 10**6)), "input shape"),
        (DataWish(interpolation="lanczos"), "Interpolation"),
        (DataWish(input_shape=(3, 32, 32), resize=16), "cannot be cropped"),
        (DataWish(classes=("one",)), "two classes"),
        (DataWish(most_bytes=40), "fewer than four"),
    ],
)
def test_wishes_that_cannot_be(wish, says, tmp_path):
    for kind in ("npz", "csv", "png"):
        if "four" in says or kind == "npz":
            with pytest.raises(TemperError, match=f"(?i){says}"):
                read_examples(VALID[kind](tmp_path)[0], wish)
