"""Several robots at one engine: what they ask of the same graph at the same time is one call with more rows.

Continuous batching, by denoising steps: robots that began at different times still share the steps that they have in
common, since every row has a noise level of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from wallwm_model.engines.base import Engine
from wallwm_model.engines.explain import Graph
from wallwm_model.engines.graphs import GraphEngine

Arrays = dict[str, np.ndarray]
MOST = 8  # robots in one call, for which engines are built
AXES = {"video": 1}  # of the rows, one for each robot; elsewhere they come first
ALONE = ("imagine", "decode", "reason", "explain")  # graphs of one robot
AWAY_S = 0.005  # who is in the middle of a request may compute so long before the others go on alone [s]


def axis_of(tensor: str) -> int:
    """The axis along which a graph's input or output has one row for each robot."""
    return AXES.get(tensor, 0)


class Call:
    """A graph and what one robot puts in; `answer` or `error` once it has run."""

    def __init__(self, name: str, graph: Graph, inputs: Arrays) -> None:
        self.name, self.graph, self.inputs = name, graph, inputs
        self.answer: Arrays | None = None
        self.error: BaseException | None = None
        self.since_s = time.monotonic()
        self.kind = (name, tuple((key, value.shape, value.dtype.str) for key, value in inputs.items()))

    @property
    def over(self) -> bool:
        """It has run."""
        return self.answer is not None or self.error is not None


class Together:
    """Runs the graphs of an engine for the requests under way, each in a thread of its own; one graph at a time.

    A graph begins when all requests under way wait for one: the oldest call runs, with those that fit. Requests that
    have not come are not waited for, so a robot that is alone is as fast as ever.

    Args:
        most: robots in one call.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._changed = threading.Condition()
        self._waiting: list[Call] = []
        self._under_way, self._busy = 0, False
        self._stacked: dict[tuple[str, str], tuple[list[np.ndarray], np.ndarray]] = {}

    def engine(self, engine: GraphEngine) -> GraphEngine:
        """The same engine, to be used by several threads at once."""
        return engine.through(lambda name, graph: lambda inputs: self._run(Call(name, graph, inputs)))

    @contextmanager
    def request(self) -> Iterator[None]:
        """For the length of one robot's request, its thread is waited for."""
        with self._changed:
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def _run(self, call: Call) -> Arrays:
        with self._changed:
            self._waiting.append(call)
            self._changed.notify_all()
            while not call.over:
                if self._ready():
                    self._lead()
                else:
                    self._changed.wait(None if self._busy else AWAY_S)
        if call.error is not None:
            raise call.error
        return call.answer

    def _ready(self) -> bool:
        if self._busy or not self._waiting:
            return False
        late = time.monotonic() - self._waiting[0].since_s >= AWAY_S
        return late or len(self._waiting) >= self._under_way

    def _lead(self) -> None:
        """Run the oldest call and what goes with it, for all who wait for them."""
        first = self._waiting[0]
        most = 1 if first.name in ALONE else self.most
        calls = [call for call in self._waiting if call.kind == first.kind][:most]
        self._waiting = [call for call in self._waiting if call not in calls]
        self._busy = True
        self._changed.release()
        try:
            self._share(calls)
        finally:
            self._changed.acquire()
            self._busy = False
            self._changed.notify_all()

    def _share(self, calls: list[Call]) -> None:
        """One run of the graph; where that fails, one for each, so that a call fails by its own fault alone."""
        try:
            given = calls[0].inputs if len(calls) == 1 else self._stack(calls)
            found = calls[0].graph(given)
            answers = [found] if len(calls) == 1 else [_row(found, row) for row in range(len(calls))]
            for call, answer in zip(calls, answers):
                call.answer = answer
        except Exception as error:
            if len(calls) == 1:
                calls[0].error = error
            else:
                for call in calls:
                    self._share([call])

    def _stack(self, calls: list[Call]) -> Arrays:
        """Inputs of all calls; what is the same array as in the last step is not put together anew."""
        out = {}
        for tensor in calls[0].inputs:
            parts, key = [call.inputs[tensor] for call in calls], (calls[0].name, tensor)
            kept, whole = self._stacked.get(key, ((), None))
            if len(kept) != len(parts) or any(a is not b for a, b in zip(kept, parts)):
                whole = np.concatenate(parts, axis=axis_of(tensor))
                self._stacked[key] = (parts, whole)
            out[tensor] = whole
        return out


def _row(found: Arrays, row: int) -> Arrays:
    """What one robot gets of the outputs."""
    return {
        tensor: np.ascontiguousarray(value.take([row], axis=axis_of(tensor))) for tensor, value in found.items()
    }


def shared(engine: Engine, most: int) -> tuple[Engine, Together | None]:
    """An engine for the requests of several robots, and what brings them together; None if it takes one at a time."""
    if most == 1 or not (engine.batches and isinstance(engine, GraphEngine)):
        return engine, None
    together = Together(most)
    return together.engine(engine), together
