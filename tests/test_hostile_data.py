"""Data from strangers: whatever a file holds, it is read rightly or refused in a sentence, and runs nothing."""

from __future__ import annotations

import gzip
import os
import resource
import struct
import tracemalloc
import zipfile
from pathlib import Path

import hostile_data as made
import numpy as np
import pytest
from damage import flipped, refusal
from hostile_data import VALID, judged, npy, npy_of

from core.data.intake import DataWish
from core.errors import TemperError

MOST_MEMORY = 200 * 2**20  # bytes: what refusing a bomb may take


def refused(path: Path, says: str = "", wish: DataWish | None = None) -> TemperError:
    return refusal(judged(path, wish), says)


@pytest.mark.parametrize("kind", VALID)
def test_the_undamaged_file_is_read(kind, tmp_path):
    found = judged(VALID[kind](tmp_path)[0])
    assert not isinstance(found, TemperError), found


@pytest.mark.parametrize("kind", VALID)
def test_cut_short_anywhere(kind, tmp_path):
    path, file = VALID[kind](tmp_path)
    whole, right = file.read_bytes(), judged(path)
    for twentieth in range(20):
        file.write_bytes(whole[: len(whole) * twentieth // 20])
        found = judged(path)
        if kind == "png" and twentieth > 16:  # a picture needs no last bytes
            assert isinstance(found, TemperError) or np.array_equal(found.x, right.x)
        elif kind != "csv":  # a table cut between rows is a smaller table
            assert isinstance(found, TemperError)


@pytest.mark.parametrize("kind", VALID)
def test_flipped_bits(kind, tmp_path):
    path, file = VALID[kind](tmp_path)
    for broken in flipped(file.read_bytes(), 60):
        file.write_bytes(broken)
        judged(path)


# Pickles ----------------------------------------------------------------------------------------------------------


def test_the_payload_is_live(canary):
    import io

    np.lib.format.read_array(io.BytesIO(made.object_npy(canary)), allow_pickle=True)
    assert canary.exists(), "whoever opens these pickles does run them"


@pytest.mark.parametrize(
    ("name", "entries"),
    [
        ("x.npz", lambda c: {"x.npy": made.object_npy(c), "y.npy": npy(np.arange(made.N) % 2)}),
        ("y.npz", lambda c: {"x.npy": npy(made.arrays()[0]), "y.npy": made.object_npy(c)}),
        ("classes.npz", lambda c: {"x.npy": npy(made.arrays()[0]), "y.npy": npy(made.arrays()[1]),
                                   "classes.npy": made.object_npy(c)}),
        ("bare.npz", lambda c: {"x.npy": made.pickled_call(c), "y.npy": made.pickled_call(c)}),
        ("arrays.zip", lambda c: {"x.npy": made.object_npy(c), "y.npy": made.object_npy(c)}),
        ("pictures.zip", lambda c: {"cat/1.png": made.pickled_call(c), "dog/1.png": made.pickled_call(c)}),
        ("pickles.zip", lambda c: {"data.pkl": made.pickled_call(c)}),
        ("cifar.zip", lambda c: {"cifar-10-batches-py/data_batch_1": made.pickled_call(c)}),
    ],
)  # fmt: skip
def test_pickles_in_zips_are_never_opened(name, entries, tmp_path, canary):
    refused(made.zipped(tmp_path / name, entries(canary)))
    assert not canary.exists()


@pytest.mark.parametrize("name", ["data.npz", "data.pkl", "data.npy", "data.csv", "data.parquet", "data.png", "data"])
def test_bare_pickles_are_never_opened(name, tmp_path, canary):
    for content in (made.pickled_call(canary), b"\x80\x04" + made.pickled_call(canary), made.object_npy(canary)):
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name)
    assert not canary.exists()


def test_an_unused_pickle_beside_good_arrays_is_left_alone(tmp_path, canary):
    x, y = made.arrays()
    entries = {"x.npy": npy(x), "y.npy": npy(y), "more.npy": made.object_npy(canary)}
    found = judged(made.zipped(tmp_path / "data.npz", entries))
    assert "Not read: more." in found.notes
    assert not canary.exists()


def test_cifar_pickles_are_refused_with_lines_that_help(tmp_path, canary):
    root = made.written(tmp_path / "cifar", {"cifar-10-batches-py/data_batch_1": made.pickled_call(canary)})
    hint = refused(root, "pickles").hint
    compile(hint.split("\n", 1)[1], "hint", "exec")
    assert "CIFAR10" in hint and not canary.exists()


# Bombs ------------------------------------------------------------------------------------------------------------


def bomb_npz(path):
    made.bomb(path, "x.npy", 300 * 2**20)
    return path


def honest_bomb_npz(path):
    """Zeros that are what their header says, 1,000 times smaller when packed."""
    header = npy_of("'<f4'", f"({2**25}, 3)", b"")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as entry:
        entry.write(header)
        for _ in range(384):
            entry.write(bytes(2**20))
    return path


def folder_with(picture):
    def make(path):
        return made.written(path.with_suffix(""), {**made.pictures(), "cat/9.png": picture})

    return make


def csv_with_columns(path):
    path.write_text(",".join(f"c{k}" for k in range(100_000)) + "\n" + ",".join(["1"] * 100_000) + "\n")
    return path


def csv_of_one_line(path):
    path.write_bytes(b"a,b\n" + b"1" * (20 * 2**20))
    return path


def csv_with_open_quote(path):
    path.write_bytes(b'a,label\n"' + b"x,1\n" * 2**22)
    return path


def gz_bomb(path):
    root = path.with_suffix("")
    zeros = gzip.compress(struct.pack(">HBB3I", 0, 8, 3, 400_000, 28, 28) + bytes(50 * 2**20))
    labels = gzip.compress(struct.pack(">HBBI", 0, 8, 1, 400_000) + bytes(400_000))
    return made.written(root, {"train-images-idx3-ubyte.gz": zeros, "train-labels-idx1-ubyte.gz": labels})


def sparse_csv(path):
    with path.open("wb") as stream:
        stream.write(b"a,label\n")
        stream.truncate(2**31)
    return path


def sparse_idx(path):
    root = made.written(path.with_suffix(""), {"train-labels-idx1-ubyte": made.idx(np.arange(9))})
    with (root / "train-images-idx3-ubyte").open("wb") as stream:
        stream.write(struct.pack(">HBB3I", 0, 8, 3, 2**16, 2**10, 2**10))
        stream.truncate(2**36 + 16)
    return root


BOMBS = {
    "npz": (bomb_npz, "100 times"),
    "honest-npz": (honest_bomb_npz, "100 times"),
    "zip": (lambda path: made.bomb(path, "cat/1.png", 300 * 2**20), "100 times"),
    "entries": (lambda path: made.many_entries(path, 1_000_000), "200,000"),
    "png": (folder_with(made.huge_png()), "100,000,000 pixels"),
    "png-just-above": (folder_with(made.huge_png(10_001, 10_000)), "100,000,000 pixels"),
    "webp": (folder_with(made.huge_webp()), "100,000,000 pixels"),
    "bmp": (folder_with(made.huge_bmp()), "100,000,000 pixels"),
    "csv-columns": (csv_with_columns, "100,000 columns"),
    "csv-line": (csv_of_one_line, "a line of more than"),
    "csv-quote": (csv_with_open_quote, "cannot be read"),
    "csv-size": (sparse_csv, "at most 1,073,741,824"),
    "idx-gz": (gz_bomb, "unpack"),
    "idx-size": (sparse_idx, "unpack"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_within_bounds(name, tmp_path):
    make, says = BOMBS[name]
    path = make(tmp_path / ("data.csv" if "csv" in name else "data.npz" if "npz" in name else "data.zip"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        refused(path, says)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MOST_MEMORY
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MOST_MEMORY, "in compiled code"


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        (f"({10**15}, 3)", "states"),
        (f"({made.N}, 2000)", "states"),
        (f"({made.N}, 1)", "states"),
        ("(1,)" * 9, "states"),
        ("()", "states"),
        ("(0, 3)", "states"),
        ("(3, 999999999999999999999999)", "no plain type"),
        ("(-1, 3)", "no plain type"),
    ],
)
def test_headers_that_lie_allocate_nothing(shape, says, tmp_path):
    entries = {"x.npy": npy_of("'<f4'", shape, bytes(100)), "y.npy": npy(np.arange(24) % 2)}
    tracemalloc.start()
    try:
        refused(made.zipped(tmp_path / "data.npz", entries), says)
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()


# Paths and links --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../../out/1.png", "/etc/1.png", "..\\..\\out\\1.png", "C:\\out\\1.png", "cat/../../1.png"]
)
def test_paths_that_lead_outside(name, tmp_path):
    refused(made.zipped(tmp_path / "set.zip", {**made.pictures(), name: made.png()}), "outside")


@pytest.mark.parametrize("target", ["/etc/passwd", "../../secret.png", "1.png"])
def test_links_in_zips(target, tmp_path):
    refused(made.with_link(tmp_path / "set.zip", "cat/9.png", target), "link")


def test_links_in_folders(tmp_path):
    secret = made.written(tmp_path / "elsewhere", {"secret.png": made.png()})
    root = made.written(tmp_path / "set", made.pictures())
    (root / "cat" / "9.png").symlink_to(secret / "secret.png")
    refused(root, "link")
    (root / "cat" / "9.png").unlink()
    (root / "mouse").symlink_to(secret)
    refused(root, "link")
    (root / "mouse").unlink()
    (root / "round").symlink_to(root)
    refused(root, "link")


def test_pipes_and_devices(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    refused(tmp_path / "pipe.csv", "neither")
    root = made.written(tmp_path / "set", made.pictures())
    os.mkfifo(root / "cat" / "9.png")
    assert len(judged(root).x) == 8, "a pipe is no file"


def test_names_that_are_not_utf8(tmp_path):
    root = made.written(tmp_path / "set", made.pictures())
    try:
        Path(os.fsdecode(os.fsencode(root) + b"/cat/\xff\xfe.png")).write_bytes(made.png())
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    refused(root, "UTF-8")


def test_names_in_zips_that_are_not_utf8(tmp_path):
    path = made.zipped(tmp_path / "set.zip", {**made.pictures(), "cät/1.png": made.png()})
    path.write_bytes(path.read_bytes().replace("cät".encode(), b"c\xff\xfet"))
    refused(path)


def test_sealed_and_unusual_zips(tmp_path):
    refused(made.zipped(tmp_path / "set.zip", made.pictures(), zipfile.ZIP_LZMA), "store or deflate")
    content = bytearray(made.zipped(tmp_path / "set.zip", made.pictures()).read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "set.zip").write_bytes(content)
    refused(tmp_path / "set.zip", "encrypted")


def test_what_is_not_data(tmp_path):
    refused(tmp_path / "nothing.csv", "nothing is at")
    (tmp_path / "empty.csv").touch()
    refused(tmp_path / "empty.csv", "is empty")
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder", "no files")
    refused(made.written(tmp_path / "tables", {"a.csv": b"a,b\n"}), "that file itself")
    for name, content in {
        "a.tar.gz": b"\x1f\x8b",
        "x.png": made.png(),
        "x.npy": npy(np.arange(3)),
        "a.doc": b"?",
    }.items():
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name)


# Values -----------------------------------------------------------------------------------------------------------


def test_a_long_header_is_read_in_one_go(tmp_path):
    """Patterns that try again at every digit would take longer than anyone waits."""
    for shape in ("(" + "1" * 9000, "(" + "1," * 4500, "(" + " " * 9000, "(" + "1 " * 4000 + ")"):
        entries = {"x.npy": npy_of("'<f4'", shape, b""), "y.npy": npy(np.arange(24) % 2)}
        refused(made.zipped(tmp_path / "data.npz", entries), "no plain type")


def npz(tmp_path, **arrays):
    np.savez(tmp_path / "data.npz", **arrays)
    return tmp_path / "data.npz"


X, Y = made.arrays()


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"x": np.where(np.arange(72).reshape(24, 3) == 10, np.nan, X), "y": Y}, "1 values are NaN, infinite"),
        ({"x": np.where(np.arange(72).reshape(24, 3) > 69, -np.inf, X), "y": Y}, "2 values are NaN, infinite"),
        ({"x": X.astype(np.float64) * 1e300, "y": Y}, "beyond float32"),
        ({"x": X[:0], "y": Y[:0]}, "no examples"),
        ({"x": X, "y": Y * 0}, "classifier needs two"),
        ({"x": X[:3], "y": Y[:3]}, "at least 4"),
        ({"x": X, "y": Y + 0.5}, "not classes"),
        ({"x": X, "y": np.where(Y == 1, np.nan, Y)}, "is missing in row 1"),
        ({"x": X, "y": np.where(Y == 1, np.inf, Y)}, "holds inf in row 1"),
        ({"x": X, "y": np.where(Y == 1, 2**62, Y)}, "below 2^53"),
        ({"x": X, "y": Y[:20]}, "one for each example"),
        ({"x": X, "y": np.eye(3)[Y]}, "argmax"),
        ({"x": X.astype(complex), "y": Y}, "expected are numbers"),
        ({"x": np.full((24, 3), "a"), "y": Y}, "holds text"),
        ({"x": X.astype("datetime64[s]"), "y": Y}, "expected are numbers"),
        ({"x": X, "y": Y.astype("timedelta64[s]")}, "expected are numbers"),
        ({"x": X.astype(np.longdouble), "y": Y}, "expected are numbers"),
        ({"x": np.zeros(24, "f4,i4"), "y": Y}, "records"),
        ({"x": X[:, 0], "y": Y}, "expected is (N, F)"),
        ({"x": X[:, :0], "y": Y}, "hold no values"),
        ({"x": np.zeros((24, 5, 6, 7)), "y": Y}, "1, 3 or 4 channels"),
        ({"x": X}, "should hold the arrays x and y"),
        ({"X": X, "x_": X, "data": X, "y": Y}, "could both be x"),
        ({"x_train": X, "y_train": Y, "x_test": X[:, :2], "y_test": Y}, "others have"),
        ({"x_train": X, "y_train": Y, "x_test": X, "y_test": Y.astype(str)}, "different types"),
        ({"x": X, "y": np.arange(24)}, "24 different values"),
    ],
)  # fmt: skip
def test_values_that_are_refused(arrays, says, tmp_path):
    refused(npz(tmp_path, **arrays), says)


