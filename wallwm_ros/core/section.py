"""Sections of a configuration file, read strictly: a mistake is named with place, key, found and valid."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from wallwm_model.errors import ConfigError
from wallwm_ros.core.options import unknown


class Section:
    """A mapping in the file, with its place for messages; every key must be asked for."""

    def __init__(self, body: Any, where: str, keys: tuple[str, ...]) -> None:
        if not isinstance(body, dict):
            raise ConfigError(f"{where}: must be a mapping with {', '.join(keys)}; found {body!r}")
        for key in body:
            if key not in keys:
                raise ConfigError(f"{where}: {unknown('key', key, keys)}")
        self.body, self.where = body, where

    def fail(self, key: str, expected: str, found: Any) -> ConfigError:
        """The error for one key."""
        return ConfigError(f"{self.where}: {key} must be {expected}; found {found!r}")

    def text(self, key: str, default: str | None = None, choices: Iterable[str] = ()) -> str:
        """Text under `key`; required if there is no default."""
        value = self.body.get(key, default)
        choices = tuple(choices)
        if (
            not isinstance(value, str)
            or (default is None and not value)
            or (choices and value not in choices)
        ):
            raise self.fail(key, f"one of {', '.join(choices)}" if choices else "text", value)
        return value

    def topic(self, key: str, required: bool = True) -> str:
        """An absolute topic name."""
        value = self.text(key, None if required else "")
        if value and not value.startswith("/"):
            raise self.fail(key, "a topic that starts with /", value)
        return value

    def number(self, key: str, positive: bool = False) -> float:
        """A finite number."""
        value = self.body.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.fail(key, "a finite number", value)
        if positive and value <= 0:
            raise self.fail(key, "greater than 0", value)
        return float(value)

    def interval(self, key: str, default: list[float] | None = None) -> tuple[float, float]:
        """[low, high]."""
        value = self.body.get(key, default)
        if (
            not isinstance(value, list)
            or len(value) != 2
            or any(isinstance(end, bool) or not isinstance(end, int | float) for end in value)
            or not -math.inf < value[0] < value[1] < math.inf
        ):
            raise self.fail(key, "[low, high] with low < high", value)
        return float(value[0]), float(value[1])

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.body.get(key, default)
        if not isinstance(value, bool):
            raise self.fail(key, "true or false", value)
        return value

    def names(self, key: str, default: list[str] | None = None) -> tuple[str, ...]:
        """A list of unique names."""
        value = self.body.get(key, default)
        if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
            raise self.fail(key, "a list of names", value)
        if len(set(value)) != len(value):
            raise self.fail(key, "a list of names without repetition", value)
        return tuple(value)

    def entries(self, key: str) -> list[Any]:
        """A list of mappings, not empty."""
        value = self.body.get(key)
        if not isinstance(value, list) or not value:
            raise self.fail(key, "a list with at least one entry", value)
        return value
