"""End-effector actions: from joints to poses, and to what a chunk message carries; any number of columns."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from wallwm_model.errors import SpecError
from wallwm_model.poses import from_matrix, quaternion_columns, settle
from wallwm_model.transforms import from_quaternion

torch = pytest.importorskip("torch", reason="training needs the training environment")
pytest.importorskip("diffusers")

from model_fixtures import small_model, small_spec  # noqa: E402
from train_fixtures import write_data  # noqa: E402

from wallwm_model.network.action import Timing  # noqa: E402
from wallwm_model.network.config import NetworkConfig  # noqa: E402
from wallwm_model.network.model import Act, WallWM  # noqa: E402
from wallwm_model.sim.kinematics import forward  # noqa: E402
from wallwm_model.sim.robot import HOME, LOWER, UPPER  # noqa: E402
from wallwm_model.spec import Normalisation  # noqa: E402
from wallwm_model.train.cli import make_spec  # noqa: E402
from wallwm_model.train.dataset import EventDataset, Loader  # noqa: E402
from wallwm_model.train.end_effector import COLUMNS, QUATERNIONS, pose_chunk, pose_losses, poses  # noqa: E402
from wallwm_model.train.losses import pinch  # noqa: E402
from wallwm_model.train.loop import Stage  # noqa: E402
from wallwm_model.train.recipes import LossConfig, TrainConfig  # noqa: E402

pytestmark = pytest.mark.train

SIZES = NetworkConfig(layers=2, width=48, heads=2, ffn=96, keypoints=8, text_width=32, action_width=32, action_ffn=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def spec(folder):
    return make_spec("pose", "nano", folder, "end_effector_pose")


def rotation(quaternion):
    return from_quaternion(np.zeros(3), quaternion)[:3, :3]


def postures(*shape):
    """Random walks of the joints, inside their limits."""
    rng = np.random.default_rng(1)
    walk = HOME + 0.1 * rng.standard_normal((*shape, 14)).cumsum(axis=-2)
    return np.clip(walk, LOWER, UPPER)


def test_the_specification_names_the_columns_of_a_pose(spec):
    assert spec.action_space == "end_effector_pose" and spec.joints == COLUMNS and len(COLUMNS) == 16
    assert spec.quaternions == QUATERNIONS == (3, 11)
    for column in QUATERNIONS:
        assert len(set(spec.normalisation.std[column : column + 4])) == 1


def test_joints_become_poses_and_decode_to_unit_quaternions_that_never_jump(spec):
    walk = postures(5, 40)
    state, actions = pose_chunk(walk[:, 0], walk, np.asarray(spec.normalisation.mean))
    rng = np.random.default_rng(2)
    signs = rng.choice([-1.0, 1.0], (5, 40, 1))
    encoded = spec.normalisation.encode(actions)
    decoded = spec.normalisation.decode(encoded).astype(np.float64)
    decoded[..., 3:7] *= signs * 1.3  # neither sign nor length of a quaternion means anything
    found = settle(decoded, state, spec.quaternions)
    np.testing.assert_allclose(found, actions, atol=2e-6)
    positions, rotations = forward(walk)
    for arm, column in enumerate((0, 8)):
        np.testing.assert_allclose(found[..., column : column + 3], positions[:, :, arm], atol=2e-6)
        q = found[..., column + 3 : column + 7]
        np.testing.assert_allclose(np.linalg.norm(q, axis=-1), 1, atol=1e-6)
        assert ((q[:, 1:] * q[:, :-1]).sum(-1) > 0).all()
        assert max(np.abs(rotation(q[i, k]) - rotations[i, k, arm]).max() for i in range(5) for k in range(40)) < 1e-5
    np.testing.assert_allclose(found[..., 7], walk[..., 6], atol=2e-6)


def test_quaternions_of_all_rotations_are_exact():
    rng = np.random.default_rng(3)
    q = rng.standard_normal((200, 4))
    q[:8] = np.concatenate([np.eye(4), -np.eye(4)])  # half turns, where one formula would divide by zero
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    found = from_matrix(np.stack([rotation(one) for one in q]))
    np.testing.assert_allclose(np.abs((found * q).sum(-1)), 1, atol=1e-12)


def test_broken_quaternions_are_refused(spec):
    with pytest.raises(SpecError, match="must have length 1, or at least a direction; found length 0"):
        settle(np.zeros((2, 16)), np.asarray(spec.normalisation.mean), (3, 11))
    with pytest.raises(SpecError, match="must be the columns a_qx, a_qy, a_qz, a_qw; found a_qx, a_qz"):
        quaternion_columns(("a_qx", "a_qz", "a_qy", "a_qw"))
    with pytest.raises(SpecError, match="found 3 such"):
        quaternion_columns(("a_qy", "a_qz", "a_qw"))
    with pytest.raises(SpecError, match="end-effector poses need columns _qx, _qy, _qz, _qw"):
        dataclasses.replace(small_spec(), action_space="end_effector_pose")
    with pytest.raises(SpecError, match="joint_position, end_effector_pose; found 'x'"):
        dataclasses.replace(small_spec(), action_space="x")


def test_batches_hold_poses_and_their_mirror_images(folder, spec):
    data = EventDataset(folder)
    loader = Loader(data, spec, batch=4, seed=0)
    for batch in (loader.event(0), loader.unified(0)):
        assert batch.state.shape == (4, 16) and batch.actions.shape[2] == 16
        assert batch.state.abs().mean() < 5
    sides = [loader.collect_events(data.rows[:3], 4, np.full(3, side), video=False) for side in (False, True)]
    plain, flipped = (pinch(batch.actions, spec) for batch in sides)
    mirrored = plain.flip(-2) * torch.tensor([1.0, -1.0, 1.0])
    assert torch.allclose(flipped, mirrored, atol=1e-5)


def test_loss_measures_position_orientation_and_opening(spec):
    norm = spec.normalisation
    state, actions = pose_chunk(postures(1, 6)[:, 0], postures(1, 6), np.asarray(norm.mean))
    clean, weight = torch.from_numpy(norm.encode(actions)), torch.full((1, 6), 1 / 6)
    assert all(v < 1e-6 for v in pose_losses(clean, clean, weight, spec).values())
    for columns, name in ((slice(0, 3), "position"), (slice(3, 7), "orientation"), (slice(7, 8), "gripper")):
        other = clean.clone()
        other[..., columns] += 0.5 * torch.randn(other[..., columns].shape, generator=torch.Generator().manual_seed(0))
        found = pose_losses(other, clean, weight, spec)
        assert found.pop(name) > 1e-3 and all(v < 1e-6 for v in found.values())
    negative = actions.copy()
    negative[..., 3:7] *= -1
    found = pose_losses(torch.from_numpy(norm.encode(negative)), clean, weight, spec)
    assert all(v < 1e-4 for v in found.values())  # the same rotation


def test_a_training_step_lowers_the_loss(folder, spec, tmp_path):
    torch.manual_seed(0)
    config = TrainConfig(
        steps=100, batch=3, warmup=1, unified=0.0,
        loss=LossConfig(draws=2, prefix=0.0, dct=0.1, sight=0.0, relight=0.0),
    )  # fmt: skip
    stage = Stage("action", WallWM(SIZES, spec), spec, config, tmp_path)
    batch = Loader(EventDataset(folder), spec, batch=3, seed=0).event(0, video=True)

    class Same:
        def event(self, step, **_):
            return batch

    losses = []
    for _ in range(6):
        stage.step = 1
        losses.append(stage.advance(Same()))
    assert set(losses[0]) == {"joints", "position", "orientation", "gripper", "dct"}
    assert sum(losses[-1].values()) < sum(losses[0].values())
    errors = stage.validate([batch])
    assert errors and all(np.isfinite(v) for v in errors.values())


def test_a_pose_bundle_gives_what_the_chunk_message_carries(spec, tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")
    from wallwm_model.bundle import write_manifest
    from wallwm_model.deploy import export
    from wallwm_model.engines import load_engine
    from wallwm_model.policy import Policy
    from wallwm_model.preprocess import Observation

    torch.manual_seed(0)
    only_events = dataclasses.replace(spec, modes=("event",), sources=())
    model = WallWM(SIZES, only_events).half().float().eval().requires_grad_(False)
    model.action.out.weight.data.normal_(std=0.05)
    monkeypatch.setattr(export, "trace_imagining", lambda *_: {})  # chunks come of the others alone
    export.export_graphs(model, only_events, tmp_path)
    (tmp_path / "spec.json").write_text(only_events.to_json())
    write_manifest(tmp_path)
    policy = Policy(load_engine(tmp_path, "onnx", threads=1))
    pictures = {c.name: np.zeros((64, 64, 3), np.uint8) for c in spec.cameras}
    pose = poses(HOME)
    chunks = []
    for sign in (1.0, -1.0):
        state = pose.copy()
        state[3:7] *= sign
        observation = Observation(pictures, state, 0)
        chunk = policy.event(observation, "reach the red cube with the left arm", 2.0, committed=state[None])
        chunks.append(chunk.actions)
        for column in spec.quaternions:
            q = chunk.actions[:, column : column + 4]
            np.testing.assert_allclose(np.linalg.norm(q, axis=1), 1, atol=1e-5)
            assert ((q[1:] * q[:-1]).sum(-1) > 0).all()
    np.testing.assert_array_equal(*chunks)  # a state and its negative are the same
    assert chunks[0].shape == (40, 16)


def of_width(columns):
    """An untrained model of any number of action columns, and its inputs."""
    torch.manual_seed(0)
    model = WallWM(SIZES, small_spec(columns)).eval().requires_grad_(False)
    model.action.out.weight.data.normal_(std=0.05)
    video = torch.randn(2, 1, 9, 2 * SIZES.action_width)
    return model, {
        "noisy": torch.randn(1, 24, columns), "t": torch.rand(1, 24), "video": video,
        "state": torch.randn(1, columns), "window": torch.zeros(1, dtype=torch.int64),
    }  # fmt: skip


@pytest.mark.parametrize("columns", [2, 3, 7, 14, 16, 20, 31, 32])
def test_any_number_of_columns_is_denoised(columns):
    model, inputs = of_width(columns)
    found = Act(model)(**inputs)
    assert found.shape == (1, 24, columns) and found.isfinite().all()
    changed = Act(model)(**{**inputs, "state": inputs["state"] + torch.eye(columns)[-1]})
    assert not torch.allclose(found, changed)
    with pytest.raises(SpecError, match=f"noisy must be .B, T, {columns}. float"):
        model.action(
            torch.randn(1, 24, columns + 1), inputs["t"], inputs["video"], inputs["state"],
            Timing(torch.full((1,), 24.0), inputs["window"]), None,
        )  # fmt: skip


@pytest.mark.parametrize("columns", [2, 32])
def test_any_number_of_columns_is_exported(columns):
    pytest.importorskip("onnxscript")
    import onnxruntime

    from wallwm_model.deploy.export import trace

    model, inputs = of_width(columns)
    axes = {"noisy": {1: torch.export.Dim("steps", min=2, max=64)}}
    axes |= {"t": axes["noisy"], "video": {2: torch.export.Dim("read", min=2, max=4096)}}
    graph = trace(Act(model), inputs, ["clean"], axes)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {k: v.numpy() for k, v in inputs.items()})
    np.testing.assert_allclose(found, Act(model)(**inputs).numpy(), atol=1e-5)


def test_statistics_of_another_width_are_refused():
    with pytest.raises(SpecError, match="rows must have 16 columns, as the statistics; found .1,."):
        Normalisation((0.0,) * 16, (1.0,) * 16).encode(np.zeros(1))
    assert small_model().action.embed.in_features == 14
