"""Calls of services of nodes that have only just been discovered."""

from __future__ import annotations

import time

SILENCE_S = 5.0  # so long without an answer, it may have been sent before the server knew where to


def answer(until, client, request):
    """The answer of a service; for requests that may be carried out twice, as one is sent again after a silence.

    `until` waits for a condition. A server that has seen a client's request before its ear drops the answer.
    """
    until(client.service_is_ready)
    began, asked = time.monotonic(), []

    def answered() -> bool:
        if time.monotonic() - began >= len(asked) * SILENCE_S:
            asked.append(client.call_async(request))
        return any(future.done() for future in asked)

    until(answered)
    return next(future.result() for future in asked if future.done())
