"""Everything that can be wrong with a request is found here, before any process starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wallwm_model.bundle import verify
from wallwm_model.errors import ConfigError
from wallwm_model.spec import ModelSpec
from wallwm_ros.bridge.sim_body import check_profile
from wallwm_ros.core.calibration import load_calibrations
from wallwm_ros.core.compatibility import check_compatible, check_unified
from wallwm_ros.core.config import PolicyConfig, load_robot
from wallwm_ros.core.paths import data_path
from wallwm_ros.core.robot import RobotProfile
from wallwm_ros.demo.plan import Episode, parse_events, plan

SIM, POLICY, CONTROL = "sim_robot_node", "policy_node", "control_node"
# In lockstep nothing is late, only slow: waiting for others costs nothing, and giving up would be wrong.
PATIENCE = {
    "control_timeout_s": 10.0,
    "observation_timeout_s": 30.0,
    "event_timeout_s": 180.0,
    "task_timeout_s": 600.0,
}
MODES = ("event", "unified")
SOURCES = ("staircase", "instruction")  # `atomic` needs a planner that says what to do now
LIVE_EPISODES = 3  # up to this many episodes are shown event by event


@dataclass(frozen=True)
class Request:
    """What the user asked for; None = left to the demonstration.

    Attributes:
        mode: `event`, each event is sent, or `unified`, the whole task in one instruction.
        source: what unified mode reads, one of `SOURCES`.
        lockstep: time follows the commands, so that a busy machine only slows the run down;
            else the wall clock.
    """

    task: str | None = None
    episodes: int | None = None
    seed: int | None = None
    events: str | None = None
    mode: str = "event"
    source: str = "staircase"
    video: bool = True
    lockstep: bool = True
    blank_cameras: bool = False
    robot: str = "sim"
    model: str = PolicyConfig.model
    retries: int = 0
    domain: int | None = None
    out: Path | None = None


@dataclass(frozen=True)
class Setting:
    """A request that was found sound.

    Attributes:
        request: as it came.
        spec: of the model.
        bundle: folder of the engine bundle.
        profile: of the robot.
        episodes: to run, in order.
    """

    request: Request
    spec: ModelSpec
    bundle: Path
    profile: RobotProfile
    episodes: tuple[Episode, ...]

    @property
    def unified(self) -> bool:
        """Whole tasks are sent, no events."""
        return self.request.mode == "unified"

    @property
    def live(self) -> bool:
        """Few enough episodes to show every event."""
        return len(self.episodes) <= LIVE_EPISODES


def prepare(request: Request) -> Setting:
    """Check a request.

    Raises:
        WallWMError: the first thing that is wrong with it, in one sentence.
    """
    if request.retries < 0:
        raise ConfigError(f"--retries must not be negative; found {request.retries}")
    for what, found, valid in (("mode", request.mode, MODES), ("source", request.source, SOURCES)):
        if found not in valid:
            raise ConfigError(f"--{what} must be one of {', '.join(valid)}; found {found!r}")
    unified = request.mode == "unified"
    if unified and request.events is not None:
        raise ConfigError("--events must come with --mode event; in unified mode the model chooses its events")
    bundle = find_bundle(request.model)
    profile = load_robot(request.robot)
    check_profile(profile)
    spec = verify(bundle)
    check_compatible(spec, profile, load_calibrations(profile), request.mode)
    if unified:
        check_unified(spec, request.source, PolicyConfig.replan_steps)
    captions = parse_events(request.events, spec) if request.events is not None else ()
    episodes = tuple(plan(request.task, request.episodes, request.seed, captions))
    return Setting(request, spec, bundle, profile, episodes)


def parameters(setting: Setting) -> dict[str, dict[str, object]]:
    """Node name -> its parameters; everything else keeps its default."""
    request, first = setting.request, setting.episodes[0]
    lockstep = request.lockstep
    common = {"robot": request.robot, "use_sim_time": lockstep}
    # In lockstep an urgent control process would only take the time that the policy needs.
    policy = {"model": str(setting.bundle), "mode": request.mode}
    if setting.unified:  # chunks as long as in `eval modes`, however busy this machine is
        policy |= {"text_source": request.source, "replan_steps": setting.spec.replan_steps}
    control = {"tick": "clock", "realtime_priority": 0} if lockstep else {"tick": "steady"}
    return {
        SIM: {
            "robot": request.robot,
            "mode": "lockstep" if lockstep else "realtime",
            "task": first.task,
            "seed": first.seed,
            "blank_cameras": request.blank_cameras,
        },
        POLICY: common | policy | (PATIENCE if lockstep else {}),
        CONTROL: common | control,
    }


def find_bundle(model: str) -> Path:
    """Folder of an engine bundle: a path, or a folder inside the package's data.

    Raises:
        ConfigError: there is none.
    """
    path = Path(model).expanduser()
    return path.resolve() if path.is_dir() else data_path(model)
