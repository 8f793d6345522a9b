"""What a model thought for one chunk: latents at first, words once somebody has time to read them.

Nobody waits for the words before moving: a chunk is handed out with its thought unread, and whoever runs the
engine reads it afterwards, until something newer is asked of the engine.
"""

from __future__ import annotations

from collections.abc import Callable

Stop = Callable[[], bool]


class Thought:
    """One thought.

    Args:
        put: puts it into words, asking `stop` before each; gives "" if stopped.
        next_event: caption of the event that the model thinks comes next, known without reading.
    """

    def __init__(self, put: Callable[[Stop], str], next_event: str = "") -> None:
        self._put, self._text, self.next_event = put, "", next_event

    @property
    def text(self) -> str:
        """The thought in words; empty until it was read."""
        return self._text

    def read(self, stop: Stop = lambda: False) -> str:
        """Put the thought into words, once; in the thread that runs the engine.

        Args:
            stop: asked before each word; true gives up, and `text` stays empty.

        Raises:
            EngineError: the engine failed or gave values that are not finite.
        """
        if not self._text:
            self._text = self._put(stop)
        return self._text
