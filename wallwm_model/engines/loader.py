"""Choose and load an engine for a bundle."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

from wallwm_model.bundle import verify
from wallwm_model.engines.base import Engine
from wallwm_model.errors import EngineError

# name -> (module that implements it, package that it needs), best first
ENGINES = {
    "openvino": ("wallwm_model.engines.openvino", "openvino"),
    "onnx": ("wallwm_model.engines.onnx", "onnxruntime"),
}


def load_engine(folder: Path | str, engine: str = "auto", threads: int = 2) -> Engine:
    """Verify a bundle and load it.

    Args:
        folder: bundle folder.
        engine: one of `ENGINES`, or `auto` for the first whose package is installed.
        threads: CPU threads for inference.

    Raises:
        BundleError: the bundle is incomplete or altered.
        EngineError: unknown engine, or its package is not installed, or it refuses the graphs.
    """
    spec = verify(Path(folder))
    if engine != "auto" and engine not in ENGINES:
        raise EngineError(f"engine must be auto or one of {', '.join(ENGINES)}; found {engine!r}")
    installed = [name for name, (_, package) in ENGINES.items() if importlib.util.find_spec(package)]
    chosen = engine if engine != "auto" else next(iter(installed), None)
    if chosen not in installed:
        wanted = "one of " + ", ".join(p for _, p in ENGINES.values()) if chosen is None else ENGINES[chosen][1]
        raise EngineError(f"engine {engine} needs the package {wanted}; installed engines: {', '.join(installed) or 'none'}")
    module = importlib.import_module(ENGINES[chosen][0])
    try:
        return module.load(Path(folder), spec, threads)
    except RuntimeError as error:
        raise EngineError(f"engine {chosen} refused the graphs of {folder}: {error}") from error
