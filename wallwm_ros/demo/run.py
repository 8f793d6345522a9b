"""A whole demonstration: the stage, the episodes, what is kept of them."""

from __future__ import annotations

import contextlib
import datetime
import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from wallwm_model.bundle import MANIFEST, sha256
from wallwm_model.errors import WallWMError
from wallwm_ros.bridge.sim_body import SPECTATOR
from wallwm_ros.cli.processes import interruptible
from wallwm_ros.demo import domain, results, screen
from wallwm_ros.demo.episode import Watcher, Watchers, run_episode
from wallwm_ros.demo.plot import Trace, draw
from wallwm_ros.demo.prepare import Setting
from wallwm_ros.demo.record import Recorder
from wallwm_ros.demo.results import EpisodeResult

GIVE_UP_AFTER = 2  # episodes in a row whose motion aborted: then something is wrong with the nodes
INTERRUPTED = 130


def run(setting: Setting, console: Console) -> int:
    """Run the episodes and write `runs/<time>/`; -> the exit code: 0 when every motion was carried out.

    Raises:
        WallWMError: a process could not be started, ended, or fell silent.
    """
    folder = _folder(setting.request.out)
    own_domain = domain.choose(setting.request.domain)
    domain.enter(own_domain)
    _introduce(setting, own_domain, console)
    done: list[EpisodeResult] = []
    traces: list[Trace] = []
    started, ending = time.monotonic(), None
    try:
        with interruptible():
            _perform(setting, folder, console, done, traces)
    except KeyboardInterrupt as interruption:
        ending = interruption
        console.print("\n[yellow]interrupted[/]: every process was stopped")
    except WallWMError as error:
        ending = error
    if done:
        _conclude(setting, done, traces, folder, console, time.monotonic() - started, ending is None)
    if isinstance(ending, WallWMError):
        raise ending
    return INTERRUPTED if ending is not None else _exit_code(done, console)


def _perform(
    setting: Setting, folder: Path, console: Console, done: list[EpisodeResult], traces: list[Trace]
) -> None:
    """Run the episodes one after the other; `done` and `traces` grow with each."""
    from wallwm_ros.demo.stage import Stage
    from wallwm_ros.demo.video import Film

    total = len(setting.episodes)
    with contextlib.ExitStack() as stack:
        film = stack.enter_context(Film(folder / "demo.mp4")) if setting.request.video else None
        with console.status("starting robot, policy and control ..."):
            stage = stack.enter_context(Stage(setting, folder))
        if film is not None:
            # After an interruption the film is finished while the nodes are being stopped.
            stack.push(lambda kind, *_: film.hurry() if kind is not None else None)
        cameras = [*setting.profile.camera_names, SPECTATOR]
        recorder = Recorder(cameras, setting.spec.step_s, film)
        if setting.live or film is not None:
            stage.listen(recorder, pictures=film is not None)
        series = None if setting.live else screen.SeriesScreen(console, total)
        if series is not None:
            stack.callback(series.close)
        for number, episode in enumerate(setting.episodes, start=1):
            recorder.heading = screen.title(number, total, episode)
            shown = series or screen.EpisodeScreen(console, recorder.heading, setting.spec.step_s)
            watcher: Watcher = Watchers(shown, recorder)
            try:
                result = run_episode(stage, episode, watcher, setting.request.retries)
            finally:
                if series is None:
                    shown.close()
            done.append(result)
            traces.append(recorder.trace)
            if _aborted(done[-GIVE_UP_AFTER:]) == GIVE_UP_AFTER:
                break
    if film is not None and film.dropped:
        console.print(f"[dim]the film left out {film.dropped} pictures: this machine was busy[/]")


def _folder(out: Path | None) -> Path:
    """A new folder for this run's files."""
    name = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    folder = out if out is not None else Path("runs") / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WallWMError(f"the run's folder must be writable; found {error}") from error
    return folder


def _about(setting: Setting, done: list[EpisodeResult], wall_s: float, complete: bool) -> dict[str, object]:
    """Facts that a reader of result.json needs to know what was run."""
    steps = sum(event.steps for result in done for event in result.events)
    return {
        "model": setting.spec.name,
        "bundle_sha256": sha256(setting.bundle / MANIFEST),
        "robot": setting.profile.name,
        "mode": setting.request.mode,
        **({"source": setting.request.source} if setting.unified else {}),
        "clock": "lockstep" if setting.request.lockstep else "realtime",
        "blank_cameras": setting.request.blank_cameras,
        "retries": setting.request.retries,
        "complete": complete,
        "motion_s": round(steps * setting.spec.step_s, 2),
        "wall_s": round(wall_s, 2),
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def _introduce(setting: Setting, own_domain: int, console: Console) -> None:
    pace = "lockstep" if setting.request.lockstep else "real time"
    if setting.unified:
        pace = f"unified mode from {setting.request.source} · {pace}"
    total = len(setting.episodes)
    console.print(
        f"[bold]wallwm demo[/] · model {escape(setting.spec.name)} · robot {escape(setting.profile.name)} · "
        f"{total} episode{'s' * (total != 1)} · {pace}"
    )
    console.print(
        f"[dim]listen in: ROS_DOMAIN_ID={own_domain} ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST[/]",
        highlight=False,
    )
    if setting.request.blank_cameras:
        console.print("[yellow]the cameras are blank: the policy sees nothing but grey[/]")


def _conclude(
    setting: Setting,
    done: list[EpisodeResult],
    traces: list[Trace],
    folder: Path,
    console: Console,
    wall_s: float,
    complete: bool,
) -> None:
    """Write result.json and plots, print the tables; `complete`: every episode was run."""
    about = _about(setting, done, wall_s, complete)
    results.write(folder / "result.json", results.summary(done, setting.episodes[0].seed, about))
    console.print()
    if setting.live:
        _draw(setting, done, traces, folder)
        for number, result in enumerate(done, start=1):
            heading = screen.title(number, len(setting.episodes), setting.episodes[number - 1])
            console.print(screen.event_table(result, heading))
    else:
        console.print(screen.length_table(done))
    for line in screen.verdict(done):
        console.print(f"[bold]{escape(line)}[/]", highlight=False)
    files = ", ".join(sorted(path.name for path in folder.iterdir() if path.is_file()))
    console.print(f"{about['motion_s']:.0f} s of motion in {wall_s:.0f} s", highlight=False)
    console.print(f"{escape(str(folder))}/: {escape(files)}", highlight=False)


def _draw(setting: Setting, done: list[EpisodeResult], traces: list[Trace], folder: Path) -> None:
    """One plot of the joints per episode."""
    total = len(setting.episodes)
    for number, (result, trace) in enumerate(zip(done, traces, strict=False), start=1):
        name = "joints.png" if total == 1 else f"joints_{number}.png"
        verdict = "success" if result.success else "failure"
        heading = screen.title(number, total, setting.episodes[number - 1])
        draw(trace, folder / name, f"{heading} · {verdict}")


def _aborted(done: list[EpisodeResult]) -> int:
    return sum(not result.events[-1].completed for result in done)


def _exit_code(done: list[EpisodeResult], console: Console) -> int:
    aborted = _aborted(done)
    if not aborted:
        return 0
    last = next(result for result in reversed(done) if not result.events[-1].completed)
    console.print(
        f"[red]not every motion was carried out[/]: {aborted} of {len(done)} episodes aborted, "
        f"the last one with {escape(last.outcome)}",
        highlight=False,
    )
    return 1
