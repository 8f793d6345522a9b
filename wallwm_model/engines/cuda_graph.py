"""A TensorRT engine as a function: pinned host memory, buffers that stay, one CUDA graph per set of shapes."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from cuda.bindings import runtime as cuda

from wallwm_model.errors import EngineError

Arrays = dict[str, np.ndarray]


@dataclass
class Buffer:
    """One tensor on both sides.

    Attributes:
        host: pinned memory, as an array of the tensor's shape.
        device: address.
        address: of the pinned memory.
    """

    host: np.ndarray
    device: int
    address: int


class Replay:
    """An engine for one set of input shapes: copy in, run, copy out, recorded once and replayed.

    Args:
        shapes: input name -> shape.

    Raises:
        EngineError: shapes outside the engine's profile, or no memory on the GPU.
    """

    def __init__(self, trt: ModuleType, engine, stream: int, shapes: dict[str, tuple[int, ...]]):
        self._stream, self._context = stream, engine.create_execution_context()
        for name, shape in shapes.items():
            if not self._context.set_input_shape(name, shape):
                raise EngineError(
                    f"TensorRT takes no {name} of shape {shape}: it lies outside what was built"
                )
        self.inputs, self.outputs = {}, {}
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            shape = tuple(self._context.get_tensor_shape(name))
            buffer = _buffer(shape, np.dtype(trt.nptype(engine.get_tensor_dtype(name))))
            self._context.set_tensor_address(name, buffer.device)
            given = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            (self.inputs if given else self.outputs)[name] = buffer
        self._enqueue()  # TensorRT allocates at its first run, which must not be recorded
        check(cuda.cudaStreamSynchronize(stream))
        self._recorded = self._record()

    def __call__(self, inputs: Arrays) -> Arrays:
        for name, value in inputs.items():
            np.copyto(self.inputs[name].host, value, casting="same_kind")
        check(cuda.cudaGraphLaunch(self._recorded, self._stream))
        check(cuda.cudaStreamSynchronize(self._stream))
        return {name: buffer.host.copy() for name, buffer in self.outputs.items()}

    def _record(self):
        """Copies and kernels as one graph."""
        mode = cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        check(cuda.cudaStreamBeginCapture(self._stream, mode))
        try:
            self._copy(self.inputs, cuda.cudaMemcpyKind.cudaMemcpyHostToDevice)
            self._enqueue()
            self._copy(self.outputs, cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost)
        finally:
            graph = check(cuda.cudaStreamEndCapture(self._stream))
        return check(cuda.cudaGraphInstantiate(graph, 0))

    def _copy(self, buffers: dict[str, Buffer], kind) -> None:
        to_device = kind == cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        for buffer in buffers.values():
            ends = (buffer.device, buffer.address) if to_device else (buffer.address, buffer.device)
            check(cuda.cudaMemcpyAsync(*ends, buffer.host.nbytes, kind, self._stream))

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._stream):
            raise EngineError("TensorRT could not run the engine")

    def close(self) -> None:
        """Free the graph and all memory."""
        check(cuda.cudaGraphExecDestroy(self._recorded))
        for buffer in (*self.inputs.values(), *self.outputs.values()):
            check(cuda.cudaFree(buffer.device))
            check(cuda.cudaFreeHost(buffer.address))


class CudaGraphs:
    """A graph as a function of arrays; each new set of shapes (a chunk of another length) is recorded once."""

    MOST = 16  # recordings kept; the least recently used goes first

    def __init__(self, trt: ModuleType, engine):
        self._trt, self._engine = trt, engine
        self._stream = check(cuda.cudaStreamCreateWithFlags(cuda.cudaStreamNonBlocking))
        self._recorded: dict[tuple, Replay] = {}

    def __call__(self, inputs: Arrays) -> Arrays:
        key = tuple((name, value.shape) for name, value in sorted(inputs.items()))
        replay = self._recorded.pop(key, None)
        if replay is None:
            shapes = {name: tuple(value.shape) for name, value in inputs.items()}
            if len(self._recorded) >= self.MOST:
                self._recorded.pop(next(iter(self._recorded))).close()
            replay = Replay(self._trt, self._engine, self._stream, shapes)
        self._recorded[key] = replay
        return replay(inputs)


def _buffer(shape: tuple[int, ...], dtype: np.dtype) -> Buffer:
    size = max(1, int(np.prod(shape)) * dtype.itemsize)
    address = int(check(cuda.cudaHostAlloc(size, cuda.cudaHostAllocDefault)))
    memory = (ctypes.c_uint8 * size).from_address(address)
    host = np.frombuffer(memory, np.uint8)[: int(np.prod(shape)) * dtype.itemsize].view(dtype).reshape(shape)
    return Buffer(host, int(check(cuda.cudaMalloc(size))), address)


def device_name() -> str:
    """Name and compute capability of the GPU that is used."""
    properties = check(cuda.cudaGetDeviceProperties(check(cuda.cudaGetDevice())))
    name = properties.name.decode() if isinstance(properties.name, bytes) else str(properties.name)
    return f"{name.strip(chr(0))} {properties.major}.{properties.minor}"


def check(answer: tuple):
    """The value of a CUDA call.

    Raises:
        EngineError: it failed.
    """
    status, *values = answer if isinstance(answer, tuple) else (answer,)
    if status != cuda.cudaError_t.cudaSuccess:
        raise EngineError(f"the GPU failed: {status.name}")
    return values[0] if values else None
