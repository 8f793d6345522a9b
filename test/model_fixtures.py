"""A small, untrained model and its specification, shared by the model tests."""

from __future__ import annotations

from wallwm_model.captions import vocabulary
from wallwm_model.spec import CameraSpec, ModelSpec, Normalisation


def small_spec(joints: int = 14) -> ModelSpec:
    cameras = ("head_cam", "wrist_cam_left", "wrist_cam_right")
    return ModelSpec(
        name="nano",
        robot="sim",
        cameras=tuple(CameraSpec(name, 64, 64, "world", fx=1.0, fy=1.0) for name in cameras),
        joints=tuple(f"joint_{i}" for i in range(joints)),
        rate_hz=20.0,
        horizon=64,
        steps_per_latent=16,
        normalisation=Normalisation((0.1,) * joints, (0.5,) * joints),
        vocabulary=vocabulary(),
    )


def small_model(seed: int = 0, *, perturbed: bool = True, prediction: str = "x"):
    """An untrained `WallWM`; `perturbed` moves it off its zero initialisations, so that every path counts."""
    import torch

    from wallwm_model.network.config import NetworkConfig
    from wallwm_model.network.model import WallWM

    torch.manual_seed(seed)
    config = NetworkConfig(layers=2, width=48, heads=2, ffn=96, keypoints=8, text_width=32, prediction=prediction)
    model = WallWM(config, small_spec())
    if perturbed:
        for parameter in model.parameters():
            parameter.data += 0.02 * torch.randn_like(parameter)
    return model.half().float().eval()
