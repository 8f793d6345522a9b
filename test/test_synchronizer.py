"""Matching cameras and joint states in time."""

from __future__ import annotations

import numpy as np
import pytest

from wallwm_ros.core.synchronizer import MS, Match, Synchronizer, SyncLimits, Unsound

NAMES = ("head", "left", "right")
LIMITS = SyncLimits(max_spread_ns=30 * MS, max_age_ns=200 * MS, max_ahead_ns=20 * MS)


@pytest.fixture
def sync():
    return Synchronizer(NAMES, {"joints": ()}, LIMITS)


def feed(sync, stamps_ms, joints_ms=range(0, 2000, 10)):
    """Pictures `name@stamp` at the given times, joints equal to their time in ms."""
    for name, times in stamps_ms.items():
        for t in times:
            sync.add_picture(name, t * MS, f"{name}@{t}")
    for t in joints_ms:
        sync.add_state("joints", t * MS, np.array([float(t)]))


def look(sync, now_ms, not_before_ms=0):
    return sync.newest(now_ms * MS, not_before_ms * MS)


def pictures(found):
    assert isinstance(found, Match), found
    return [found.pictures[name] for name in NAMES]


def test_the_newest_set_in_step_is_chosen(sync):
    feed(
        sync,
        {"head": [900, 950, 1000], "left": [905, 955, 1005], "right": [910, 960, 1010]},
        range(0, 1020, 10),
    )
    found = look(sync, 1020)
    assert pictures(found) == ["head@1000", "left@1005", "right@1010"]
    assert (found.stamp_ns, found.spread_ns) == (1000 * MS, 10 * MS)
    assert found.states["joints"] == pytest.approx([1005.0])


def test_a_camera_that_lags_brings_an_older_but_sound_set(sync):
    feed(sync, {"head": [950, 1000], "left": [950, 1000], "right": [950]}, range(0, 1010, 10))
    assert pictures(look(sync, 1010)) == ["head@950", "left@950", "right@950"]


def test_among_equally_new_sets_the_tightest_wins(sync):
    feed(sync, {"head": [1000, 1025], "left": [1000, 1020], "right": [1000]}, range(0, 1040, 10))
    assert pictures(look(sync, 1030)) == ["head@1000", "left@1000", "right@1000"]


def test_joint_states_are_interpolated_to_the_middle_of_the_pictures(sync):
    feed(sync, {"head": [1000], "left": [1010], "right": [1006]}, [990, 1020])
    assert look(sync, 1025).states["joints"] == pytest.approx([1005.0])


def test_without_a_later_joint_state_the_nearest_is_taken_and_dates_the_observation(sync):
    feed(sync, {name: [1000] for name in NAMES}, [960, 985])
    found = look(sync, 1005)
    assert found.states["joints"] == pytest.approx([985.0]) and found.stamp_ns == 985 * MS


def test_quaternions_are_interpolated_along_the_shorter_arc():
    sync = Synchronizer(["head"], {"pose": (0,)}, LIMITS)
    half = np.sqrt(0.5)
    sync.add_state("pose", 990 * MS, np.array([0.0, 0.0, 0.0, 1.0]))
    sync.add_state("pose", 1010 * MS, -np.array([0.0, 0.0, half, half]))  # a quarter turn, other sign
    sync.add_picture("head", 1000 * MS, "x")
    found = look(sync, 1012).states["pose"]
    assert np.abs(found @ [0.0, 0.0, np.sin(np.pi / 8), np.cos(np.pi / 8)]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("stamps", "joints", "stream", "kind", "figures"),
    [
        ({"head": [1000], "left": [1000]}, [1000], "right", "missing", ["no picture from right"]),
        ({n: [1000] for n in NAMES}, [], "joints", "missing", ["no joint state from joints"]),
        ({"head": [1000], "left": [700], "right": [1000]}, [1000], "left", "stale", ["310 ms", "200 ms"]),
        (
            {"head": [1000], "left": [1000], "right": [1100]},
            [1000],
            "right",
            "future",
            ["90 ms", "clocks differ"],
        ),
        ({"head": [1000], "left": [930], "right": [1000]}, [1000], "left", "out_of_step", ["70 ms", "30 ms"]),
        ({n: [1000] for n in NAMES}, [900], "joints", "out_of_step", ["100 ms"]),
    ],
)
def test_what_is_wrong_is_named_with_its_figures(sync, stamps, joints, stream, kind, figures):
    feed(sync, stamps, joints)
    found = look(sync, 1010)
    assert isinstance(found, Unsound) and (found.stream, found.kind) == (stream, kind), found
    assert all(figure in found.text for figure in figures), found.text


