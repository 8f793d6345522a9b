"""What has to be installed or built for a command, and what of it is already there."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from wallwm_ros.setup.paths import Paths
from wallwm_ros.setup.underlay import Underlay

# Layer: the requirement files it consists of, in order of installation.
LAYERS = {
    "runtime": ("ros.txt", "build.txt", "runtime.txt"),
    "test": ("test.txt",),
    "train": ("train.txt",),
}
NEEDS = {
    "test": ("test", "train"),
    "train": ("train",),
    "export": ("train",),
    "bench model": ("train",),
    "bench engine": ("train",),
    "bench lengths": ("train",),
}
PACKAGE_FILES = ("package.xml", "setup.py", "setup.cfg")
STEP_NAMES = {
    "environment": "Python environment",
    "ros.txt": "ROS 2 Kilted",
    "build.txt": "build tools",
    "runtime.txt": "runtime packages",
    "test.txt": "test packages",
    "train.txt": "training packages (torch)",
    "messages": "building wallwm_msgs",
    "package": "installing wallwm_ros",
}


@dataclass(frozen=True)
class Plan:
    """Steps in order, each with the digest that the stamp shall hold once it is done."""

    steps: tuple[tuple[str, str], ...]
    clear: bool  # the environment has to be made anew


def layers_of(*words: str) -> tuple[str, ...]:
    """Layers that a command line needs, by its first word or its first two; every one needs the runtime."""
    return ("runtime", *NEEDS.get(" ".join(words[:2]), NEEDS.get(" ".join(words[:1]), ())))


def make_plan(paths: Paths, layers: Iterable[str], underlay: Underlay | None) -> Plan:
    """Compare what the stamp says with what the files now say."""
    done = read_stamp(paths.stamp)
    wanted = {"environment": _digest([repr((_python(), str(paths.root), underlay))])}
    for layer in layers:
        for name in LAYERS[layer]:
            if name == "ros.txt" and underlay is not None:
                continue
            wanted[name] = _digest([(paths.requirements / name).read_bytes()])
        if layer == "runtime":
            wanted["messages"] = _messages_digest(paths, wanted.get("ros.txt", ""))
            wanted["package"] = _digest((paths.root / name).read_bytes() for name in PACKAGE_FILES)
    clear = (
        done.get("environment") != wanted["environment"]
        or paths.unfinished.exists()
        or not paths.python.exists()
    )
    steps = [(name, digest) for name, digest in wanted.items() if clear or done.get(name) != digest]
    built = {"messages": _messages_built(paths), "package": _package_built(paths)}
    steps += [(name, wanted[name]) for name in built if not built[name] and name not in dict(steps)]
    return Plan(tuple(steps), clear)


def read_stamp(stamp: Path) -> dict[str, str]:
    """What has been done; empty when nothing is known."""
    try:
        content = json.loads(stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_stamp(stamp: Path, step: str, digest: str) -> None:
    """Note a finished step; a reader sees the old stamp or the new one, never half of one."""
    content = {**read_stamp(stamp), step: digest}
    new = stamp.with_suffix(".new")
    new.write_text(json.dumps(content, indent=1), encoding="utf-8")
    os.replace(new, stamp)


def _messages_digest(paths: Paths, ros: str) -> str:
    sources = sorted(path for path in paths.messages.rglob("*") if path.is_file())
    parts: list[bytes | str] = [ros]
    for path in sources:
        parts += [str(path.relative_to(paths.messages)), path.read_bytes()]
    return _digest(parts)


def _messages_built(paths: Paths) -> bool:
    return any((paths.install / "wallwm_msgs" / "lib").glob("libwallwm_msgs__rosidl_generator_py.so"))


def _package_built(paths: Paths) -> bool:
    return (paths.install / "wallwm_ros" / "share" / "wallwm_ros" / "package.xml").exists()


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _digest(parts: Iterable[bytes | str]) -> str:
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()[:16]
