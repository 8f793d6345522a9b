"""ROS parameters of a node, declared from a configuration class and read back as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    ParameterType,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from wallwm_model.errors import ConfigError
from wallwm_ros.core.options import Option, build, options, unknown

Config = TypeVar("Config")
# Parameters that ROS itself declares, some of them later.
_FOREIGN = ("use_sim_time", "qos_overrides.", "start_type_description_service")
_TYPES = {
    bool: ParameterType.PARAMETER_BOOL,
    int: ParameterType.PARAMETER_INTEGER,
    float: ParameterType.PARAMETER_DOUBLE,
    str: ParameterType.PARAMETER_STRING,
}
_WIDEST = {int: 2**62, float: 1e12}


class Parameters(Generic[Config]):
    """A node's parameters.

    A wrong value from the command line or a YAML file does not end the node: `read` refuses it with the
    reason, so that `configure` fails, and `ros2 param set` can put it right. A wrong value set later is
    refused at once.

    Attributes:
        locked: while true, only live options may change; set it from configure to cleanup.
    """

    def __init__(
        self, node: Node, kind: type[Config], on_change: Callable[[Config], None] | None = None
    ) -> None:
        """Declare the options of `kind` on `node`; `on_change` hears of live changes found right."""
        self._node, self._kind, self._on_change = node, kind, on_change
        self._options = {item.name: item for item in options(kind)}
        self._problems: dict[str, str] = {}
        self.locked = False
        for item in self._options.values():
            self._declare(item)
        self._check_names()
        node.add_on_set_parameters_callback(self._on_set)

    def read(self) -> Config:
        """The present values, checked.

        Raises:
            ConfigError: a value from the outside was wrong, or the values do not go together.
        """
        if self._problems:
            raise ConfigError("; ".join(self._problems.values()))
        return build(self._kind, {name: self._value(name) for name in self._options})

    def _value(self, name: str) -> Any:
        return self._node.get_parameter(name).value

    def _declare(self, item: Option) -> None:
        # Declared without type or range, so that a wrong value from outside can be read and named.
        self._node.declare_parameter(item.name, item.default, ParameterDescriptor(dynamic_typing=True))
        given = value = self._value(item.name)
        try:
            value = item.check(given)
        except ConfigError as error:
            self._problems[item.name], value = str(error), item.default
        if value != given:
            self._node.set_parameters([Parameter(item.name, value=value)])
        self._node.set_descriptor(item.name, _descriptor(item))

    def _check_names(self) -> None:
        """ROS passes over parameters that no one declares; a misspelt one must not go unnoticed."""
        for name in getattr(self._node, "_parameter_overrides", {}):
            if not self._node.has_parameter(name) and not name.startswith(_FOREIGN):
                self._problems[name] = unknown("parameter", name, self._options)

    def _on_set(self, changes: list[Parameter]) -> SetParametersResult:
        own = {p.name: p.value for p in changes if p.name in self._options}
        if not own:
            return SetParametersResult(successful=True)
        try:
            for name, value in own.items():
                self._options[name].check(value)
                if self.locked and not self._options[name].live and value != self._value(name):
                    raise ConfigError(f"{name} can change only while the node is unconfigured")
            values = {name: self._value(name) for name in self._options if name not in self._problems}
            config = build(self._kind, values | own)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        for name in own:
            self._problems.pop(name, None)
        if self.locked and self._on_change is not None:
            self._on_change(config)
        return SetParametersResult(successful=True)


def _descriptor(item: Option) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        name=item.name, type=_TYPES[item.type], description=item.help, additional_constraints=item.valid
    )
    # A whole number is a valid value of a float option, false of one with the choice `off`; the option's own
    # check does the rest.
    descriptor.dynamic_typing = item.type is float or item.said_false
    if item.low is not None or item.high is not None:
        low = item.low if item.low is not None else -_WIDEST[item.type]
        high = item.high if item.high is not None else _WIDEST[item.type]
        if item.type is int:
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=0)]
        else:
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(low), to_value=float(high))
            ]
    return descriptor
