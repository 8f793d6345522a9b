"""A session of ONNX Runtime whose inputs and outputs are bound to a device."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort

# What stays the same over all denoising steps of a chunk; the largest of it is the video's keys and values.
LASTING = ("video", "state", "window", "images", "text", "mask")


class BoundGraph:
    """A graph as a function; inputs that come again unchanged are not copied to the device again.

    Args:
        device: where inputs and outputs are bound, `cpu` or `cuda`.
    """

    def __init__(self, session: ort.InferenceSession, device: str):
        self._session, self._device = session, device
        self._names = [output.name for output in session.get_outputs()]
        self._there: dict[str, tuple[np.ndarray, ort.OrtValue]] = {}
        self.copies = 0  # to the device, for tests

    def __call__(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        binding = self._session.io_binding()
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, self._placed(name, value))
        for name in self._names:
            binding.bind_output(name, self._device)
        self._session.run_with_iobinding(binding)
        return dict(zip(self._names, binding.copy_outputs_to_cpu()))

    def _placed(self, name: str, value: np.ndarray) -> ort.OrtValue:
        """An input on the device. The array itself is remembered, so that its identity means the same content."""
        kept = self._there.get(name)
        if kept is not None and kept[0] is value:
            return kept[1]
        placed = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value), self._device, 0)
        self.copies += 1
        if name in LASTING:
            self._there[name] = (value, placed)
        return placed
