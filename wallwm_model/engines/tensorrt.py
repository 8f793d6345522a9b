"""TensorRT itself: an engine per graph, built once per GPU and version, replayed as a CUDA graph."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import tensorrt as trt

from wallwm_model.bundle import WEIGHTS, graphs_in, read_manifest
from wallwm_model.engines.cache import cache_folder
from wallwm_model.engines.cuda_graph import CudaGraphs, device_name
from wallwm_model.engines.graphs import GraphEngine
from wallwm_model.engines.tensorrt_build import build
from wallwm_model.errors import EngineError
from wallwm_model.spec import ModelSpec


def load(folder: Path, spec: ModelSpec, threads: int) -> GraphEngine:
    """Build or fetch the engine of each graph of a verified bundle; the GPU does the work, `threads` mean nothing.

    Raises:
        EngineError: TensorRT does not take a graph, or the GPU has no room.
    """
    runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
    hashes, gpu = read_manifest(folder)["files"], device_name()
    graphs = {}
    for name, path in graphs_in(folder).items():
        plan = cached_plan(path, spec, plan_key([hashes[path.name], hashes[WEIGHTS]], gpu))
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise EngineError(f"TensorRT must load the engine that it built for {path.name}; it does not")
        graphs[name] = CudaGraphs(trt, engine)
    return GraphEngine("tensorrt", spec, graphs)


def plan_key(hashes: list[str], gpu: str) -> str:
    """Name of a built engine: another graph, other weights, GPU or version, another name."""
    text = "\n".join([*hashes, gpu, trt.__version__])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def cached_plan(path: Path, spec: ModelSpec, key: str) -> bytes:
    """The built engine of a graph, from this user's cache or new.

    A file beside it holds its SHA-256: a half-written or damaged engine is built again.
    """
    place = cache_folder("tensorrt") / f"{path.stem}-{key}.plan"
    mark = place.with_suffix(".sha256")
    if place.is_file() and mark.is_file():
        plan = place.read_bytes()
        if hashlib.sha256(plan).hexdigest() == mark.read_text().strip():
            return plan
    plan = build(trt, path, spec)
    _put(place, plan)
    _put(mark, hashlib.sha256(plan).hexdigest().encode())
    return plan


def _put(place: Path, content: bytes) -> None:
    """Write a file at once, so that no other process sees half of it."""
    handle, name = tempfile.mkstemp(dir=place.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    os.replace(name, place)
