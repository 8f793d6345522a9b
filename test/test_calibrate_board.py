"""The board, finding it, and saying why it is not found."""

from __future__ import annotations

from types import SimpleNamespace

from dataclasses import replace

import numpy as np
import pytest
from calibration_fixtures import BOARD, make_lens, rig

from wallwm_model.calibration_tools.board import MARGIN, Board
from wallwm_model.calibration_tools.detect import Detector, Miss, View, in_line
from wallwm_model.calibration_tools.diagnose import diagnose
from wallwm_model.calibration_tools.lens import transform
from wallwm_model.errors import CalibrationError
from wallwm_model.sim.board import SQUARE_PX, Conditions, draw


def pose_before(board: Board, turn=(0.3, -0.35, 0.2), distance=0.34) -> np.ndarray:
    pose = transform(turn, np.zeros(3))
    pose[:3, 3] = (0, 0, distance) - pose[:3, :3] @ board.centre
    return pose


def shown(board: Board, model: str = "plumb_bob", pose=None, **conditions: float) -> np.ndarray:
    """A picture of a board."""
    pose = pose_before(board) if pose is None else pose
    printed, margin = board.picture(SQUARE_PX), MARGIN * SQUARE_PX
    rng = np.random.default_rng(3)
    return draw(make_lens(model), printed, board.square_m, margin, pose, rng, Conditions(**conditions))


@pytest.mark.parametrize(
    ("model", "distance"), [("plumb_bob", 0.34), ("rational_polynomial", 0.34), ("equidistant", 0.2)]
)
def test_corners_are_found_where_the_lens_puts_them(model, distance):
    pose, lens = pose_before(BOARD, distance=distance), make_lens(model)
    view = Detector(BOARD).find(shown(BOARD, model, pose))
    assert isinstance(view, View) and len(view.ids) >= 30
    true = lens.project(BOARD.corners[view.ids] @ pose[:3, :3].T + pose[:3, 3])
    off = view.pixels - true
    assert np.sqrt((off**2).sum(1).mean()) < 0.2
    # Half a pixel of mixed-up conventions would show in the mean.
    assert np.abs(off.mean(0)).max() < 0.06


def test_colour_pictures_are_understood():
    grey = shown(BOARD)
    assert isinstance(Detector(BOARD).find(np.stack([grey] * 3, axis=-1)), View)


def test_edges_measure_blur():
    sharp, soft = (Detector(BOARD).find(shown(BOARD, blur_px=b)) for b in (0.6, 1.2))
    assert sharp.edge_px < soft.edge_px < 4


@pytest.mark.parametrize("conditions", [{"blur_px": 2.0}, {"motion_px": 8.0}])
def test_blurred_views_are_dropped(conditions):
    assert Detector(BOARD).find(shown(BOARD, **conditions)) == Miss("picture", "blurred")


WRONG = {
    "columns": (Board(7, 6), "7x6 squares, not 9x6"),
    "rows": (Board(9, 8), "9x8 squares, not 9x6"),
    "both": (Board(10, 7), "10x7 squares, not 9x6"),
    "dictionary": (Board(dictionary="DICT_4X4_50"), "those of DICT_4X4_50, not of DICT_5X5_100"),
    "old pattern": (Board(legacy=True), "before 4.6 (--legacy)"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_another_board_is_named(mistake):
    other, words = WRONG[mistake]
    picture = shown(other)
    miss = Detector(BOARD).find(picture, "a.png")
    assert isinstance(miss, Miss)
    assert words in diagnose(BOARD, [miss] * 3, [picture])


def test_corners_on_one_line_are_no_view():
    picture, whole = shown(BOARD), Detector(BOARD).find(shown(BOARD))
    row = whole.pixels[whole.ids // (BOARD.columns - 1) == 2]
    assert in_line(np.arange(8), 8) and in_line(np.arange(0, 40, 8), 8) and in_line(np.arange(0, 40, 9), 8)
    assert not in_line(np.array([0, 1, 2, 8]), 8)
    detector = Detector(BOARD)
    ids = whole.ids[whole.ids // (BOARD.columns - 1) == 2]
    answer = (row[:, None].astype(np.float32), ids[:, None], (), np.array([[0]]))
    detector._charuco = SimpleNamespace(detectBoard=lambda grey: answer)
    assert len(ids) == 8 and detector.find(picture) == Miss("picture", "line")


def test_a_mirrored_picture_is_named():
    picture = np.ascontiguousarray(shown(BOARD)[:, ::-1])
    miss = Detector(BOARD).find(picture)
    assert miss == Miss("picture", "mirrored")
    assert diagnose(BOARD, [miss, miss], [picture]).startswith("2 mirrored board: ")


def test_an_empty_picture_shows_no_board():
    empty = np.full((480, 640), 128, np.uint8)
    assert Detector(BOARD).find(empty) == Miss("picture", "none")
    assert diagnose(BOARD, [Miss("a", "none")], [empty]) == "1 no board in sight"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"columns": 2}, "at least 3x3 squares; found 2x6"),
        ({"marker_m": 0.04}, "found marker 0.04 and square 0.03"),
        ({"square_m": float("nan")}, "found marker 0.022 and square nan"),
        ({"dictionary": "DICT_9X9"}, "DICT_5X5_100"),
        ({"columns": 30, "rows": 30}, "for each of the 450 white squares; found 100"),
    ],
)
def test_a_board_that_cannot_be_is_refused(change, words):
    with pytest.raises(CalibrationError, match="must") as refused:
        replace(BOARD, **change)
    assert words in str(refused.value)


def test_squares_are_read_from_words():
    assert Board.parse("7x5", 0.04, 0.03, "DICT_4X4_50", False) == Board(7, 5, 0.04, 0.03, "DICT_4X4_50")
    with pytest.raises(CalibrationError, match="COLUMNSxROWS squares, e.g. 9x6; found '7 by 5'"):
        Board.parse("7 by 5", 0.04, 0.03, "DICT_4X4_50", False)


def test_rays_of_a_lens_come_back_to_their_pixels():
    for lens in (make_lens("equidistant"), rig().lens):
        rays = lens.rays[::40, ::40].reshape(-1, 2)
        pixels = lens.project(np.column_stack([rays, np.ones(len(rays))]))
        grid = np.stack(np.meshgrid(*(np.arange(0, n * 3, 40) for n in lens.size)), -1).reshape(-1, 2)
        seen = np.isfinite(rays).all(1)  # a fisheye's corners may see nothing
        assert seen.mean() > 0.95 and np.abs(pixels - ((grid + 0.5) / 3 - 0.5))[seen].max() < 5e-3
