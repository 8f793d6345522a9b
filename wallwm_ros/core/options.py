"""Options: dataclass fields that know their description, unit and range, and how to refuse a wrong value."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from wallwm_model.errors import ConfigError

Config = TypeVar("Config")


@dataclass(frozen=True)
class Option:
    """One parameter as a user sees it.

    Attributes:
        name: parameter name.
        type: `bool`, `int`, `float` or `str`.
        default: its value where nothing overrides it.
        description: one line for people.
        unit: e.g. `Hz`, `s`, `ms`; empty where it has none.
        low, high: allowed range, both included; None = open.
        choices: allowed values, if they can be listed.
        beginnings: text that begins with one of these is allowed beside the choices.
        live: may change while the node is configured; others only before.
    """

    name: str
    type: type
    default: Any
    description: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] = ()
    beginnings: tuple[str, ...] = ()
    live: bool = False

    @property
    def help(self) -> str:
        """Description with unit and valid values, e.g. `control rate [Hz], 50 to 500`."""
        unit = f" [{self.unit}]" if self.unit else ""
        return f"{self.description}{unit}" + (f"; {self.valid}" if self.valid else "")

    @property
    def valid(self) -> str:
        """What is allowed, in words; empty = anything of its type."""
        if self.choices:
            listed = [*map(str, self.choices), *(f"{text}..." for text in self.beginnings)]
            return "one of " + ", ".join(listed)
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}"
        if self.low is not None:
            return f"at least {self.low:g}"
        return f"at most {self.high:g}" if self.high is not None else ""

    @property
    def said_false(self) -> bool:
        """YAML, and with it every ROS command line, reads the choice `off` as false unless it is quoted."""
        return "off" in self.choices

    def check(self, value: Any) -> Any:
        """`value` converted to the option's type (an int is a valid float, false may stand for `off`).

        Raises:
            ConfigError: wrong type, out of range, or none of the choices.
        """
        if self.type is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if value is False and self.said_false:
            value = "off"
        if type(value) is not self.type or (self.type is float and not math.isfinite(value)):
            raise ConfigError(f"{self.name} must be {_WORDS[self.type]}{self._valid_clause}; found {value!r}")
        outside = (self.low is not None and value < self.low) or (self.high is not None and value > self.high)
        known = value in self.choices or (self.beginnings and value.startswith(self.beginnings))
        if outside or (self.choices and not known):
            unit = f" [{self.unit}]" if self.unit else ""
            raise ConfigError(f"{self.name}{unit} must be {self.valid}; found {value!r}")
        return value

    @property
    def _valid_clause(self) -> str:
        return f", {self.valid}" if self.valid else ""


_WORDS = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text"}


def option(default: Any, description: str, unit: str = "", **limits: Any) -> Any:
    """A dataclass field with an `Option` behind it; `limits`: low, high, choices, beginnings, live."""
    metadata = {"description": description, "unit": unit, **limits}
    return dataclasses.field(default=default, metadata=metadata)


def options(config: type | object) -> tuple[Option, ...]:
    """The options of a configuration class, in order."""
    return tuple(Option(f.name, type(f.default), f.default, **f.metadata) for f in dataclasses.fields(config))


def check_all(config: object) -> None:
    """Check every option of an instance in place, converting ints to floats where floats are meant.

    Raises:
        ConfigError: the first wrong option.
    """
    for item in options(config):
        object.__setattr__(config, item.name, item.check(getattr(config, item.name)))


def build(kind: type[Config], values: Mapping[str, Any], where: str = "") -> Config:
    """A checked configuration of class `kind`: defaults overridden by `values`.

    Raises:
        ConfigError: unknown name or wrong value; the message starts with `where`.
    """
    prefix = f"{where}: " if where else ""
    names = [item.name for item in options(kind)]
    for name in values:
        if name not in names:
            raise ConfigError(prefix + unknown("parameter", name, names))
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError(f"{prefix}{error}") from None


def unknown(what: str, found: str, valid: Iterable[str]) -> str:
    """Sentence for an unknown name, with near misses and the valid ones."""
    valid = list(valid)
    near = difflib.get_close_matches(str(found), valid, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"unknown {what} {found!r}{hint}; valid: {', '.join(valid)}"