def test_the_first_value_that_is_not_finite_is_named(tmp_path):
    x = X.copy()
    x[3, 1] = np.nan
    refused(npz(tmp_path, x=x, y=Y), "1 values are NaN, infinite or beyond float32; the first is at row 3, column 1")


def test_labels_out_of_range(tmp_path):
    refused(npz(tmp_path, x=X, y=Y), "holds 2 in row 2; the 2 classes", DataWish(classes=("a", "b")))
    refused(npz(tmp_path, x=X, y=Y - 1), "holds -1", DataWish(classes=("a", "b", "c")))
    refused(npz(tmp_path, x=X, y=np.array(["a", "b", "z"])[Y]), "holds z", DataWish(classes=("a", "b", "c")))


def test_names_with_half_a_character(tmp_path):
    names = np.array(["a", "b", "c"])
    content = npy(names).replace("b".encode("utf-32-le"), b"\x00\xd8\x00\x00")
    refused(made.zipped(tmp_path / "d.npz", {"x.npy": npy(X), "y.npy": npy(Y), "classes.npy": content}))
    content = npy(names).replace("b".encode("utf-32-le"), b"\xff\xff\xff\xff")
    refused(made.zipped(tmp_path / "d.npz", {"x.npy": npy(X), "y.npy": npy(Y), "classes.npy": content}))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b,a,label\n" + "1,2,3,x\n1,2,3,z\n" * 4, "two columns called a"),
        ("a,label\n" + "1,x\n2,z\n" * 4 + "1,2,3\n", "Line 10 of data.csv holds 3 values"),
        ("a,label\n" + "1,x\n,z\n" * 4, "lacks 4 values, the first in line 3"),
        ("a,label\n" + "1,x\n2,z\n" * 4 + "inf,x\n", "infinite or beyond float32, the first in line 10"),
        ("a,label\n" + "1,x\n2,z\n" * 4 + "abc,x\n", "abc in line 10"),
        ("a,label\n" + "1,x\n2,z\n" * 4 + "2,\n", "is missing in line 10"),
        ("a,label\n" + "1,1\n2,0\n" * 4 + "2,inf\n", "holds inf in line 10"),
        ("a,label\n" + "1,1\n2,0\n" * 4 + "2,nan\n", "holds nan in line 10"),
        ("a,label\n", "no examples"),
        ("label\nx\n", "1 column;"),
        ("a,label\n" + "1,x\n" * 9, "needs two"),
        ("a,label\n" + "".join(f"{k},{k / 7}\n" for k in range(30)), "not classes"),
        ("t,label\n" + "".join(f"text {k},{k % 2}\n" for k in range(60)), "Column t holds text with more than 50"),
        ("t,label\n" + "".join(f"2026-01-{k % 28 + 1:02},{k % 2}\n" for k in range(60)), "holds dates"),
        ("t,label\n" + "".join(f"2026-01-02 10:{k % 60:02}:{k % 57:02},{k % 2}\n" for k in range(90)), "holds dates"),
        ("t,label\n" + "".join(f"id {k},n{k}\n" for k in range(60)), "60 different values"),
        ('a,label\n1,x\n"2,z\n' + "1,x\n" * 9, "cannot be read"),
        ("1.5,2.5,0\n" * 9, "numbers only"),
        ("a,,label\n" + "1,2,x\n1,3,z\n" * 4, "has no name"),
        ("label,split\n" + "x,train\nz,test\n" * 9, "no column of features"),
    ],
)
def test_tables_that_are_refused(text, says, tmp_path):
    (tmp_path / "data.csv").write_text(text, encoding="utf-8")
    refused(tmp_path / "data.csv", says)


