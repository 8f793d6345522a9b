"""Inference engines behind one protocol, imported only when asked for."""

from wallwm_model.engines.base import Context, Engine, Look
from wallwm_model.engines.choice import ENGINES
from wallwm_model.engines.loader import load_engine

__all__ = ["ENGINES", "Context", "Engine", "Look", "load_engine"]
