"""Why a stream of samples must not be used: every reason has a kind, names the stream and gives figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wallwm_ros.core.streams import Stream

MS = 1_000_000  # nanoseconds in a millisecond
EPOCH_NS = 10_000_000_000  # stamps that far off at arrival are no delay: another clock made them


@dataclass(frozen=True)
class SyncLimits:
    """How far apart and how old the parts of one observation may be.

    Attributes:
        max_spread_ns: between the oldest and the newest part [ns].
        max_age_ns: of the oldest part [ns].
        max_ahead_ns: how far a stamp may lie ahead of this node's clock [ns]; more means that clocks differ.
        frozen: this many identical pictures in a row mean that a camera with noise is frozen; 0: never.
        max_wait_ns: since a stream's newest sample came, by the steady clock, which goes on where simulated
            time stands still [ns]; 0: as `max_age_ns`.
    """

    max_spread_ns: int
    max_age_ns: int
    max_ahead_ns: int = 50 * MS
    frozen: int = 0
    max_wait_ns: int = 0

    @property
    def wait_ns(self) -> int:
        """The longest silence of a stream [ns, steady clock]."""
        return self.max_wait_ns or self.max_age_ns


@dataclass(frozen=True)
class Unsound:
    """Why there is no observation.

    Attributes:
        stream: the camera or state stream to blame; `clock`: the clock that stamps them all.
        kind: `missing`, `refused`, `early`, `stale`, `future`, `epoch`, `frozen`, `out_of_step`, `past`,
            `camera_info` or `clock`.
        text: one sentence with the figures.
    """

    stream: str
    kind: str
    text: str


def judge(
    name: str, stream: Stream, now_ns: int, steady_ns: int, limits: SyncLimits, not_before_ns: int = 0
) -> Unsound | None:
    """The reason why `stream` by itself has nothing to offer.

    Args:
        now_ns, not_before_ns: of the clock that stamps the messages [ns].
        steady_ns: the time of the steady clock [ns].
    """
    kind = stream.kind
    if stream.refusal:
        return Unsound(name, "refused", f"a {kind} from {name} was refused: {stream.refusal}")
    if not stream.stamps:
        since = f" since {stream.forgot}" if stream.forgot else ""
        return Unsound(name, "missing", f"no {kind} from {name} has arrived{since}")
    age_ns, waited_ns = now_ns - stream.stamps[-1], steady_ns - stream.arrived_ns
    return (
        _ahead(name, kind, -age_ns, limits)
        or _old(name, kind, age_ns, waited_ns, limits)
        or _early(name, kind, age_ns, now_ns - not_before_ns)
    )


def _ahead(name: str, kind: str, ahead_ns: int, limits: SyncLimits) -> Unsound | None:
    if ahead_ns > EPOCH_NS:
        return _epoch(name, kind, ahead_ns, "ahead of")
    if ahead_ns <= limits.max_ahead_ns:
        return None
    text = f"{name} is stamped {in_words(ahead_ns)} ahead of this node's clock"
    most = f"at most {in_words(limits.max_ahead_ns)} is allowed"
    return Unsound(name, "future", f"{text}, {most}: the clocks differ")


def _old(name: str, kind: str, age_ns: int, waited_ns: int, limits: SyncLimits) -> Unsound | None:
    comes = waited_ns <= limits.wait_ns
    if age_ns > limits.max_age_ns:
        if comes and age_ns - waited_ns > EPOCH_NS:
            return _epoch(name, kind, age_ns, "behind")
        came = f", though it came {in_words(waited_ns)} ago" if comes else ""
        text = f"{name} is stale: its newest {kind} is {in_words(age_ns)} old{came}"
        return Unsound(name, "stale", f"{text}, at most {in_words(limits.max_age_ns)} is allowed")
    if comes:
        return None
    text = f"{name} is stale: its newest {kind} came {in_words(waited_ns)} ago by the steady clock"
    return Unsound(name, "stale", f"{text}, at most {in_words(limits.wait_ns)} is allowed")


def _epoch(name: str, kind: str, off_ns: int, where: str) -> Unsound:
    text = f"its newest {kind} lies {in_words(off_ns)} {where} this node's"
    return Unsound(name, "epoch", f"{name} is stamped by another clock: {text}")


def _early(name: str, kind: str, age_ns: int, begun_ns: int) -> Unsound | None:
    """The newest sample is `age_ns` old, and the event began `begun_ns` ago."""
    if age_ns <= begun_ns:
        return None
    return Unsound(name, "early", f"{name} has sent no {kind} since the event began {in_words(begun_ns)} ago")


def judge_frozen(name: str, stream: Stream, most: int, same: Callable[[Any, Any], bool]) -> Unsound | None:
    """The reason why a camera may be showing one picture again and again; `most` in a row are too many."""
    count = stream.repeated(same, most)
    if count >= most:
        return Unsound(name, "frozen", f"{name} is frozen: its last {count} pictures are identical")
    if count == len(stream.stamps):  # too few to tell, e.g. right after activation
        text = f"{name} has shown one picture only, {count} times: it may be frozen"
        return Unsound(name, "early", text)
    return None


def in_words(duration_ns: int) -> str:
    """A duration for people [ns]: `310 ms`, `12.5 s`, `3.2 h`, `20785 days`."""
    seconds = duration_ns / 1e9
    if abs(seconds) < 10:
        return f"{duration_ns / MS:.0f} ms"
    if abs(seconds) < 3600:
        return f"{seconds:.1f} s"
    return f"{seconds / 3600:.1f} h" if abs(seconds) < 2 * 86400 else f"{seconds / 86400:.0f} days"