def test_pictures_from_before_the_event_do_not_count(sync):
    feed(sync, {name: [1000] for name in NAMES}, [1000])
    found = look(sync, 1040, not_before_ms=1005)
    assert (found.kind, found.stream) == ("early", "head") and "35 ms" in found.text
    feed(sync, {name: [1030] for name in NAMES}, [1030])
    assert pictures(look(sync, 1040, not_before_ms=1005)) == ["head@1030", "left@1030", "right@1030"]


def test_one_camera_still_from_before_the_event_holds_the_others_back(sync):
    feed(sync, {"head": [1000, 1010], "left": [1000, 1010], "right": [1000]}, [1000, 1010])
    assert look(sync, 1012, not_before_ms=1005).stream == "right"


def test_a_refused_picture_is_told_until_a_good_one_comes(sync):
    feed(sync, {name: [1000] for name in NAMES}, [1000])
    sync.refuse("left", "size must be 192x192; found 640x480")
    found = look(sync, 1010)
    assert found.kind == "refused" and "640x480" in found.text
    sync.add_picture("left", 1005 * MS, "left@1005")
    assert pictures(look(sync, 1010))[1] == "left@1005"


def test_late_and_repeated_deliveries_are_passed_over(sync):
    feed(sync, {"head": [1000, 1000, 990], "left": [1000], "right": [1000]}, [1000])
    assert pictures(look(sync, 1010))[0] == "head@1000"


def test_a_source_whose_clock_was_set_back_starts_afresh(sync):
    feed(sync, {name: [5000] for name in NAMES}, [5000])
    feed(sync, {name: [100] for name in NAMES}, [100])
    assert pictures(look(sync, 110)) == ["head@100", "left@100", "right@100"]


def test_clearing_forgets_everything(sync):
    feed(sync, {name: [1000] for name in NAMES}, [1000])
    sync.clear()
    assert look(sync, 1010).kind == "missing"


@pytest.fixture
def live():
    """Two cameras with noise and one without; three pictures in a row that are identical are too many."""
    limits = SyncLimits(max_spread_ns=30 * MS, max_age_ns=200 * MS, max_ahead_ns=20 * MS, frozen=3)
    return Synchronizer(NAMES, {"joints": ()}, limits, noisy=("head", "left"), depth=2)


def show(sync, contents):
    """One picture per camera every 50 ms, with the contents given; joint states along with them."""
    for name, shown in contents.items():
        for i, content in enumerate(shown):
            sync.add_picture(name, (1000 + 50 * i) * MS, content)
    last = 1000 + 50 * (len(contents["head"]) - 1)
    for t in range(900, last + 10, 10):
        sync.add_state("joints", t * MS, np.array([0.0]))
    return look(sync, last + 5)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        ("abcd", None),
        ("aabb", None),  # twice is not three times
        ("abbb", "frozen"),
        ("bbbb", "frozen"),
        ("abbbc", None),  # it has come back
        ("a", "early"),  # one picture does not tell
        ("aa", "early"),
        ("ab", None),
    ],
)
def test_a_camera_that_repeats_its_picture_is_frozen(live, head, kind):
    found = show(live, {"head": head, "left": "123456"[: len(head)], "right": "x" * len(head)})
    if kind is None and len(head) > 1:
        assert isinstance(found, Match), found
    elif kind == "frozen":
        assert found == Unsound("head", "frozen", "head is frozen: its last 3 pictures are identical")
    else:
        assert (found.stream, found.kind) == ("head", kind) and "may be frozen" in found.text


def test_a_camera_without_noise_may_repeat_itself(live):
    assert isinstance(show(live, {"head": "abcd", "left": "1234", "right": "xxxx"}), Match)


