"""Camera pictures from MuJoCo: EGL, else OSMesa, else ray casting, so that GL is never required.

OpenGL's platform is fixed when its Python package is first imported and a bad driver may end the process,
so that each way is tried in a short process of its own before this one commits to it.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import numpy as np

from wallwm_model.errors import SimulationError

RENDERERS = ("egl", "osmesa", "rays")
_LIBRARIES = {"egl": ("libEGL.so.1", "libGL.so.1"), "osmesa": ("libOSMesa.so.8", "libOSMesa.so.6")}
_KNOWN = "WALLWM_RENDERER"  # what an earlier process of this run found to work
RAY_SIZE = 64  # rays per picture side; larger pictures repeat pixels


class Renderer(Protocol):
    """Draws one camera after another."""

    name: str

    def draw(self, data, camera: str) -> np.ndarray:
        """(H, W, 3) uint8 RGB picture of one camera of the model."""

    def close(self) -> None:
        """Release the graphics context."""


def choose(requested: str = "auto") -> str:
    """The first renderer that works here, or `requested` itself when it does.

    Raises:
        SimulationError: unknown name, or the requested one does not work on this machine.
    """
    if requested not in ("auto", *RENDERERS):
        raise SimulationError(f"renderer must be auto, {', '.join(RENDERERS)}; found {requested!r}")
    known = os.environ.get(_KNOWN, "")
    if requested == "auto" and known in RENDERERS:
        return _commit(known, found=True)
    for name in RENDERERS if requested == "auto" else (requested,):
        if name == "rays" or name == known or _works(name):
            return _commit(name, found=requested == "auto")
    raise SimulationError(
        f"renderer {requested} needs {' and '.join(_LIBRARIES[requested])} and a working driver; found none "
        "(renderer auto falls back to ray casting)"
    )


def _commit(name: str, found: bool) -> str:
    """Set this process up before mujoco is imported; what was found by trying is kept for children too."""
    if found:
        os.environ[_KNOWN] = name
    os.environ.setdefault("MUJOCO_GL", "disable" if name == "rays" else name)
    return name


def _works(name: str) -> bool:
    """Whether a fresh process can draw a picture with GL platform `name`."""
    loaded = []
    for library in _LIBRARIES[name]:
        try:
            ctypes.CDLL(library)
            loaded.append(library)
        except OSError:
            continue
    if not loaded or (name == "egl" and len(loaded) < 2):
        return False
    root = Path(__file__).parents[2]
    paths = [str(root), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "MUJOCO_GL": name, "PYTHONPATH": os.pathsep.join(p for p in paths if p)}
    try:
        probe = [sys.executable, "-m", "wallwm_model.sim.rendering", name]
        return subprocess.run(probe, env=env, capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def create(name: str, model, size: int) -> Renderer:
    """A renderer of square pictures [px] for a model; `name` as found by `choose`."""
    if name == "rays":
        return RayRenderer(model, size)
    return GlRenderer(name, model, size, size)


class GlRenderer:
    """MuJoCo's own OpenGL renderer, without shadows, reflections or multi-sampling; for one thread."""

    def __init__(self, name: str, model, width: int, height: int) -> None:
        import mujoco

        if name == "egl":
            from mujoco.egl import GLContext
        else:
            from mujoco.osmesa import GLContext
        self.name = name
        self._mujoco, self._model = mujoco, model
        self._gl = GLContext(width, height)
        self._gl.make_current()
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(model, maxgeom=300)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._view, self._option = mujoco.MjvCamera(), mujoco.MjvOption()
        self._view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._pixels = np.empty((height, width, 3), np.uint8)
        self._open = True
        atexit.register(self.close)  # while the interpreter is still whole, or OSMesa complains

    def draw(self, data, camera: str) -> np.ndarray:
        """(H, W, 3) uint8 RGB picture of one camera of the model."""
        mujoco = self._mujoco
        self._gl.make_current()
        self._view.fixedcamid = self._model.camera(camera).id
        every = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(self._model, data, self._option, None, self._view, every, self._scene)
        mujoco.mjr_render(self._rect, self._scene, self._context)
        mujoco.mjr_readPixels(self._pixels, None, self._rect, self._context)
        return self._pixels[::-1].copy()

    def close(self) -> None:
        """Release the graphics context; twice does no harm."""
        if self._open:
            self._open = False
            atexit.unregister(self.close)
            self._context.free()
            self._gl.free()


class RayRenderer:
    """Lambert shading of cast rays: no graphics library at all."""

    name = "rays"
    _SKY = np.array((0.63, 0.69, 0.75))

    def __init__(self, model, size: int) -> None:
        import mujoco

        self._mujoco, self._model, self._size = mujoco, model, size
        self._rays = RAY_SIZE if size % RAY_SIZE == 0 else size
        self._head = np.asarray(model.vis.headlight.diffuse)
        self._ambient = np.asarray(model.vis.headlight.ambient)

    def draw(self, data, camera: str) -> np.ndarray:
        """(H, W, 3) uint8 RGB picture of one camera of the model."""
        model, n, index = self._model, self._rays, self._model.camera(camera).id
        material = model.geom_matid
        colours = np.where(material[:, None] >= 0, model.mat_rgba[material, :3], model.geom_rgba[:, :3])
        lights = -model.light_dir / np.linalg.norm(model.light_dir, axis=1, keepdims=True)
        half = np.tan(np.radians(model.cam_fovy[index]) / 2)
        axis = ((np.arange(n) + 0.5) / n * 2 - 1) * half
        x, y = np.meshgrid(axis, -axis)
        local = np.stack([x, y, -np.ones_like(x)], axis=-1).reshape(-1, 3)
        local /= np.linalg.norm(local, axis=1, keepdims=True)
        rays = local @ data.cam_xmat[index].reshape(3, 3).T
        geom, distance = np.empty(n * n, np.int32), np.empty(n * n)
        normal = np.empty(3 * n * n)
        self._mujoco.mj_multiRay(
            model, data, data.cam_xpos[index], np.ascontiguousarray(rays).ravel(), None, True, -1,
            geom, distance, normal, n * n, 20.0,
        )  # fmt: skip
        normal = normal.reshape(-1, 3)
        light = self._ambient + np.clip(-(rays * normal).sum(1), 0, None)[:, None] * self._head
        for direction, diffuse in zip(lights, model.light_diffuse):
            light = light + np.clip(normal @ direction, 0, None)[:, None] * diffuse
        colour = np.where(geom[:, None] >= 0, colours[geom] * light, self._SKY)
        small = np.clip(colour * 255, 0, 255).astype(np.uint8).reshape(n, n, 3)
        return small.repeat(self._size // n, axis=0).repeat(self._size // n, axis=1)

    def close(self) -> None:
        """Nothing to release."""


def _probe(name: str) -> None:
    """Draw one picture, or fail."""
    import mujoco

    xml = "<mujoco><worldbody><geom size='1'/><camera name='c' pos='0 0 4'/></worldbody></mujoco>"
    model = mujoco.MjModel.from_xml_string(xml)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    if not GlRenderer(name, model, 32, 32).draw(data, "c").any():
        sys.exit(1)


if __name__ == "__main__":
    _probe(sys.argv[1])
    os._exit(0)  # some drivers fail while the interpreter ends, after the picture was drawn