def test_texts_that_are_not_utf8(tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes(b"a,label\n" + b"1,x\n2,z\n" * 4 + "1,käse\n".encode("latin-1"))
    refused(path, "not UTF-8 in line 10")
    path.write_bytes("ä,label\n1,2\n".encode("latin-1"))
    refused(path, "not UTF-8 in line 1")
    path.write_bytes("a,label\n1,2\n".encode("utf-16"))
    refused(path, "not UTF-8")
    path.write_bytes(b"a,label\n1,x\n2,\0z\n")
    refused(path, "zero byte in line 3")


def test_parquet_of_unusual_types(tmp_path):
    path, frame = tmp_path / "data.parquet", made.table()
    for name, values in {
        "when": np.arange(made.N).astype("datetime64[D]"),
        "list": [[1, 2]] * made.N,
        "bytes": [b"ab"] * made.N,
        "holes": np.where(np.arange(made.N) == 4, np.nan, 1.0),
    }.items():
        frame.assign(**{name: values}).to_parquet(path, index=False)
        refused(path, f"column {name}", DataWish(label="label"))


def test_a_parquet_bomb_of_one_long_text_repeated(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(20_000, np.int32)), pa.array(["x" * 2**17]))
    columns = {"text": texts, "label": pa.array(np.arange(20_000) % 2)}
    pq.write_table(pa.table(columns), tmp_path / "data.parquet", store_schema=False)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(tmp_path / "data.parquet", "text", DataWish(label="label"))
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MOST_MEMORY
