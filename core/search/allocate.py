"""The best model under a budget: bits and sparsity of each layer, chosen on calibration, judged on evaluation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from core.data.handle import DataHandle
from core.deploy.devices import WORDS, device, estimate, work
from core.engine.compare import compare
from core.engine.evaluate import evaluate, size
from core.engine.network import load_network
from core.engine.runtime import Progress
from core.engine.statistics import difference
from core.engine.transform import transform
from core.errors import TemperError
from core.models.handle import ModelHandle
from core.recipe import Recipe
from core.registry import method
from core.search.budget import Budget
from core.search.candidate import Candidate, Setting, original_on_calibration, packed, recipe_of, tried
from core.search.knapsack import choose, least
from core.search.layer_options import TINY, Menu, Option, Way, menu
from core.types import Quantity, Result

NEAR = 1.03  # of the bytes: as near as the smallest that holds a floor is looked for
FEWER = 4  # solutions after the first that came out a little larger than foreseen
AFFORDABLE = 5_000_000  # weights: rounding that looks at inputs takes minutes beyond
FAR = 4  # times the least noise: uniform settings beyond are not tried
LOOSE = 1.05  # of the bytes: what is foreseen for a uniform setting may be a little more than it takes


@dataclass(frozen=True)
class Side:
    """One recipe, judged: its headline and the paired change to the original on the evaluation split."""

    candidate: Candidate
    value: Quantity
    change: Quantity
    result: Result

    @property
    def recipe(self) -> Recipe:
        """What makes it."""
        return self.candidate.recipe

    @property
    def packed(self) -> int:
        """Its bytes, really packed."""
        return self.candidate.packed


@dataclass(frozen=True)
class Allocation:
    """What was found for a budget.

    `foreseen` are the bytes that the options added up to, `mixed.packed` those really packed. `uniform` is the best
    of one bit-width and one sparsity for all layers in at most as many bytes, None where none is that small; `gain`
    the paired difference of the headline, mixed less uniform. `cap` and `floor` are what had to be held, `chosen_on`
    and `n` examples of calibration and evaluation, `tried` recipes that were predicted on calibration.
    """

    model: str
    budget: Budget
    names: tuple[str, ...]
    original: int
    first: Quantity
    mixed: Side
    foreseen: int
    layers: tuple[int, ...]
    uniform: Side | None
    gain: Quantity | None
    cap: int | None
    floor: float | None
    ms: Quantity | None
    chosen_on: int
    n: int
    tried: int
    options: int
    seconds: float

    @property
    def better(self) -> bool | None:
        """Whether the mixed model is surely better than the uniform one, None where there is none to compare."""
        if self.gain is None or self.gain.interval is None:
            return None
        low, high = self.gain.interval.low, self.gain.interval.high
        return low > 0 if _rises(self.mixed.result) else high < 0

    @property
    def held(self) -> bool | None:
        """Whether the floor holds on the evaluation split too; None where no floor was asked."""
        return None if self.floor is None else self.lost <= self.floor

    @property
    def lost(self) -> float:
        """How much worse the headline is than the original's on the evaluation split; below 0 where it is better."""
        change = self.mixed.change.value or 0.0
        return -change if _rises(self.mixed.result) else change


def _rises(result: Result) -> bool:
    return bool(method("metric", result.tempered.task.facts.headline).function.higher_is_better)


