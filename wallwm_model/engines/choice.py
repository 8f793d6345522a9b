"""Which engines there are, what each needs, and which one `auto` takes on this machine, with the reason."""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field

from wallwm_model.errors import EngineError


@dataclass(frozen=True)
class Kind:
    """One engine.

    Attributes:
        module: that implements it.
        packages: modules that it imports.
        provider: of ONNX Runtime, beside the CPU.
        gpu: it needs a CUDA device.
        automatic: `auto` may take it.
        arguments: for the module's `load`.
    """

    module: str
    packages: tuple[str, ...]
    provider: str = ""
    gpu: bool = False
    automatic: bool = True
    arguments: Mapping[str, str] = field(default_factory=dict)


_ONNX = "wallwm_model.engines.onnx"
ENGINES = {
    "openvino": Kind("wallwm_model.engines.openvino", ("openvino",)),
    "onnx": Kind(_ONNX, ("onnxruntime",)),
    "onnx-cuda": Kind(
        _ONNX, ("onnxruntime",), "CUDAExecutionProvider", gpu=True, arguments={"device": "cuda"}
    ),
    "onnx-tensorrt": Kind(
        _ONNX, ("onnxruntime",), "TensorrtExecutionProvider", gpu=True, arguments={"device": "tensorrt"}
    ),
    "tensorrt": Kind("wallwm_model.engines.tensorrt", ("tensorrt", "cuda.bindings"), gpu=True),
    "torch": Kind("wallwm_model.engines.torch_engine", ("torch", "safetensors"), automatic=False),
}
BEST_FIRST = ("tensorrt", "onnx-tensorrt", "onnx-cuda", "openvino", "onnx")


def choose(engine: str = "auto") -> tuple[str, str]:
    """An engine's name, and why it is that one.

    Raises:
        EngineError: an unknown name, one that cannot run here, or none that can.
    """
    if engine != "auto" and engine not in ENGINES:
        raise EngineError(
            f"engine must be auto, one of {', '.join(ENGINES)}, or ws://HOST:PORT; found {engine!r}"
        )
    if engine != "auto":
        if problem := obstacle(engine):
            able = ", ".join(name for name in ENGINES if not obstacle(name)) or "none"
            raise EngineError(f"engine {engine} cannot run here: {problem}; engines that can: {able}")
        return engine, f"{engine} was asked for"
    passed = []
    for name in BEST_FIRST:
        if not (problem := obstacle(name)):
            return name, f"{name} is the best that can run here" + "".join(f"; {one}" for one in passed)
        passed.append(f"not {name}: {problem}")
    raise EngineError(
        f"an engine needs one of the packages openvino, onnxruntime; found none ({'; '.join(passed)})"
    )


def obstacle(engine: str) -> str:
    """Why an engine cannot run on this machine; empty if it can."""
    kind = ENGINES[engine]
    for package in kind.packages:
        if not installed(package):
            return f"it needs the package {package}, which is not installed"
    if kind.gpu and not has_gpu():
        return "it needs a CUDA device, and there is none"
    if kind.provider:
        import onnxruntime

        if kind.provider not in onnxruntime.get_available_providers():
            return f"the installed onnxruntime has no {kind.provider}"
    return ""


def installed(package: str) -> bool:
    """Whether a module can be imported; it is not."""
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def has_gpu() -> bool:
    """Whether the CUDA driver sees a device."""
    try:
        driver = ctypes.CDLL(ctypes.util.find_library("cuda") or "libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
