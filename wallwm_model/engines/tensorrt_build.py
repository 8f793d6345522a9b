"""An ONNX graph -> a serialised TensorRT engine. TensorRT itself and TensorRT for RTX have the same interface here."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from wallwm_model.engines.together import MOST, axis_of
from wallwm_model.errors import EngineError
from wallwm_model.spec import ModelSpec

# A graph's dynamic axes: the smallest, usual and largest size, where the specification does not tell.
ROBOTS = (1, 1, MOST)
TOKENS = (2, 64, 4096)
WORDS = (2, 16, 64)
STEPS = 24  # a usual event
ANYWHERE = ("SM89",)  # built for, where there is no GPU: the first with FP8


def build(trt: ModuleType, path: Path, spec: ModelSpec, *, anywhere: bool = False) -> bytes:
    """Parse and build one graph of a verified bundle.

    Args:
        trt: `tensorrt` or `tensorrt_rtx`.
        anywhere: build for the first GPU with FP8 instead of this machine's; only TensorRT for RTX can.

    Raises:
        EngineError: TensorRT does not take the graph; the message is its own.
    """
    log = _log(trt)
    builder = trt.Builder(log)
    network = builder.create_network(_flags(trt))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(path)):
        told = [str(parser.get_error(i)).splitlines()[0] for i in range(parser.num_errors)]
        raise EngineError(f"TensorRT cannot read {path.name}: {told[0] if told else log.said()}")
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        given = network.get_input(index)
        sizes = _sizes(given.name, tuple(given.shape), spec)
        if sizes:
            profile.set_shape(given.name, *sizes)
    config.add_optimization_profile(profile)
    if anywhere:
        config.num_compute_capabilities = len(ANYWHERE)
        for index, name in enumerate(ANYWHERE):
            config.set_compute_capability(getattr(trt.ComputeCapability, name), index)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(f"TensorRT cannot build {path.name}: {log.said()}")
    return bytes(plan)


def _flags(trt: ModuleType) -> int:
    """Types are those of the graph; TensorRT does not choose others."""
    return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def _sizes(name: str, shape: tuple[int, ...], spec: ModelSpec) -> tuple[tuple[int, ...], ...]:
    """(smallest, usual, largest) shape of a dynamic input; empty for a fixed one."""
    steps = (2, min(STEPS, spec.horizon), spec.horizon)
    known = {("text", 1): WORDS, ("noisy", 1): steps, ("t", 1): steps, ("video", 2): TOKENS}
    known[name, axis_of(name)] = ROBOTS
    ranges = [(size,) * 3 if size != -1 else known.get((name, axis)) for axis, size in enumerate(shape)]
    if None in ranges:
        raise EngineError(f"axis {ranges.index(None)} of input {name} is dynamic, and its range unknown")
    return tuple(zip(*ranges)) if -1 in shape else ()


def _log(trt: ModuleType):
    """A logger that keeps errors for the sentence that a user sees, and says nothing itself."""

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity, text: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(text.splitlines()[0])

        def said(self) -> str:
            # That there is no driver is said first, and is no reason where the engine is for another machine.
            told = [text for text in self.errors if "Cuda Runtime" not in text]
            return told[0] if told else "no reason given"

    return Log()