@dataclass
class _Search:
    """What one search works on, and what it has tried."""

    model: ModelHandle
    data: DataHandle
    budget: Budget
    menu: Menu
    rest: int
    times: list[list[float]] = field(default_factory=list)
    told: Progress = lambda _: None
    seen: dict[Recipe, Candidate] = field(default_factory=dict)
    reached: float = 0.45  # of all the work; what is tried until a floor's bisection ends is not known before

    def settings(self, most: int, dense: bool = False) -> tuple[list[Option], int] | None:
        """The least harm in at most so many bytes, and the bytes foreseen; None where nothing fits."""
        rows = [[o for o in row if not (dense and o.sparsity)] for row in self.menu.options]
        if not all(rows):
            return None
        limits = [([[float(o.bytes) for o in row] for row in rows], float(most - self.rest))]
        if self.times and self.budget.ms is not None:
            limits.append((self.milliseconds(rows), self.budget.ms - self.spent))
        chosen = choose([[o.harm for o in row] for row in rows], limits)
        if chosen is None:
            return None
        taken = [row[at] for row, at in zip(rows, chosen, strict=True)]
        return taken, self.rest + sum(o.bytes for o in taken)

    spent: float = 0.0  # ms of what belongs to no layer

    def milliseconds(self, rows: list[list[Option]]) -> list[list[float]]:
        """Modelled time of each option: `times` holds each layer's in integers and in float."""
        return [[pair[o.bits > 8] for o in row] for pair, row in zip(self.times, rows, strict=True)]

    def candidate(self, settings: list[Setting], enough: Callable[[Candidate], bool] = lambda _: False) -> Candidate:
        """The settings as a recipe, biases corrected where that loses less on calibration, or is not `enough` yet."""
        found: list[Candidate] = []
        for bias in (False, True):
            found.append(self._tried(settings, self._plain(settings, bias)))
            if enough(found[-1]):
                break
        return min(found, key=lambda one: (one.loss, one.packed))

    def beat(self) -> None:
        """Tell how far it is, which may end it."""
        self.told(self.reached)
        self.reached = min(self.reached + 0.02, 0.85)

    def _plain(self, settings: list[Setting], bias: bool = False) -> Recipe:
        way, bits = self.budget.way, self.budget.in_integers
        return recipe_of(self.model, self.menu.layers, settings, way, bits, bias)

    def _tried(self, settings: list[Setting], recipe: Recipe) -> Candidate:
        self.beat()
        if recipe not in self.seen:
            self.seen[recipe] = tried(self.model, self.data, settings, recipe)
        return self.seen[recipe]

    def within(self, cap: int) -> tuple[Candidate, int] | None:
        """The best that fits into `cap` bytes: with all options and with dense ones alone, by calibration."""
        found: list[tuple[Candidate, int]] = []
        for dense in (False, True):
            most = cap
            for _ in range(1 + FEWER):
                solved = self.settings(most, dense)
                if solved is None:
                    break
                settings = [(o.bits, o.sparsity) for o in solved[0]]
                over = packed(self.model, self.data, self._plain(settings)) - cap
                if over <= 0:
                    found.append((self.candidate(settings), solved[1]))
                    break
                most = min(most, solved[1]) - over
        return min(found, key=lambda pair: (pair[0].loss, pair[0].packed), default=None)

    def smallest(self, floor: float, most: int) -> tuple[Candidate, int]:
        """The fewest bytes that surely hold the floor on calibration, by bisection of the frontier of solutions."""
        low = self.rest + math.ceil(least([[float(o.bytes) for o in row] for row in self.menu.options]))
        high = most
        held: tuple[Candidate, int] | None = None
        steps = max(1, math.ceil(math.log2(max(math.log(high / low) / math.log(NEAR), 1)))) if high > low else 1
        for step in range(steps + 1):
            self.reached = 0.45 + 0.3 * step / (steps + 1)
            # The first is the largest: where even that loses too much, nothing smaller needs to be tried.
            solved = self.settings(most if not step else math.floor(math.sqrt(low * high)))
            if solved is None:
                low = math.floor(math.sqrt(low * high)) + 1
                continue
            one = self.candidate([(o.bits, o.sparsity) for o in solved[0]], lambda c: c.cautious <= floor)
            if one.cautious <= floor:
                held = (one, solved[1]) if held is None or one.packed < held[0].packed else held
                high = min(high, solved[1])
            elif not step:
                raise _out_of_reach(self.data, one, floor)
            else:
                low = math.floor(math.sqrt(low * high)) + 1
            if high <= low * NEAR:
                break
        assert held is not None, "the largest held it"
        return held

    def best_uniform(self, cap: int) -> Candidate | None:
        """The best of one setting for all layers that fits, chosen on calibration like the other.

        Of each sparsity the most bits that fit are tried, unless another makes far less noise.
        """
        fitting: dict[float, tuple[float, list[Setting]]] = {}
        for bits, sparsity, weights, noise in self.menu.uniform:  # fewest bits first
            settings: list[Setting] = [(bits, sparsity)] * len(self.menu.layers)
            if self.rest + weights <= LOOSE * cap and packed(self.model, self.data, self._plain(settings)) <= cap:
                fitting[sparsity] = (noise, settings)
        quietest = min((noise for noise, _ in fitting.values()), default=0.0)
        close = [settings for noise, settings in fitting.values() if noise <= FAR * quietest + TINY]
        return min(map(self.candidate, close), key=lambda one: (one.loss, one.packed), default=None)


