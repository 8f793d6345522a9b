"""The film and the plot of an episode."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from wallwm_ros.demo.episode import Watchers
from wallwm_ros.demo.frames import HEIGHT, MARGIN, PLACES, TOP, VIEW, WIDTH, Subtitle, compose
from wallwm_ros.demo.plan import Episode
from wallwm_ros.demo.plot import Trace, columns, draw
from wallwm_ros.demo.record import Recorder
from wallwm_ros.demo.results import EpisodeResult, EventResult

CAMERAS = ("head_cam", "wrist_cam_left", "wrist_cam_right")
FRAME_NS = 50_000_000
EVENT = EventResult("reach", "reach it", 21, 21, 1.1, 0.0, True, True, "5 mm away")


def picture(value: int) -> np.ndarray:
    return np.full((48, 48, 3), value, np.uint8)


class Screening:
    """Stands in for the film."""

    def __init__(self):
        self.shown, self.lingered = [], []

    def show(self, images, subtitle, stamp_ns):
        self.shown.append((images, subtitle, stamp_ns))

    def linger(self, subtitle):
        self.lingered.append(subtitle)


def test_a_frame_holds_the_pictures_and_the_progress():
    pytest.importorskip("matplotlib")
    frame = compose({"head_cam": picture(200)}, Subtitle("a", "b", "success", "c", "d", progress=0.5))
    assert frame.shape == (HEIGHT, WIDTH, 3)
    assert HEIGHT % 2 == WIDTH % 2 == 0, "the codec wants even sizes"
    x, y, side, _ = PLACES["head_cam"]
    assert (frame[y + side // 2, x + side // 2] == 200).all()
    bar = frame[TOP + VIEW + 62, MARGIN : WIDTH - MARGIN]
    assert (bar == bar[0]).all(axis=1).mean() == pytest.approx(0.5, abs=0.01)


def test_reasoning_stands_where_no_progress_is_known():
    pytest.importorskip("matplotlib")
    told, silent = (
        compose({}, Subtitle(caption="c", progress=None, thought=t)) for t in ("the red cube " * 20, "")
    )
    below = slice(TOP + VIEW + 48, HEIGHT)
    assert (told[below] != silent[below]).any() and (told[: below.start] == silent[: below.start]).all()
    assert (silent[below] == silent[-1, 0]).all()  # and no bar


def test_words_that_do_not_fit_are_cut():
    pytest.importorskip("matplotlib")
    compose({}, Subtitle(title="x" * 400, caption="y" * 400, detail="z" * 400))


def test_a_frame_is_made_of_one_moment():
    film = Screening()
    recorder = Recorder(CAMERAS, 0.05, film)
    recorder.picture("head_cam", picture(1), 0)
    recorder.heading = "episode 1"
    recorder.begin(Episode("pick_place", 1), ())
    for camera in CAMERAS[:2]:
        recorder.picture(camera, picture(1), FRAME_NS)
    assert not film.shown
    recorder.picture(CAMERAS[2], picture(1), FRAME_NS)
    assert [(sorted(images), stamp) for images, _, stamp in film.shown] == [(sorted(CAMERAS), FRAME_NS)]
    assert film.shown[0][1].title == "episode 1"


def test_captions_progress_and_verdict_reach_the_film():
    film = Screening()
    recorder = Recorder(CAMERAS, 0.05, film)
    watcher = Watchers(recorder)
    watcher.begin(Episode("pick_place", 1), ("reach it",))
    watcher.event(0, "reach it")
    watcher.progress(0, SimpleNamespace(stage="executing", progress=0.5, remaining_s=0.5, step=10, reasoning=""))
    for camera in CAMERAS:
        recorder.picture(camera, picture(1), FRAME_NS)
    subtitle = film.shown[0][1]
    assert (subtitle.caption, subtitle.progress) == ("reach it", 0.5)
    assert subtitle.detail == "10/20 · 0.5 s left"
    watcher.event_done(0, EVENT)
    watcher.end(EpisodeResult("pick_place", 1, (EVENT,), True))
    assert [(s.verdict, s.kind) for s in film.lingered] == [("success", "success")]


def test_the_trace_has_time_from_zero_and_seams_where_the_chunk_changes():
    recorder = Recorder(CAMERAS, 0.05)
    recorder.begin(Episode("pick_place", 1), ())
    for tick in range(6):
        if tick == 3:
            recorder.event(0, "grasp the cube")
        values = np.full(2, float(tick))
        recorder.status(10**18 + tick * 20_000_000, ("a", "b"), values, values, (7 + tick // 4, 0))
    trace = recorder.trace
    assert trace.time_s == pytest.approx([0, 0.02, 0.04, 0.06, 0.08, 0.1])
    assert trace.seams() == pytest.approx([0.08])
    assert trace.events == [(pytest.approx(0.04), "grasp")]


def test_joints_are_drawn_one_arm_per_column():
    assert columns(("left_a", "left_b", "right_a")) == [[0, 1], [2]]
    assert columns(("a", "b", "c")) == [[0, 1], [2]]


def test_the_plot_is_a_picture(tmp_path: Path):
    pytest.importorskip("matplotlib")
    trace = Trace(("left_waist", "left_gripper", "right_waist", "right_gripper"))
    for tick in range(50):
        trace.time_s.append(tick / 50)
        trace.command.append(np.sin(tick / 10) * np.ones(4))
        trace.measured.append(np.sin(tick / 10 - 0.1) * np.ones(4))
        trace.chunk.append((tick // 20, 0))
    trace.events.append((0.2, "reach"))
    assert draw(trace, tmp_path / "joints.png", "episode 1")
    assert (tmp_path / "joints.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_recorded_draws_nothing(tmp_path: Path):
    assert not draw(Trace(), tmp_path / "joints.png", "empty")
    assert not list(tmp_path.iterdir())


def test_the_film_is_an_mp4_with_robot_time(tmp_path: Path):
    reader = pytest.importorskip("imageio_ffmpeg")
    from wallwm_ros.demo.video import Film

    film = Film(tmp_path / "demo.mp4")
    for scene in range(2):
        for frame in range(10):
            if frame != 4:  # one frame never arrives
                images = {camera: picture(20 * frame) for camera in CAMERAS}
                film.show(images, Subtitle(title="t"), (5 + scene) * 10**9 + frame * FRAME_NS)
        film.linger(Subtitle(verdict="success", kind="success"), frames=5)
    film.close()
    frames = reader.read_frames(tmp_path / "demo.mp4")
    facts = next(frames)
    assert facts["size"] == (WIDTH, HEIGHT)
    assert facts["fps"] == 20
    brightness = [np.frombuffer(frame, np.uint8).reshape(HEIGHT, WIDTH, 3)[300, 800, 0] for frame in frames]
    scene = [0, 20, 40, 60, 100, 100, 120, 140, 160, 180, *[180] * 5]
    assert brightness == pytest.approx(scene * 2, abs=6)
    assert film.dropped == 0


def test_an_interrupted_film_is_whole_but_shorter(tmp_path: Path):
    reader = pytest.importorskip("imageio_ffmpeg")
    from wallwm_ros.demo.video import Film

    with pytest.raises(KeyboardInterrupt), Film(tmp_path / "demo.mp4") as film:
        for frame in range(30):
            film.show({"head_cam": picture(9)}, Subtitle(), frame * FRAME_NS)
        while film._written < 3:
            pass
        raise KeyboardInterrupt
    frames, _ = reader.count_frames_and_secs(str(tmp_path / "demo.mp4"))
    assert 3 <= frames <= 30


def test_an_unwritable_film_is_one_sentence(tmp_path: Path):
    pytest.importorskip("imageio_ffmpeg")
    from wallwm_ros.demo.video import Film, VideoError

    with pytest.raises(VideoError, match="must be writable"):
        Film(tmp_path / "missing" / "demo.mp4")


def test_an_encoder_that_fails_is_one_sentence(tmp_path: Path):
    pytest.importorskip("imageio_ffmpeg")
    from wallwm_ros.demo.video import Film, VideoError

    (tmp_path / "demo.mp4").mkdir()
    film = Film(tmp_path / "demo.mp4")
    for frame in range(60):
        film.show({}, Subtitle(), frame * FRAME_NS)
    with pytest.raises(VideoError, match=r"demo.mp4 could not be written: .*directory"):
        film.close()
