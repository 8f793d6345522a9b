"""Every parameter of every node: its name, default, unit, range and description. The only place of defaults.

Nodes declare their ROS parameters from these classes; a YAML file in ROS parameter format only overrides.
"""

from __future__ import annotations

from dataclasses import dataclass

from wallwm_model.engines import ENGINES
from wallwm_model.engines.address import SCHEMES
from wallwm_model.errors import ConfigError
from wallwm_model.spec import CONDITIONERS, SOURCES
from wallwm_ros.core.options import check_all, option
from wallwm_ros.core.robot_file import load_robot

__all__ = ["ControlConfig", "PolicyConfig", "SimConfig", "load_robot"]

LEAST_HEARTBEAT_S = 0.2
ROBOT = "robot profile: a name in config/robots, or a YAML file"


@dataclass(frozen=True)
class PolicyConfig:
    """Parameters of `policy_node`."""

    robot: str = option("sim", ROBOT)
    model: str = option("models/nano", "engine bundle: a directory, or a path inside the package's share")
    engine: str = option(
        "auto", "inference engine, here or at an address", choices=("auto", *ENGINES), beginnings=SCHEMES
    )
    engine_threads: int = option(2, "threads of the inference engine", low=1, high=64)
    mode: str = option("event", "how chunks are made", choices=("event", "unified"), live=True)
    euler_steps: int = option(0, "denoising steps; 0: as the model was validated", low=0, high=50)
    seed: int = option(0, "seed of the action noise", low=0)
    max_observation_age_ms: float = option(
        250.0, "oldest part of a usable observation", "ms", low=1, high=5000
    )
    max_observation_spread_ms: float = option(
        60.0, "largest time between the parts of one observation", "ms", low=1, high=1000
    )
    observation_timeout_s: float = option(
        2.0, "wait this long for a sound observation, at rest and while the arm moves", "s", low=0.05, high=60
    )
    clock_timeout_s: float = option(
        2.0, "simulated time counts as paused when it stands still for this long", "s", low=0.1, high=60
    )
    event_timeout_s: float = option(
        30.0, "an event without its own timeout ends then", "s", low=0.5, high=600
    )
    event_replan_s: float = option(
        0.0,
        "an event under way is inferred again on this period, and extended as long as it is not over; "
        "0: one chunk from rest to rest",
        "s",
        low=0,
        high=60,
        live=True,
    )
    inference_timeout_s: float = option(
        4.0, "a goal ends when the engine has not answered for this long", "s", low=0.05, high=60
    )
    preempt_timeout_s: float = option(
        0.1,
        "a goal that is replaced goes on for this long at most, until the first chunk of the next one joins; "
        "then, or where the model is slower than this, the arm is stopped for it",
        "s",
        low=0,
        high=10,
    )
    target_slack: float = option(
        0.25,
        "targets outside a joint's limits by more than this part of their range are an engine's fault",
        low=0,
        high=10,
    )
    task_timeout_s: float = option(120.0, "a task without its own timeout ends then", "s", low=0.5, high=3600)
    text_source: str = option(
        "instruction",
        "what unified mode reads; instruction: the task, atomic: what to do now, staircase: reasoned",
        choices=SOURCES,
        live=True,
    )
    conditioner: str = option(
        "words",
        "what encodes captions and instructions; words: the word encoder, vlm: beside the pictures",
        choices=CONDITIONERS,
    )
    replan_steps: int = option(
        0,
        "unified mode infers the next chunk from this step of the present one on; 0: from three quarters, from half of it "
        "if the engine is slow",
        low=0,
        high=256,
        live=True,
    )
    blend_steps: int = option(
        4,
        "a chunk takes over from the one before in so many steps, unless the model takes committed ones",
        low=0,
        high=64,
        live=True,
    )
    still_position: float = option(
        0.01,
        "a task is done when a whole chunk's targets move less than this",
        "rad or m",
        low=1e-5,
        high=1,
        live=True,
    )
    settle_velocity: float = option(0.05, "arm at rest below this", "rad/s", low=1e-4, high=1, live=True)
    settle_timeout_s: float = option(
        1.0, "an event's end waits this long for rest", "s", low=0, high=10, live=True
    )
    control_timeout_s: float = option(
        1.0, "the control process counts as lost after this silence", "s", low=0.05, high=10
    )
    feedback_rate_hz: float = option(10.0, "rate of action feedback", "Hz", low=1, high=100)
    frozen_frames: int = option(
        5, "identical pictures in a row that mean a frozen camera with noise; 0: never", low=0, high=100
    )
    camera_info_timeout_s: float = option(
        2.0, "configure waits this long for every camera's CameraInfo", "s", low=0, high=60
    )
    require_camera_info: bool = option(
        False, "refuse a camera whose CameraInfo does not come in time; else warn, and check it later"
    )
    allow_uncalibrated: bool = option(
        False, "take cameras that have no calibration file, wherever they look; else refuse them"
    )
    frustum_mask: str = option(
        "train_only",
        "sight-cone mask between the views; off and train_only: none at run time, as in the report",
        choices=("off", "train_only", "always"),
        live=True,
    )
    mask_method: str = option(
        "frustum",
        "test behind the mask; frustum: the patches' pyramids, cone: the report's closest approach",
        choices=("frustum", "cone"),
        live=True,
    )
    publish_sight: bool = option(
        False, "publish ~/sight: the pictures of each inference, tinted by the mask", live=True
    )

    def __post_init__(self) -> None:
        check_all(self)
        if self.frozen_frames == 1:
            raise ConfigError("frozen_frames must be 0, or at least 2: every picture equals itself; found 1")


