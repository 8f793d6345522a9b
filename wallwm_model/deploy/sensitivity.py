"""Which layers lose too much in 8 bits: measured one at a time, and the worst are kept until the error is small.

Errors are those of whole chunks, denoised from the same noise, and of the remaining time; for graphs that do not take
part in acting, those of their outputs. Each is given as a share of what is allowed, so that they can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from onnx import ModelProto

from wallwm_model.deploy.calibrate import ranges
from wallwm_model.deploy.layers import Layer, layers_of
from wallwm_model.deploy.quantise import Range, Scheme, quantise
from wallwm_model.deploy.sessions import Graph, Inputs, Recorder, engine_of, session
from wallwm_model.engines.base import Look
from wallwm_model.engines.graphs import GraphEngine
from wallwm_model.errors import BundleError
from wallwm_model.spec import ModelSpec

ACTING = ("text", "observe", "observe_past", "act", "reason")  # judged by the chunks that come of them
OTHERS = 0.15  # largest error of the outputs of a graph that does not act, relative to their spread
RECORDED = 24  # inputs per graph that calibration runs
MEASURED = 8  # looks, or inputs of a graph that does not act, for each single layer
LATE = 0.5  # largest error of the remaining time [steps], root mean square
STEPS = 32  # length of the chunks that are compared
SEED = 0  # of their noise
Say = Callable[[str], None]


@dataclass
class Measured:
    """What quantisation of a model's graphs came to.

    Attributes:
        graphs: as they go into the bundle.
        layers: graph -> layer -> error when this layer alone is quantised, as a share of the bounds.
        kept: graph -> layers that stay in 16 bits.
        action_error: root mean square of the chunks' error, normalised joints.
        remaining_error: root mean square of the remaining time's error [steps].
        others: graph that does not act -> error of its outputs, relative.
    """

    graphs: dict[str, ModelProto]
    layers: dict[str, dict[str, float]]
    kept: dict[str, list[str]]
    action_error: float
    remaining_error: float
    others: dict[str, float] = field(default_factory=dict)


class Quantiser:
    """One model on its way into 8 bits.

    Args:
        graphs: prepared, in float32.
        looks: observations that no training has seen.
        bound: largest `action_error`.
    """

    def __init__(
        self,
        graphs: Mapping[str, ModelProto],
        spec: ModelSpec,
        looks: Sequence[Look],
        scheme: Scheme,
        bound: float,
        say: Say = lambda text: None,
    ):
        self._graphs, self._spec, self._looks = dict(graphs), spec, looks
        self._scheme, self._bound, self._say = scheme, bound, say
        self._exact = {name: session(graph) for name, graph in graphs.items()}
        say("running the observations")
        recorder = Recorder(self._exact, RECORDED)
        engine = engine_of(recorder.graphs, spec)
        self._wanted = answers(engine, looks)
        self._exercise(engine)
        self.inputs = recorder.inputs
        say("calibrating activations")
        self._ranges: dict[str, dict[str, Range]] = {
            name: ranges(graph, self.inputs[name]) for name, graph in graphs.items()
        }
        self._layers = {name: layers_of(graph) for name, graph in graphs.items()}

    def run(self) -> Measured:
        """Measure every layer, then keep as few as the bounds allow.

        Raises:
            BundleError: the bound cannot be met although every layer is kept, i.e. it is not positive.
        """
        errors = {name: self._single(name) for name in self._graphs}
        order = self._order(errors)
        fits: dict[int, Measured] = {}

        def holds(count: int) -> bool:
            self._say(f"{count} of {len(order)} weights kept in 16 bits")
            found = self._quantised(set(order[:count]), errors)
            small = found.action_error <= self._bound and found.remaining_error <= LATE
            if small and max(found.others.values(), default=0.0) <= OTHERS:
                fits[count] = found
            return count in fits

        least = fewest(holds, len(order))
        if least is None:
            raise BundleError(f"the bound of the action error must be positive; found {self._bound}")
        return fits[least]

    def _exercise(self, engine: GraphEngine) -> None:
        """Run the graphs that acting does not need, so that they can be calibrated."""
        if "imagine" in self._graphs:
            engine.imagine(self._looks[0], 4, SEED)
        if "explain" in self._graphs:
            for look in self._looks:
                if look.route == "staircase":
                    engine.explain(engine.observe(look).latents)

    def _single(self, name: str) -> dict[str, float]:
        """Layer -> error as a share of the bounds, each layer quantised alone."""
        found = {}
        for number, layer in enumerate(self._layers[name]):
            self._say(f"{name}: layer {number + 1} of {len(self._layers[name])} alone")
            alone = quantise(self._graphs[name], [layer.name], self._ranges[name], self._scheme)
            run = session(alone, optimised=False)
            if acts(name):
                error, late = self._acted(self._exact | {name: run}, few=True)
                found[layer.name] = max(error / self._bound, late / LATE)
            else:
                found[layer.name] = self._apart(name, run) / OTHERS
        return found

    def _acted(self, graphs: Mapping[str, Graph], *, few: bool = False) -> tuple[float, float]:
        """Root mean square errors of chunks [normalised] and remaining times [steps], of all looks or a few."""
        every = max(1, len(self._looks) // MEASURED) if few else 1
        found = answers(engine_of(graphs, self._spec), self._looks[::every])
        pairs = zip(found, self._wanted)
        error, late = (float(np.sqrt(np.mean((a - b[::every]) ** 2))) for a, b in pairs)
        return error, late

    def _apart(self, name: str, run: Graph) -> float:
        """Relative error of the outputs of a graph that does not act."""
        inputs = self.inputs[name][:MEASURED]
        return relative_error([run(one) for one in inputs], [self._exact[name](one) for one in inputs])

    def _order(self, errors: Mapping[str, Mapping[str, float]]) -> list[str]:
        """Digests of all weights, the most sensitive first; graphs that share weights count together."""
        worst: dict[str, float] = {}
        for name, layers in self._layers.items():
            for layer in layers:
                worst[layer.key] = max(worst.get(layer.key, 0.0), errors[name][layer.name])
        return sorted(worst, key=worst.get, reverse=True)

    def _quantised(self, kept: set[str], errors: dict[str, dict[str, float]]) -> Measured:
        graphs = {
            name: quantise(
                graph, names(self._layers[name], kept, without=True), self._ranges[name], self._scheme
            )
            for name, graph in self._graphs.items()
        }
        running = {name: session(graph) for name, graph in graphs.items()}
        others = {name: self._apart(name, running[name]) for name in graphs if not acts(name)}
        error, late = self._acted(running)
        held = {name: names(layers, kept) for name, layers in self._layers.items()}
        return Measured(graphs, errors, held, error, late, others)


def fewest(holds: Callable[[int], bool], most: int) -> int | None:
    """The least count from 0 to `most` for which `holds`, found by doubling and halving; None if there is none.

    Errors fall with the count on the whole, not step by step; what is returned was tried and holds.
    """
    failed, count = -1, 0
    while not holds(count):
        if count >= most:
            return None
        failed, count = count, min(most, max(1, 2 * count))
    while count - failed > 1:
        middle = (count + failed) // 2
        if holds(middle):
            count = middle
        else:
            failed = middle
    return count


def acts(name: str) -> bool:
    """Whether a graph takes part in acting; those for one length of a chunk are called `act_16` and so on."""
    return name in ACTING or name.startswith("act_")


def names(layers: Sequence[Layer], kept: set[str], *, without: bool = False) -> list[str]:
    """Names of the layers whose weights are kept, or are not."""
    return [layer.name for layer in layers if (layer.key in kept) != without]


def answers(engine: GraphEngine, looks: Sequence[Look]) -> tuple[np.ndarray, np.ndarray]:
    """Chunks (looks, steps, D), normalised, all from the same noise; remaining times (looks,) [steps]."""
    steps = min(STEPS, engine.spec.horizon)
    seen = [engine.observe(look) for look in looks]
    acted = [engine.act(context, steps, engine.spec.euler_steps, SEED) for context in seen]
    return np.stack(acted), np.array([context.remaining_steps for context in seen])


def relative_error(found: Sequence[Inputs], wanted: Sequence[Inputs]) -> float:
    """Root mean square error of several runs' outputs, each relative to how it varies; the worst output's."""
    worst = 0.0
    for name in wanted[0] if wanted else ():
        expected = np.stack([one[name] for one in wanted]) if same(wanted, name) else None
        pairs = [(a[name], b[name]) for a, b in zip(found, wanted)]
        error = np.sqrt(np.mean([np.mean((a - b) ** 2, dtype=np.float64) for a, b in pairs]))
        spread = (
            float(expected.std()) if expected is not None else float(np.mean([b.std() for _, b in pairs]))
        )
        worst = max(worst, float(error) / max(spread, 1e-6))
    return worst


def same(runs: Sequence[Inputs], name: str) -> bool:
    """Whether an output has one shape in all runs."""
    return len({one[name].shape for one in runs}) == 1
