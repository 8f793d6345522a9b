"""Several processes train as one: under torchrun, spawned, and with the model spread over them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the training environment")
pytest.importorskip("diffusers")

from safetensors.torch import load_file  # noqa: E402
from train_fixtures import write_data  # noqa: E402

pytestmark = [pytest.mark.train, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "test" / "tiny_training.py"
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
FILES = [f"{stage}-{kind}.safetensors" for stage in ("video", "action") for kind in ("last", "ema")]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


def finished(*arguments, **environment) -> None:
    """Run Python with `arguments`, the repository on its path, to a good end."""
    known = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    known |= {"PYTHONPATH": f"{ROOT}:{ROOT / 'test'}", "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"} | environment
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, env=known, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.fixture(scope="module")
def spawned(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("spawned")
    finished(SCRIPT, "tiny", "--data", data, "--out", out, "--processes", 2, "--stages", "video")
    return out


def test_torchrun_trains_the_same_weights_as_spawned_processes(data, spawned, tmp_path):
    finished(*TORCHRUN, SCRIPT, "tiny", "--data", data, "--out", tmp_path, "--stages", "video")
    for name in FILES[:2]:
        expected, found = load_file(spawned / name), load_file(tmp_path / name)
        assert expected.keys() == found.keys()
        assert all(torch.equal(found[k], v) for k, v in expected.items()), name


def uneven(rank, store, out):
    """One process of two: who has a gradient of what differs."""
    from wallwm_model.train.launch import spawned_group
    from wallwm_model.train.parallel import average_gradients

    everywhere, here, nowhere = (torch.nn.Parameter(torch.zeros(2)) for _ in range(3))
    everywhere.grad = torch.full((2,), 1.0 + rank)
    here.grad = torch.full((2,), 4.0) if rank else None
    with spawned_group(rank, 2, store):
        average_gradients([everywhere, nowhere, here])
    found = [None if p.grad is None else p.grad.tolist() for p in (everywhere, here, nowhere)]
    (out / f"{rank}.json").write_text(json.dumps(found))


def test_what_no_process_has_a_gradient_of_is_left_alone(tmp_path):
    torch.multiprocessing.spawn(uneven, (tmp_path / "store", tmp_path), nprocs=2)
    for rank in range(2):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == [[1.5, 1.5], [2.0, 2.0], None]


def test_a_training_goes_on_only_with_as_many_processes_as_it_began_with(data, spawned, monkeypatch, capsys):
    import tiny_training  # noqa: F401, makes its recipe known

    from wallwm_model.train.__main__ import main

    arguments = ["train", "tiny", "--data", data, "--out", spawned, "--stages", "video", "--steps", 6]
    monkeypatch.setattr(sys, "argv", list(map(str, arguments)))
    assert main() == 1
    assert "must be resumed with 2 processes; found 1" in capsys.readouterr().err


@pytest.fixture(scope="module")
def compared(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("sharding")
    finished(*TORCHRUN, SCRIPT, data, out, SHARDING="1")
    return out


@pytest.mark.parametrize("stage", ["video", "action"])
def test_a_sharded_training_has_the_losses_of_an_unsharded_one(compared, stage):
    plain, sharded = (json.loads((compared / k / f"{stage}.json").read_text()) for k in ("plain", "sharded"))
    assert len(plain["history"]) == 2 and sharded["sharded"] and not plain["sharded"]
    for expected, found in zip(plain["history"], sharded["history"], strict=True):
        assert found == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("name", FILES)
def test_sharded_files_hold_whole_weights(compared, name):
    plain, sharded = load_file(compared / "plain" / name), load_file(compared / "sharded" / name)
    assert {k: v.shape for k, v in plain.items()} == {k: v.shape for k, v in sharded.items()}
    far = max(float((plain[k] - sharded[k]).abs().max()) for k in plain)
    assert far < 1e-2  # Adam's first steps are signs: a tiny gradient may point either way


@pytest.mark.parametrize("name", FILES)
def test_a_sharded_training_resumes_bit_for_bit(compared, name):
    expected, found = (load_file(compared / k / name) for k in ("sharded", "resumed"))
    assert all(torch.equal(found[k], v) for k, v in expected.items())


def test_sharded_weights_load_into_a_whole_model(compared):
    import tiny_training  # noqa: F401, makes its preset known

    from wallwm_model.deploy.export import load_trained

    model, spec = load_trained(compared / "sharded")
    stored = load_file(compared / "sharded" / "action-ema.safetensors")
    own = model.state_dict()
    assert spec.preset == "tiny" and all(torch.equal(own[k], v.half().float()) for k, v in stored.items())


def test_a_sharded_training_is_not_resumed_whole(compared):
    for rank in range(2):
        kind, sentence = json.loads((compared / f"refused-{rank}.json").read_text())
        assert kind == "SpecError" and "must be resumed sharded, as it was begun; found unsharded" in sentence
