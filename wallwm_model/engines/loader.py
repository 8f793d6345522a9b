"""Choose and load an engine for a bundle."""

from __future__ import annotations

import importlib
from pathlib import Path

from wallwm_model.bundle import batches, verify, verify_graphs
from wallwm_model.engines.address import is_address
from wallwm_model.engines.base import Engine
from wallwm_model.engines.choice import ENGINES, choose
from wallwm_model.errors import EngineError, WallWMError


def load_engine(folder: Path | str, engine: str = "auto", threads: int = 2) -> Engine:
    """Verify a bundle and load it.

    Args:
        folder: bundle folder.
        engine: one of `ENGINES`, `auto` for the best that can run here (`choice.choose`), or `ws://HOST:PORT` or
            `wss://HOST:PORT` for a server; the bundle then gives the specification alone.
        threads: CPU threads for inference.

    Raises:
        BundleError: the bundle is incomplete or altered, or its graphs reach out of it.
        EngineError: unknown engine, or one that cannot run here, or it refuses the graphs.
    """
    spec = verify(Path(folder))
    if is_address(engine):
        return importlib.import_module("wallwm_model.engines.remote").connect(engine, spec)
    chosen, why = choose(engine)
    verify_graphs(Path(folder))
    kind = ENGINES[chosen]
    module = importlib.import_module(kind.module)
    try:
        loaded = module.load(Path(folder), spec, threads, **kind.arguments)
    except WallWMError:
        raise
    except Exception as error:  # runtimes have errors of their own kinds
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EngineError(f"engine {chosen} refused the graphs of {folder}: {first}") from error
    loaded.why, loaded.batches = why, batches(Path(folder))
    return loaded
