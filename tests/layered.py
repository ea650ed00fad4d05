"""Made layers, weights and sensitivities for the contracts of figures."""

from __future__ import annotations

import numpy as np

from core.engine.statistics import Flips
from core.figures.allocation import Granted, Slice
from core.layers.foretold import Foretold
from core.layers.layer_weights import LayerWeights
from core.layers.layerwise import LayerFacts, Layerwise
from core.layers.sensitivity import Effect, Sensitivity
from core.types import Interval, Quantity


def layer(name: str, packed: int, ratio: float | None = 12.0, bits: int = 4, zero: float = 0.5, **more) -> LayerFacts:
    given = {"original_packed": 8 * packed, "channels": 8, "dead": 0} | more
    return LayerFacts(
        name, "convolution", (given["channels"], 4, 3, 3), (8, 4, 3, 3), 2 * packed, 2 * packed, 1_000, 1_000, zero,
        bits, packed, given["original_packed"], ratio, given["channels"], 8, given["dead"],
    )  # fmt: skip


def untouched(name: str) -> LayerFacts:
    return layer(name, 800, None, 32, 0.0, original_packed=800)


PAIR = (layer("stem <b>", 100, 21.0), layer("blocks.1.conv", 900, 7.5, zero=0.7, channels=4))
MAPS = {
    "two": {"found": Layerwise(PAIR, 40, 60), "by": "sqnr"},
    "untouched": {"found": Layerwise((untouched("a"), untouched("b")), 0, 0), "by": "sqnr"},
    "died": {"found": Layerwise((*PAIR, layer("head", 10, 0.0, zero=1.0, dead=8)), 0, 0), "by": "sparsity"},
    "half dead": {"found": Layerwise((layer("only", 90, dead=3),), 0, 0), "by": "saved"},
    "many": {"found": Layerwise(tuple(layer(f"layers.{i}.mlp", 9 + i) for i in range(150)), 9, 9), "by": "bits"},
    "larger": {"found": Layerwise((layer("a", 900, original_packed=800),), 0, 0), "by": "saved"},
}
EDGES = np.linspace(-1, 1, 82)
BELL = np.exp(-8 * ((EDGES[:-1] + EDGES[1:]) / 2) ** 2)
BELL /= BELL.sum()
SPIKE = np.zeros(81)
SPIKE[40], SPIKE[60] = 0.9, 0.1


def seen(levels: np.ndarray, bits: int, tempered: np.ndarray = BELL, **more) -> LayerWeights:
    given = {"channel": None, "grid_channel": None, "clipped": 0.0} | more
    return LayerWeights(
        "blocks.1.conv", "channel", given["channel"], 576, EDGES, BELL, tempered, (0.0, 0.5), bits, levels,
        given["grid_channel"], given["clipped"],
    )  # fmt: skip


WEIGHTS = {
    "float": {"weights": seen(np.zeros(0), 32)},
    "few levels": {"weights": seen(np.arange(-7, 8) / 8, 4, SPIKE, grid_channel=3, clipped=0.02)},
    "many levels": {"weights": seen(np.arange(-127, 128) / 127, 8, channel=2, grid_channel=2)},
    "dead": {"weights": seen(np.arange(-1, 2) * 1.0, 2, np.eye(81)[40])},
}


def effect(name: str, bits: int, lost: float, ratio: float | None) -> Effect:
    measured = Quantity(-lost, "fraction", "measured", Interval(-lost - 0.01, -lost + 0.01), 1_000)
    added = Quantity(lost, "nats", "measured", Interval(lost - 0.1, lost + 0.1), 1_000)
    flips = Flips(30, 5, 20, 5, 1_000)
    return Effect(
        name, bits, {"accuracy": 0.9 - lost, "nll": 0.3 + lost}, {"accuracy": measured, "nll": added}, flips, ratio
    )


def dollars(name: str, bits: int, added: float) -> Effect:
    changes = {
        key: Quantity(added, unit, "measured", Interval(added - 1, added + 1), 100)
        for key, unit in (("mse", "US dollars squared"), ("mae", "US dollars"))
    }
    return Effect(name, bits, {"mse": 100.0 + added, "mae": 5.0}, changes, None, 10.0 * bits)


CLASSES = tuple(
    effect(name, bits, base / bits**2, 6.0 * bits - 50 * base)
    for name, base in (("stem", 0.2), ("body", 0.05), ("neck", 0.1), ("head", 0.01))
    for bits in (2, 4)
)
ALONE = {
    "classes": {"effects": Sensitivity("m", "d", (2, 4), 1_000, {"accuracy": 0.9, "nll": 0.3}, CLASSES)},
    "no loss": {
        "effects": Sensitivity(
            "m",
            "d",
            (8,),
            1_000,
            {"accuracy": 0.9, "nll": 0.3},
            (effect("a", 8, 0.0, None), effect("b", 8, 0.0, None)),
        )
    },
    "numbers": {
        "effects": Sensitivity(
            "m",
            "d",
            (2, 4),
            100,
            {"mse": 100.0, "mae": 5.0},
            tuple(dollars(n, b, 96.0 / b) for n in "ab" for b in (2, 4)),
        )
    },
}
FORETOLD = {
    case: {"measured": found, "told": Foretold(64, {(e.layer, e.bits): 3.0 / e.bits**3 for e in found.effects})}
    for case, found in ((case, given["effects"]) for case, given in ALONE.items())
}
FORETOLD["nothing told"] = {"measured": FORETOLD["classes"]["measured"], "told": Foretold(64, {})}
GRANTED = {
    "mixed": {"given": Granted((Slice("stem <b>", 8, 0.0, 208), Slice("blocks.1.conv", 2, 0.85, 9_700)))},
    "alike": {"given": Granted((Slice("a", 4, 0.0, 90), Slice("b", 4, 0.0, 10)))},
    "one of 16 bits": {"given": Granted((Slice("only", 16, 0.5, 0),))},
    "many": {"given": Granted(tuple(Slice(f"layers.{i}.mlp", (2, 3, 5)[i % 3], 0.0, 9 + i) for i in range(150)))},
}
