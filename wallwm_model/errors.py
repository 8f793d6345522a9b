"""One error tree for the whole project. Every message says what was expected, what was found, what is valid."""


class WallWMError(Exception):
    """Base of every error a user may see; its message is one clear sentence."""


class SpecError(WallWMError):
    """A model specification, or data meant for it, does not fit."""


class BundleError(WallWMError):
    """An engine bundle is missing, incomplete, altered, or of another version."""


class ObservationError(WallWMError):
    """An observation is missing a stream, stale, out of step, or of the wrong size."""


class CaptionError(WallWMError):
    """A caption uses words that the model has never learnt."""


class ConfigError(WallWMError):
    """A configuration file or parameter is missing, unknown, or out of range."""


class EngineError(WallWMError):
    """An inference engine cannot be loaded or failed while running."""


class WireError(EngineError):
    """A message between an engine's server and its client is malformed, too large, or of another meaning."""


class SimulationError(WallWMError):
    """The simulator was asked for something that it does not have."""


class CalibrationError(WallWMError):
    """Calibration data is too poor, degenerate or contradictory to give a result that can be trusted."""


class GeometryError(WallWMError):
    """Cameras, poses or masks that geometry cannot work with."""
