"""What there is to say about one stream of pictures or joint states, for those who watch."""

from __future__ import annotations

import dataclasses
from collections import deque
from dataclasses import dataclass, replace

from wallwm_ros.core.streams import Stream, Tally
from wallwm_ros.core.vetoes import Unsound


@dataclass(frozen=True)
class StreamReport:
    """One stream at one moment.

    Attributes:
        name: of the stream.
        kind: what a sample is, `picture` or `joint state`.
        age_ns: of its newest usable sample, by the stamp [ns]; negative: from the future, None: none.
        waited_ns: since that sample came, by the steady clock [ns]; None: as before.
        rate_hz: at which messages come, usable or not [Hz].
        tally: counts since the stream began.
        verdict: why it cannot be used at present, if so.
    """

    name: str
    kind: str
    age_ns: int | None
    waited_ns: int | None
    rate_hz: float
    tally: Tally
    verdict: Unsound | None

    @classmethod
    def of(
        cls, name: str, stream: Stream, now_ns: int, steady_ns: int, verdict: Unsound | None
    ) -> StreamReport:
        """The report of a stream at `now_ns` of the message clock and `steady_ns` of the steady one."""
        age_ns = waited_ns = None
        if stream.stamps:
            age_ns, waited_ns = now_ns - stream.stamps[-1], steady_ns - stream.arrived_ns
        rate_hz, tally = stream.rate_hz(steady_ns), replace(stream.tally)
        return cls(name, stream.kind, age_ns, waited_ns, rate_hz, tally, verdict)


class Trend:
    """What has happened to a stream's samples lately, from its counts."""

    def __init__(self, span_ns: int) -> None:
        self._span_ns = span_ns
        self._past: deque[tuple[int, Tally]] = deque()

    def since(self, now_ns: int, tally: Tally) -> Tally:
        """The counts of the time from `span_ns` ago to `now_ns` (steady clock); call once a second or so."""
        if self._past and tally.received < self._past[-1][1].received:
            self._past.clear()  # another life of the stream
        self._past.append((now_ns, tally))
        while len(self._past) > 2 and self._past[1][0] <= now_ns - self._span_ns:
            self._past.popleft()
        before = self._past[0][1]
        return Tally(
            **{f.name: getattr(tally, f.name) - getattr(before, f.name) for f in dataclasses.fields(Tally)}
        )
