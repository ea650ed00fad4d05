"""A few lines that use an artifact elsewhere: from stored values to a class and its probability."""

from __future__ import annotations

from core.data.texts import Tokens, pad_of
from core.formats._artifact import Parts
from core.task import LEVEL

_RUN = {
    "onnx": """import onnxruntime

session = onnxruntime.InferenceSession("{file}")
{outputs} = session.run(["{names}"], {{"input": inputs}})
""",
    "pt2": """import torch

program = torch.export.load("{file}").module()
{outputs} = (part.numpy() for part in program(torch.from_numpy(inputs)))
""",
    "packed": """from packed_reader import read  # the few lines that come with the file

weights, facts, _ = read("{file}")
print({{name: array.shape for name, array in weights.items()}})
""",
}


def usage(name: str, file: str, parts: Parts) -> str:
    """Python that reads what the model is for, as stored, and prints what the model says of each example."""
    lines = ["import numpy as np", ""]
    if name != "packed":
        lines += [*_inputs(parts), ""]
    lines += (
        _RUN["onnx" if name.startswith("onnx") else name]
        .format(file=file, outputs=", ".join(parts.outputs()), names='", "'.join(parts.outputs()))
        .splitlines()
    )
    if name != "packed" and parts.data.task.decides:
        lines += ["", f"classes = {list(parts.data.classes)}", "for row in probabilities:"]
        lines.append('    print(classes[row.argmax()], f"{row.max():.3f}")')
    elif name != "packed":
        lines += ["", "for (number,), (low, high) in zip(value, interval):"]
        level = f"{100 * LEVEL:g} % between"
        told = f"{{number:.6g}} {parts.data.task.unit}, {level} {{low:.6g}} and {{high:.6g}}"
        lines.append(f'    print(f"{told}")')
    return "\n".join(lines) + "\n"


def _inputs(parts: Parts) -> list[str]:
    """The lines that make `inputs` from stored values."""
    scaling, shape = parts.data.preprocessing, parts.network.model.input_shape
    if isinstance(scaling, Tokens):
        return [
            "from tokenizers import Tokenizer",
            "",
            f'tokenizer = Tokenizer.from_file("{scaling.path.name}")  # it comes with the file',
            f"tokenizer.enable_truncation({scaling.length})",
            f"tokenizer.enable_padding(length={scaling.length}, pad_id={pad_of(scaling)})",
            'texts = open("texts.txt", encoding="utf-8").read().splitlines()  # a text a line',
            "inputs = np.array([text.ids for text in tokenizer.encode_batch(texts)], np.float32)",
        ]
    pictures = parts.data.modality == "pictures"
    stored = "(N, H, W)" if shape[0] == 1 else "(N, H, W, C)"
    lines = [f'x = np.load("x.npy")  # {stored if pictures else f"(N, {shape[0]})"}, as stored']
    lines.append(f"x = x.astype(np.float32) / {scaling.scale:g}")
    if pictures:
        lines.append("x = x[:, None]" if shape[0] == 1 else "x = x.transpose(0, 3, 1, 2)")
    tail = "[:, None, None]" if pictures else ""
    lines.append(f"mean = np.array({_short(scaling.mean)}, np.float32){tail}")
    lines.append(f"deviation = np.array({_short(scaling.deviation)}, np.float32){tail}")
    return [*lines, "inputs = np.ascontiguousarray((x - mean) / deviation)"]


def _short(values: tuple[float, ...]) -> str:
    return "[" + ", ".join(f"{value:.9g}" for value in values) + "]"