@dataclass(frozen=True)
class ControlConfig:
    """Parameters of `control_node`."""

    robot: str = option("sim", ROBOT)
    rate_hz: float = option(100.0, "command rate", "Hz", low=50, high=500)
    tick: str = option(
        "steady",
        "what starts a control period: the steady clock, or each /clock message",
        choices=("steady", "clock"),
    )
    command: str = option(
        "profile", "command interface", choices=("profile", "forward", "trajectory", "pose")
    )
    status_rate_hz: float = option(
        50.0, "rate of /control_status; lockstep: simulated time", "Hz", low=1, high=500
    )
    joint_state_timeout_s: float = option(
        0.25, "shaped stop when joint states are older than this", "s", low=0.01, high=5
    )
    heartbeat_timeout_s: float = option(
        0.5, "shaped stop when a policy that was heard is silent for this long; 0: never", "s", low=0, high=10
    )
    takeover_timeout_s: float = option(
        0.25, "shaped stop when an operator's newest command is older than this", "s", low=0.02, high=5
    )
    max_start_ahead_s: float = option(2.0, "refuse chunks that start later than this", "s", low=0, high=60)
    settle_position: float = option(
        0.001, "command counts as arrived this near", "rad or m", low=1e-6, high=0.1
    )
    settle_velocity: float = option(
        0.005, "command counts as standing below this", "rad/s or m/s", low=1e-6, high=1
    )
    realtime_priority: int = option(
        10, "real-time priority of the control process where the system allows it; 0: none", low=0, high=49
    )
    trajectory_ahead_ms: float = option(
        0.0, "time_from_start of trajectory commands; 0: one control period", "ms", low=0, high=1000
    )

    def __post_init__(self) -> None:
        check_all(self)
        if 0 < self.heartbeat_timeout_s < LEAST_HEARTBEAT_S:
            raise ConfigError(
                f"heartbeat_timeout_s must be 0, or at least {LEAST_HEARTBEAT_S:g}, the time of four beats; "
                f"found {self.heartbeat_timeout_s:g}"
            )
        if self.status_rate_hz > self.rate_hz:
            raise ConfigError(
                f"status_rate_hz must be at most rate_hz={self.rate_hz:g}; found {self.status_rate_hz:g}"
            )


@dataclass(frozen=True)
class SimConfig:
    """Parameters of `sim_robot_node`."""

    robot: str = option("sim", ROBOT)
    image_size: int = option(192, "width and height of the published pictures", "px", low=32, high=1024)
    camera_rate_hz: float = option(20.0, "pictures per camera", "Hz", low=1, high=60)
    state_rate_hz: float = option(100.0, "joint states", "Hz", low=10, high=200)
    mode: str = option(
        "realtime",
        "realtime: follows the wall clock; lockstep: each command advances time by one period",
        choices=("realtime", "lockstep"),
    )
    lockstep_period_ms: float = option(
        10.0, "time one command advances in lockstep mode", "ms", low=5, high=50
    )
    renderer: str = option(
        "auto",
        "what draws the pictures; auto: the first that works",
        choices=("auto", "egl", "osmesa", "rays"),
    )
    raw_images: bool = option(True, "publish raw pictures")
    compressed_images: bool = option(True, "publish JPEG pictures")
    jpeg_quality: int = option(90, "quality of JPEG pictures", low=10, high=100)
    blank_cameras: bool = option(False, "publish grey pictures instead of what the cameras see", live=True)
    task: str = option("pick_place", "task of the first scene", choices=("pick_place", "handover"))
    seed: int = option(0, "seed of the first scene", low=0)

    def __post_init__(self) -> None:
        check_all(self)