def allocate(model: ModelHandle, data: DataHandle, budget: Budget, progress: Progress | None = None) -> Allocation:
    """Choose every layer's bits and sparsity for a budget, and judge the winner.

    With a size: the least harm that fits; the floor, where one is asked too, must then hold. With a floor alone: the
    smallest that holds it on the calibration split with one standard error to spare. Only the winner and the
    uniform recipe beside it are evaluated. Raises `TemperError` for what cannot be reached, saying what can.
    """
    began, told = time.perf_counter(), progress or (lambda _: None)
    budget = _affordable(model, budget)
    budget = _roomy(model, data, budget)
    options = menu(model, data, budget.way, "calibration", lambda fraction: told(0.45 * fraction))
    search = _search(model, data, budget, options)
    search.told = told
    original = size(load_network(model)).packed
    cap, floor = budget.cap(original), budget.floor(data.task.facts.headline, original_on_calibration(model, data))
    if cap is None and floor is not None:
        top = search.rest + sum(max(o.bytes for o in row) for row in options.options)
        _check_time(search, top)
        mixed, foreseen = search.smallest(floor, top)
    else:
        assert cap is not None, "a budget has a size or a floor"
        mixed, foreseen = _within(search, cap, floor)
    search.reached = 0.75
    uniform = search.best_uniform(mixed.packed if cap is None else cap)
    told(0.85)
    judged = _judged(model, data, mixed, lambda fraction: told(0.85 + 0.08 * fraction))
    beside = _judged(model, data, uniform, lambda fraction: told(0.93 + 0.07 * fraction)) if uniform else None
    headline = data.task.facts.headline
    network, _ = transform(model, data, mixed.recipe)
    told(1.0)
    sizes = [
        next(o.bytes for o in row if (o.bits, o.sparsity) == taken)
        for row, taken in zip(options.options, mixed.settings, strict=True)
    ]
    return Allocation(
        model.id, budget, options.layers, original, compare(judged.result).original[headline], judged, foreseen,
        tuple(sizes),
        beside, difference(headline, beside.result.tempered, judged.result.tempered) if beside else None, cap, floor,
        estimate(work(network), device(budget.device)) if budget.device else None,
        data.split("calibration").n, data.split("evaluation").n, len(search.seen), options.measured,
        time.perf_counter() - began,
    )  # fmt: skip


def _affordable(model: ModelHandle, budget: Budget) -> Budget:
    """To nearest where looking at every layer's inputs for every option would take long."""
    network = load_network(model)
    if sum(network.tensors[name].numel() for name in network.weight_names) <= AFFORDABLE:
        return budget
    return replace(budget, way=replace(budget.way, rounding="nearest", pruner="magnitude-layer"))


