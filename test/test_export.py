"""The exported graphs give what torch gives, on every installed engine."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="export needs the training environment")
pytest.importorskip("onnxscript")

from model_fixtures import small_model, small_spec  # noqa: E402

from wallwm_model.bundle import write_manifest  # noqa: E402
from wallwm_model.deploy.export import export_graphs  # noqa: E402
from wallwm_model.engines import ENGINES, load_engine  # noqa: E402
from wallwm_model.flow import euler  # noqa: E402
from wallwm_model.network.model import Act, Observe  # noqa: E402

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    model, spec = small_model(), small_spec()
    export_graphs(model.requires_grad_(False), spec, folder)
    (folder / "spec.json").write_text(spec.to_json())
    write_manifest(folder)
    return folder, model, spec


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("steps", [4, 37, 64])
def test_engine_equals_torch(bundle, name, steps):
    folder, model, spec = bundle
    engine = load_engine(folder, name, threads=1)
    rng = np.random.default_rng(steps)
    images = rng.integers(0, 255, (3, 64, 64, 3), dtype=np.uint8)
    state = rng.standard_normal(14).astype(np.float32)
    tokens = spec.tokenise("reach the red cube with the left arm")
    context = engine.observe(images, state, tokens, 0)
    video, remaining, positions = Observe(model, spec.horizon)(
        torch.from_numpy(images)[None], torch.from_numpy(tokens)[None]
    )
    assert np.abs(context.tensors["video"] - video.numpy()).max() < 1e-4
    assert abs(context.remaining_steps - float(remaining)) < 1e-3
    assert np.abs(context.tensors["positions"] - positions[0].numpy()).max() < 1e-4
    act = Act(model)

    def clean(x, t):
        return act(torch.from_numpy(x), torch.tensor([t]), video, torch.from_numpy(state)[None]).numpy()

    noise = np.random.default_rng(7).standard_normal((1, steps, 14), dtype=np.float32)
    expected = euler(clean, noise, 5)[0]
    assert np.abs(engine.act(context, steps, 5, 7) - expected).max() < 1e-4