def test_frozen_cameras_are_not_looked_for_when_that_is_switched_off():
    sync = Synchronizer(NAMES, {"joints": ()}, LIMITS, noisy=NAMES, same=lambda one, other: 1 / 0)
    assert isinstance(show(sync, {name: "aaaa" for name in NAMES}), Match)


def test_pictures_are_compared_once_each_and_only_when_somebody_looks():
    asked = []

    def same(one, other):
        asked.append((one, other))
        return one == other

    limits = SyncLimits(max_spread_ns=30 * MS, max_age_ns=500 * MS, frozen=4)
    sync = Synchronizer(["head"], {"joints": ()}, limits, noisy=["head"], same=same)
    for i, content in enumerate("abbb"):
        sync.add_picture("head", (1000 + 50 * i) * MS, content)
    sync.add_state("joints", 1150 * MS, np.array([0.0]))
    assert asked == []
    assert isinstance(look(sync, 1155), Match) and isinstance(look(sync, 1160), Match)
    assert sorted(asked) == [("a", "b"), ("b", "b"), ("b", "b")]
    sync.add_picture("head", 1200 * MS, "b")
    assert look(sync, 1205).kind == "frozen" and len(asked) == 4


def test_a_restarted_source_is_not_compared_with_what_it_showed_before(live):
    show(live, {"head": "aaaa", "left": "1234", "right": "xxxx"})
    live.clear()
    assert show(live, {"head": "a", "left": "1", "right": "x"}).kind == "early"


def filmed(sync, now_ms, rested_ms=None, count=4, every_ms=200):
    rested_ns = None if rested_ms is None else rested_ms * MS
    found = sync.with_past(look(sync, now_ms), count, every_ms * MS, rested_ns)
    return found if isinstance(found, Unsound) else [film["head"] for film in found.past]


def long_sync(keep_ms=1200):
    sync = Synchronizer(NAMES, {"joints": ()}, LIMITS, keep_ns=keep_ms * MS)
    feed(sync, {name: range(0, 3000, 50) for name in NAMES}, range(0, 3000, 10))
    return sync


def test_pictures_of_the_past_are_those_nearest_to_their_times():
    assert filmed(long_sync(), 2980, 0) == ["head@2150", "head@2350", "head@2550", "head@2750"]
    found = long_sync().with_past(look(long_sync(), 2980), 2, 330 * MS, 0)
    assert [film["left"] for film in found.past] == ["left@2300", "left@2600"]
    assert pictures(found) == ["head@2950", "left@2950", "right@2950"]


def test_what_was_seen_at_rest_stands_for_what_lay_before():
    assert filmed(long_sync(), 2980) == ["head@2950"] * 4
    assert filmed(long_sync(), 2980, 2950) == ["head@2950"] * 4
    assert filmed(long_sync(), 2980, 2500) == ["head@2500", "head@2500", "head@2550", "head@2750"]


def test_a_gap_in_the_past_is_named_and_never_filled():
    sync = Synchronizer(NAMES, {"joints": ()}, LIMITS, keep_ns=1200 * MS)
    whole, broken = range(0, 3000, 50), [t for t in range(0, 3000, 50) if not 2200 < t < 2500]
    feed(sync, {"head": whole, "left": broken, "right": whole}, range(0, 3000, 10))
    found = filmed(sync, 2980, 0)
    assert (found.stream, found.kind) == ("left", "past")
    assert found.text == "left has no picture within 100 ms of 600 ms before"
    assert isinstance(filmed(sync, 2980, 0, count=2), list)


def test_only_as_much_past_is_kept_as_is_looked_back():
    stream = long_sync(800)._cameras["head"]
    assert stream.stamps[0] <= 2150 * MS < stream.stamps[2] and len(stream.stamps) == len(stream._alike) < 20
    assert len(Synchronizer(NAMES, {}, LIMITS, keep_ns=0)._cameras["head"].stamps) == 0
    short = Synchronizer(NAMES, {"joints": ()}, LIMITS)
    feed(short, {name: range(0, 3000, 50) for name in NAMES})
    assert len(short._cameras["head"].stamps) == 8