def _roomy(model: ModelHandle, data: DataHandle, budget: Budget) -> Budget:
    """With the most bits alone on offer where every layer may have them: then there is nothing to choose."""
    cap, top = budget.cap(size(load_network(model)).packed), replace(budget.way, bits=(max(budget.way.bits),))
    top, names = replace(top, sparsities=(0.0,)), [layer.name for layer in load_network(model).layers]
    plain = recipe_of(model, names, [(top.bits[0], 0.0)] * len(names), top, budget.in_integers, False)
    roomy = cap is not None and budget.ms is None and packed(model, data, plain) <= cap
    return replace(budget, way=top) if roomy else budget


def _search(model: ModelHandle, data: DataHandle, budget: Budget, options: Menu) -> _Search:
    """With the bytes of no layer's weight, which are those of any quantized recipe less its weights."""
    names, way = options.layers, Way(rounding="nearest", range=budget.way.range)
    bits, sparsity, weights, _ = next(one for one in options.uniform if not one[1])
    plain = recipe_of(model, names, [(bits, sparsity)] * len(names), way, budget.in_integers, False)
    search = _Search(model, data, budget, options, packed(model, data, plain) - weights)
    if budget.ms is not None:
        eight = recipe_of(model, names, [(8, 0.0)] * len(names), way, 8, False)
        on, weight_of = device(budget.device), {layer.name: layer.weight for layer in load_network(model).layers}
        sides: list[dict[str, float]] = []
        for network in (transform(model, data, eight)[0], load_network(model)):
            found: dict[str, float] = {}
            for one in work(network):
                found[one.name] = found.get(one.name, 0.0) + 1_000 * (max(one.seconds(on)) + on.overhead)
            sides.append(found)
        held = [weight_of[name].removesuffix(".weight") for name in names]
        search.times = [[side.get(name, 0.0) for side in sides] for name in held]
        search.spent = sum(value for name, value in sides[0].items() if name not in held)
    return search


def _check_time(search: _Search, most: int) -> None:
    if search.budget.ms is None or search.settings(most) is not None:
        return
    fastest = search.spent + least(search.milliseconds([list(row) for row in search.menu.options]))
    if fastest > search.budget.ms:
        raise TemperError(
            f"On {device(search.budget.device).title} no allocation of bits takes less than {fastest:.3g} ms "
            f"({WORDS}); {search.budget.ms:.3g} ms were asked.",
            "Fewer bits than eight save no time; remove channels in the Studio first.",
        )


def _within(search: _Search, cap: int, floor: float | None) -> tuple[Candidate, int]:
    _check_time(search, 10**15)
    lowest = search.rest + math.ceil(least([[float(o.bytes) for o in row] for row in search.menu.options]))
    found = search.within(cap)
    if found is None:
        raise TemperError(
            f"With these bits and sparsities the model takes at least {lowest:,} bytes; {cap:,} were asked.",
            "Ask for more bytes, or offer fewer bits and more sparsity.",
        )
    if floor is not None and found[0].cautious > floor:
        raise _out_of_reach(search.data, found[0], floor)
    return found


def _out_of_reach(data: DataHandle, best: Candidate, floor: float) -> TemperError:
    points = data.task.decides
    unit, factor = ("points of accuracy", 100) if points else (f"{data.task.unit} of RMSE".strip(), 1)
    said = (f"{factor * number:.3g}" for number in (best.loss, best.error, floor))
    lost, error, asked = said
    return TemperError(
        f"The best within this budget loses {lost} {unit} on {best.change.n:,} calibration examples, give or take "
        f"{error}; that at most {asked} are lost cannot be promised.",
        "Allow more bytes, a larger loss, or more bits to choose from.",
    )


def _judged(model: ModelHandle, data: DataHandle, candidate: Candidate, progress: Progress) -> Side:
    result = evaluate(model, data, candidate.recipe, progress)
    found, headline = compare(result), data.task.facts.headline
    return Side(candidate, found.tempered[headline], found.change[headline], result)
