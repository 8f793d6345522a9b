"""Golden inputs: what a model was asked at export, and what it answered, so that an engine can be judged by it.

A bundle holds them as `golden.npz`, plain arrays. Large answers are thinned out; a changed weight shows anyway.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wallwm_model.engines.base import Engine, Look
from wallwm_model.errors import BundleError
from wallwm_model.spec import ModelSpec

SEED = 0  # of the chunks' noise
KEPT = 2048  # values of a large answer
MOST = 1 << 28  # bytes of all arrays; more is no golden file
FIELDS = ("images", "state", "tokens", "mask", "history", "chunk", "route")
Answers = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """One question with its answers.

    Attributes:
        look: what was seen.
        steps: lengths of the chunks that were asked for.
        expected: name -> what the exported graphs gave, on ONNX Runtime.
        exact: name -> what the float32 network gave; the same for a bundle of float32.
    """

    look: Look
    steps: tuple[int, ...]
    expected: Answers
    exact: Answers


def ask(engine: Engine, look: Look, steps: Sequence[int]) -> Answers:
    """Everything that an engine says of one look, as plain arrays."""
    context = engine.observe(look)
    found = {
        "video": _thin(context.tensors["video"]),
        "positions": np.asarray(context.tensors["positions"]),
        "remaining": np.array([context.remaining_steps], np.float32),
    }
    for count in steps:
        found[f"actions_{count}"] = engine.act(context, count, engine.spec.euler_steps, SEED)
    if context.latents is not None:
        found["latents"] = _thin(context.latents)
        found["text"] = np.array([engine.explain(context.latents)])
    return found


def steps_of(spec: ModelSpec) -> tuple[int, ...]:
    """The lengths that are asked for: a short event, a usual one, the longest."""
    return tuple(sorted({min(5, spec.horizon), min(24, spec.horizon), spec.horizon}))


def write(path: Path, cases: Sequence[Case]) -> None:
    """Write golden inputs and answers."""
    arrays: dict[str, np.ndarray] = {}
    for number, case in enumerate(cases):
        for name in FIELDS:
            if (value := getattr(case.look, name)) is not None:
                arrays[f"{number}/look/{name}"] = np.asarray(value)
        arrays[f"{number}/steps"] = np.asarray(case.steps)
        arrays |= {f"{number}/expected/{name}": value for name, value in case.expected.items()}
        arrays |= {f"{number}/exact/{name}": value for name, value in case.exact.items()}
    np.savez_compressed(path, **arrays)


def read(path: Path) -> list[Case]:
    """Read a golden file; nothing in it is executed.

    Raises:
        BundleError: no archive of plain arrays, an absurdly large one, or one without its parts.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MOST:
            raise BundleError(f"golden inputs must be at most {MOST} bytes; found {size} in {path}")
        with np.load(path, allow_pickle=False) as arrays:
            return _cases(dict(arrays))
    except (zipfile.BadZipFile, ValueError, KeyError, TypeError, OSError, EOFError, MemoryError) as error:
        raise BundleError(f"{path} must hold golden inputs as plain arrays; found {error}") from None


def _cases(arrays: Mapping[str, np.ndarray]) -> list[Case]:
    groups: dict[int, dict[str, np.ndarray]] = {}
    for name, value in arrays.items():
        number, _, rest = name.partition("/")
        groups.setdefault(int(number), {})[rest] = value
    return [_case(groups[number]) for number in sorted(groups)]


def _case(group: Mapping[str, np.ndarray]) -> Case:
    look = {name.removeprefix("look/"): value for name, value in group.items() if name.startswith("look/")}
    look["chunk"], look["route"] = int(look["chunk"]), str(look["route"])
    parts = (
        {name.removeprefix(f"{part}/"): value for name, value in group.items() if name.startswith(f"{part}/")}
        for part in ("expected", "exact")
    )
    return Case(Look(**look), tuple(int(count) for count in group["steps"]), *parts)


def errors(found: Answers, wanted: Answers) -> dict[str, float]:
    """Name -> root mean square error relative to the answer's own size; 0 or 1 for words; inf if it is not there."""
    out = {}
    for name, expected in wanted.items():
        value = found.get(name)
        if value is None or value.shape != expected.shape:
            out[name] = float("inf")
        elif expected.dtype.kind == "U":
            out[name] = float(not np.array_equal(value, expected))
        else:
            size = float(np.sqrt(np.mean(np.square(expected, dtype=np.float64))))
            error = float(np.sqrt(np.mean(np.square(value.astype(np.float64) - expected))))
            out[name] = error / max(size, 1e-6) if np.isfinite(error) else float("inf")
    return out


def _thin(values: np.ndarray) -> np.ndarray:
    flat = np.asarray(values, np.float32).ravel()
    return flat[:: max(1, len(flat) // KEPT)]
