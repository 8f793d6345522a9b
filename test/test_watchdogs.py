"""The policy's heartbeat, with the clock turned by hand."""

import pytest
from controller_bench import MS, Bench, move

from wallwm_model.errors import ConfigError
from wallwm_ros.core.config import ControlConfig
from wallwm_ros.core.control_state import ControlState
from wallwm_ros.core.watchdogs import Heartbeat

OLD = "the policy's heartbeat is older than 500 ms"


def run(bench, ticks, beats=True, listens=True):
    """Ticks of 10 ms; beats at 20 Hz, and a listener that comes round at 40 Hz."""
    status = None
    for k in range(ticks):
        status = bench.tick()
        if listens and k % 3 == 0:
            bench.controller.heartbeat.listening(bench.now)
        if beats and k % 5 == 0:
            bench.controller.heartbeat.beat(bench.now)
    return status


@pytest.fixture
def bench():
    bench = Bench()
    bench.tick()
    return bench


def test_a_sender_without_heartbeat_is_not_watched(bench):
    bench.submit(move(1.0))
    assert run(bench, 80, beats=False).state == ControlState.TRACKING


def test_a_policy_that_falls_silent_is_stopped_inside_the_limits(bench):
    run(bench, 20)
    bench.submit(move(1.0, steps=60))
    assert run(bench, 100).state == ControlState.TRACKING
    assert run(bench, 45, beats=False).state == ControlState.TRACKING
    status = run(bench, 15, beats=False)
    assert status.state in (ControlState.STOPPING, ControlState.HOLD)
    assert status.reason == f"stopped: {OLD}"
    assert run(bench, 60, beats=False).state == ControlState.HOLD
    bench.assert_inside()


def test_chunks_are_refused_until_it_is_heard_again_and_the_old_plan_stays_over(bench):
    run(bench, 20)
    bench.submit(move(1.0, steps=60))
    run(bench, 130, beats=False)
    status = bench.submit(move(generation=2, begin=bench.arm))
    assert status.rejected == 1 and f"chunk 2/0 refused: {OLD}" in status.reason
    status = run(bench, 10)
    assert status.reason.startswith("ready again; stopped: the policy's heartbeat")
    assert bench.submit(move(generation=1, sequence=1)).state == ControlState.HOLD
    assert bench.submit(move(generation=2, begin=bench.arm)).state == ControlState.TRACKING


def test_the_listeners_own_stall_is_not_the_policys_silence(bench):
    run(bench, 20)
    bench.submit(move(1.0, steps=100))
    # The executor stands still for 2 s, while the control thread goes on ...
    assert run(bench, 200, beats=False, listens=False).state == ControlState.TRACKING
    # ... and when it comes round, its own turn is before the beats that lay waiting.
    bench.controller.heartbeat.listening(bench.now)
    assert bench.tick().state == ControlState.TRACKING
    bench.controller.heartbeat.beat(bench.now)
    assert run(bench, 30).state == ControlState.TRACKING


def test_a_stall_of_the_whole_process_is_not_the_policys_silence(bench):
    run(bench, 20)
    bench.submit(move(1.0, steps=100))
    run(bench, 20)
    bench.tick(period=3000 * MS)
    assert run(bench, 20).state == ControlState.TRACKING


def test_a_policy_that_takes_leave_is_not_missed(bench):
    run(bench, 20)
    bench.controller.heartbeat.leave()
    bench.submit(move(1.0))
    assert run(bench, 80, beats=False).state == ControlState.TRACKING


def test_activation_forgets_who_was_heard(bench):
    run(bench, 20)
    bench.controller.deactivate()
    bench.controller.activate()
    bench.tick()
    bench.submit(move(1.0))
    assert run(bench, 80, beats=False).state == ControlState.TRACKING


def test_it_can_be_switched_off():
    bench = Bench(heartbeat_timeout_s=0)
    run(bench, 20)
    bench.submit(move(1.0, steps=60))
    assert run(bench, 110, beats=False).state == ControlState.TRACKING
    with pytest.raises(ConfigError, match="0, or at least 0.2"):
        ControlConfig(heartbeat_timeout_s=0.1)


def test_silence_counts_from_the_last_beat():
    heartbeat = Heartbeat(500 * MS)
    heartbeat.beat(1000 * MS)
    for now in (1400, 1501):
        heartbeat.listening(now * MS)
    assert heartbeat.trouble() == ""  # the turn before was at 1400
    heartbeat.listening(1502 * MS)
    assert heartbeat.trouble() == OLD
    heartbeat.beat(1510 * MS)
    assert heartbeat.trouble() == ""
