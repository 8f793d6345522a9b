"""Predicted video beside what happened: which events are chosen, and what is compared."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch", reason="the data set needs the training environment")

from model_fixtures import small_spec  # noqa: E402
from train_fixtures import write_data  # noqa: E402

from wallwm_model.errors import ConfigError  # noqa: E402
from wallwm_model.eval import video  # noqa: E402
from wallwm_model.eval.video import predict  # noqa: E402
from wallwm_model.eval.video_metrics import compare  # noqa: E402
from wallwm_model.sim.robot import JOINTS  # noqa: E402

pytestmark = pytest.mark.train


class Still:
    """Predicts that nothing moves."""

    def __init__(self, chunk_steps: int = 32):
        self.spec = dataclasses.replace(small_spec(), joints=JOINTS, chunk_steps=chunk_steps)

    def imagine(self, look, euler_steps, seed):
        return np.repeat(look.images[:, None], 4 * self.spec.imagined_frames, axis=1)


@pytest.fixture
def data(tmp_path, monkeypatch):
    from wallwm_model.train import dataset

    monkeypatch.setattr(dataset, "HELD_OUT", 1.0)  # the few episodes there are
    return write_data(tmp_path)


def test_every_camera_of_every_event_is_compared(data):
    told = []
    found = predict(Still(), data, 5, report=told.append)
    assert len(found) == 5 and told == [1, 2, 3, 4, 5]
    names = [clip.name.rpartition(", ")[2] for clip in found[0]]
    assert names == ["head_cam", "wrist_cam_left", "wrist_cam_right"]
    assert all(clip.truth.shape == clip.predicted.shape == (8, 64, 64, 3) for clips in found for clip in clips)
    assert len({clips[0].truth.tobytes() for clips in found}) == 5, "five different events"
    assert not np.array_equal(found[0][0].truth[0], found[0][1].truth[0])
    figures = compare(clip for clips in found for clip in clips)
    assert figures["predicted"] == figures["copy"] and figures["better"]["psnr"] == 0


def test_only_events_that_last_as_long_as_a_prediction_are_chosen(data):
    everything = predict(Still(), data, 1000)
    lengths = np.load(data / "shard_0000" / "samples.npz")["length"]
    assert len(everything) <= (lengths >= 32).sum() < len(lengths)
    assert len(predict(Still(48), data, 1000)) < len(everything)


def test_data_without_such_events_are_refused(data, monkeypatch):
    monkeypatch.setattr(video, "EventDataset", lambda *args, **kwargs: short(data))
    with pytest.raises(ConfigError, match="held-out events of 32 steps or more are needed; .* has none"):
        predict(Still(), data, 5)


def short(folder):
    from wallwm_model.train.dataset import EventDataset

    found = EventDataset(folder, held_out=True)
    found.rows = found.rows[found.table.left[found.rows] < 32]
    return found
