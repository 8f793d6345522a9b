"""Bring-up of the runtime: `ros2 launch wallwm_ros bringup.launch.py robot:=sim mode:=event`.

Nodes, parameters and arguments come from wallwm_ros.bringup, which `./wallwm up` reads as well.
"""

import os
from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    RegisterEventHandler,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.conditions import IfCondition
from launch.events import matches_action
from launch.substitutions import EnvironmentVariable, LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import ParameterValue
from lifecycle_msgs.msg import Transition

from launch import LaunchDescription, LaunchDescriptionEntity
from wallwm_ros.bringup import ARGUMENTS, PACKAGE, PARAMETER_FILE, NodeSpec, nodes
from wallwm_ros.setup.environment import profile_variable
from wallwm_ros.shared_memory import profile_file

SHARE = Path(__file__).resolve().parents[1]


def generate_launch_description() -> LaunchDescription:
    """Arguments, environment, nodes, and the transitions of the lifecycle nodes."""
    profile = profile_variable(os.environ.get("ROS_DISTRO", ""))
    entities: list[LaunchDescriptionEntity] = [
        DeclareLaunchArgument(argument.name, default_value=argument.default, description=argument.description)
        for argument in ARGUMENTS
    ]
    # A profile that the user has chosen stays.
    value = EnvironmentVariable(profile, default_value=str(profile_file(SHARE / "config")))
    entities.append(SetEnvironmentVariable(profile, value))
    robot, model, mode = (LaunchConfiguration(name) for name in ("robot", "model", "mode"))
    for spec in nodes(text(robot), text(model), text(mode)):
        entities += lifecycle_node(spec) if spec.lifecycle else [plain_node(spec)]
    return LaunchDescription(entities)


def text(value: LaunchConfiguration) -> ParameterValue:
    """An argument as a string parameter, whatever it looks like."""
    return ParameterValue(value, value_type=str)


def plain_node(spec: NodeSpec) -> Node:
    """A node that is only there with `sim:=true`."""
    return Node(**_common(spec), condition=IfCondition(LaunchConfiguration("sim")))


def lifecycle_node(spec: NodeSpec) -> list[LaunchDescriptionEntity]:
    """A lifecycle node with the events that configure it and, once that has succeeded, activate it."""
    node = LifecycleNode(**_common(spec), namespace="")
    autostart = IfCondition(LaunchConfiguration("autostart"))

    def change(transition: int) -> EmitEvent:
        event = ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition)
        return EmitEvent(event=event, condition=autostart)

    # From configuring alone: a node that somebody deactivates later must stay inactive.
    configured = OnStateTransition(
        target_lifecycle_node=node,
        start_state="configuring",
        goal_state="inactive",
        entities=[change(Transition.TRANSITION_ACTIVATE)],
    )
    return [node, RegisterEventHandler(configured), change(Transition.TRANSITION_CONFIGURE)]


def _common(spec: NodeSpec) -> dict[str, object]:
    return {
        "package": PACKAGE,
        "executable": spec.name,
        "name": spec.name,
        "parameters": [str(SHARE / PARAMETER_FILE), spec.parameters],
        "output": "screen",
        "on_exit": Shutdown(reason=f"{spec.name} ended"),
    }
