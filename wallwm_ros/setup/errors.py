"""The set-up's one kind of error."""

from wallwm_model.errors import WallWMError


class SetupError(WallWMError):
    """Set-up cannot go on; the message is one clear sentence with the remedy."""
