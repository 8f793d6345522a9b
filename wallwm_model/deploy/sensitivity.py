"""Which layers lose too much in 8 bits: measured one at a time, and the worst are kept until the error is small.

Errors are those of whole chunks, denoised from the same noise, and of the remaining time; for graphs that do not take
part in acting and for `reason`, those of their outputs. Each is given as a share of what is allowed, so that they can be compared.
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

# Judged by the chunks that come of them. Not `reason`: where it wavers between two events, anything turns it to the other
# one, and a chunk of that says nothing of how much was lost.
ACTING = ("text", "observe", "observe_past", "act")
OTHERS = 0.15  # largest error of the outputs of a graph that does not act, relative to their spread
RECORDED = 150  # inputs per graph that calibration runs
MEASURED = 8  # looks for each single layer
APART = 4  # inputs of a graph that does not act
LATE = 0.5  # largest error of the remaining time [steps], root mean square
STEPS = 32  # length of the chunks that are compared
SEED = 0  # of their noise
Say = Callable[[str], None]


@dataclass
class Measured:
    """What quantisation of a model's graphs came to.

    Attributes:
        graphs: as they go into the bundle.
        layers: layer -> error when it alone is quantised, in all graphs that have it, as a share of the bounds;
            under the name that the first of them has for it; empty where all could be quantised.
        kept: graph -> layers that stay in 16 bits.
        action_error: root mean square of the chunks' error, normalised joints.
        remaining_error: root mean square of the remaining time's error [steps].
        others: graph that does not act -> error of its outputs, relative.
    """

    graphs: dict[str, ModelProto]
    layers: dict[str, float]
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
        self._outputs: dict[str, list[Inputs]] = {}  # of the exact graphs that do not act
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
        # What no look came to cannot be calibrated, and stays as it is.
        self._layers = {name: layers_of(graph) if self.inputs[name] else [] for name, graph in graphs.items()}

    def run(self) -> Measured:
        """Quantise everything; if that loses too much, measure every layer, and keep as few as the bounds allow.

        Raises:
            BundleError: the bound cannot be met although every layer is kept, i.e. it is not positive.
        """
        whole = self._quantised(set(), {})
        if self._holds(whole):
            return whole  # nothing has to be kept, so that no layer need be measured
        errors = self._alone()
        order = sorted(errors, key=errors.get, reverse=True)
        fits: dict[int, Measured] = {}

        def holds(count: int) -> bool:
            self._say(f"{count} of {len(order)} weights kept in 16 bits")
            found = self._quantised(set(order[:count]), errors) if count else whole
            if self._holds(found):
                fits[count] = found
            return count in fits

        least = fewest(holds, len(order))
        if least is None:
            raise BundleError(f"the bound of the action error must be positive; found {self._bound}")
        return fits[least]

    def _holds(self, found: Measured) -> bool:
        """All errors are within their bounds."""
        small = found.action_error <= self._bound and found.remaining_error <= LATE
        return small and max(found.others.values(), default=0.0) <= OTHERS

    def _exercise(self, engine: GraphEngine) -> None:
        """Run the graphs that have not been run yet, so that they can be calibrated."""
        for length in (int(name[4:]) for name in self._graphs if name.startswith("act_")):
            for look in self._looks[:MEASURED]:
                engine.act(engine.observe(look), length, self._spec.euler_steps, SEED)
        if "imagine" in self._graphs:
            engine.imagine(self._looks[0], 4, SEED)
        if "explain" in self._graphs:
            for look in self._looks:
                if look.route == "staircase":
                    engine.explain(engine.observe(look).latents)

    def _alone(self) -> dict[str, float]:
        """Digest of weights -> error as a share of the bounds, each quantised alone in all graphs that share it."""
        keys = dict.fromkeys(layer.key for layers in self._layers.values() for layer in layers)
        found = {}
        for number, key in enumerate(keys):
            self._say(f"weights {number + 1} of {len(keys)} alone")
            made = {
                name: session(quantise(graph, chosen, self._ranges[name], self._scheme), optimised=False)
                for name, graph in self._graphs.items()
                if (chosen := names(self._layers[name], {key}))
            }
            acting = {name: run for name, run in made.items() if acts(name)}
            apart = [self._apart(name, run) / OTHERS for name, run in made.items() if not acts(name)]
            error, late = self._acted(self._exact | acting, few=True) if acting else (0.0, 0.0)
            found[key] = max(error / self._bound, late / LATE, *apart, 0.0)
        return found

    def _acted(self, graphs: Mapping[str, Graph], *, few: bool = False) -> tuple[float, float]:
        """Root mean square errors of chunks [normalised] and remaining times [steps], of all looks or a few."""
        count = len(self._looks)
        # Spread over all looks, so that every window and route is among them.
        chosen = np.unique(np.linspace(0, count - 1, MEASURED if few else count).round().astype(int))
        found = answers(engine_of(graphs, self._spec), [self._looks[index] for index in chosen])
        pairs = zip(found, self._wanted)
        error, late = (float(np.sqrt(np.mean((a - b[chosen]) ** 2))) for a, b in pairs)
        return error, late

    def _apart(self, name: str, run: Graph) -> float:
        """Relative error of the outputs of a graph that does not act."""
        inputs = self.inputs[name][:APART]
        if name not in self._outputs:
            self._outputs[name] = [self._exact[name](one) for one in inputs]
        return relative_error([run(one) for one in inputs], self._outputs[name]) if inputs else 0.0

    def _quantised(self, kept: set[str], errors: dict[str, float]) -> Measured:
        graphs = {
            name: quantise(
                graph, names(self._layers[name], kept, without=True), self._ranges[name], self._scheme
            )
            for name, graph in self._graphs.items()
        }
        running = {name: session(graph) for name, graph in graphs.items()}
        others = {name: self._apart(name, running[name]) for name in graphs if not acts(name)}
        error, late = self._acted(self._exact | {name: run for name, run in running.items() if acts(name)})
        held = {name: names(layers, kept) for name, layers in self._layers.items()}
        return Measured(graphs, self._named(errors), held, error, late, others)

    def _named(self, errors: Mapping[str, float]) -> dict[str, float]:
        """Errors under the first name of each weight."""
        first: dict[str, str] = {}
        for name, layers in self._layers.items():
            for layer in layers:
                first.setdefault(layer.key, f"{name}: {layer.name}")
        return {first[key]: error for key, error in errors.items()}


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
