"""MP4 writing behind a bounded queue, so that nothing ever waits for the film."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import threading
from pathlib import Path
from types import TracebackType

import numpy as np

from wallwm_model.errors import WallWMError
from wallwm_ros.demo.frames import HEIGHT, WIDTH, Subtitle, compose

FRAME_NS = 50_000_000
QUEUE_FRAMES = 120  # six seconds, about 90 MB


class VideoError(WallWMError):
    """The film cannot be written."""


class Film:
    """Writes frames to one MP4 file at 20 pictures per second of robot time.

    `show` only enqueues: when the encoder is far behind, frames are dropped and counted
    (`dropped`), and the film keeps its timing, because the next one fills their place.
    """

    def __init__(self, path: Path) -> None:
        """Opens the file and starts the thread.

        Raises:
            VideoError: no encoder, or the file cannot be written.
        """
        self.dropped, self._hurried = 0, False
        self._queue: queue.Queue = queue.Queue(QUEUE_FRAMES)
        self._path, self._failure = path, ""
        self._encoder = _encoder(path)
        self._base_ns: int | None = None
        self._written = 0
        self._last: tuple[dict[str, np.ndarray], Subtitle] | None = None
        self._thread = threading.Thread(target=self._run, name="film", daemon=True)
        self._thread.start()

    def show(self, images: dict[str, np.ndarray], subtitle: Subtitle, stamp_ns: int) -> None:
        """One more frame: camera name -> (H, W, 3) uint8 RGB, taken at `stamp_ns` of robot time."""
        if self._hurried:
            return
        try:
            self._queue.put_nowait((images, subtitle, stamp_ns))
        except queue.Full:
            self.dropped += 1

    def linger(self, subtitle: Subtitle, frames: int = 30) -> None:
        """Repeat the last picture under a new text, e.g. the verdict; the next frame starts a new scene."""
        self._queue.put((None, subtitle, frames))

    def __enter__(self) -> Film:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        self.hurry()
        self._thread.join(timeout=1.0)
        self._encoder.kill()

    def close(self) -> None:
        """Encode what is queued and finish the file.

        Raises:
            VideoError: the encoder failed meanwhile.
        """
        self._queue.put(None)
        self._thread.join()
        if self._failure:
            raise VideoError(f"the film {self._path.name} could not be written: {self._failure}")

    def hurry(self) -> None:
        """Begin to finish the file, without the frames that are still queued; what comes later is ignored."""
        self._hurried = True
        with contextlib.suppress(queue.Empty):
            while True:
                self._queue.get_nowait()
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)

    def _run(self) -> None:
        # Below the rest of the process: on a busy machine the film waits, not the robot.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)
        try:
            while (item := self._queue.get()) is not None:
                self._take(*item)
            self._encoder.stdin.close()
            code, said = self._encoder.wait(), self._encoder.stderr.read()
        except OSError as error:
            self._encoder.kill()
            code, said = 1, self._encoder.stderr.read() or str(error).encode()
        if code:
            self._failure = said.decode(errors="replace").strip().splitlines()[-1]
            while item is not None and (item := self._queue.get()) is not None:
                self.dropped += 1

    def _take(self, images: dict[str, np.ndarray] | None, subtitle: Subtitle, number: int) -> None:
        """One item of the queue: a frame of time `number` [ns], or the last one again `number` times."""
        if images is None:
            if self._last is not None:
                self._write(compose(self._last[0], subtitle), number)
            self._base_ns = None
            return
        if self._base_ns is None:
            self._base_ns = number - self._written * FRAME_NS
        due = round((number - self._base_ns) / FRAME_NS) + 1
        if due > self._written:
            self._last = (images, subtitle)
            self._write(compose(images, subtitle), due - self._written)

    def _write(self, frame: np.ndarray, times: int) -> None:
        self._written += times
        for _ in range(times):
            self._encoder.stdin.write(frame)


def _encoder(path: Path) -> subprocess.Popen:
    """An encoder that reads raw frames from its standard input, and ends when that is closed."""
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        program = get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise VideoError(f"a film needs the package imageio-ffmpeg; found {error}: use --no-video") from error
    if not os.access(path.parent, os.W_OK):
        raise VideoError(f"the film must be writable at {path}; found a folder that is missing or protected")
    source = f"-f rawvideo -pix_fmt rgb24 -video_size {WIDTH}x{HEIGHT} -framerate 20 -i pipe:0"
    codec = "-c:v libx264 -preset veryfast -tune animation -crf 23 -threads 1"
    target = "-pix_fmt yuv420p -movflags +faststart"
    options = f"-loglevel error -y {source} {codec} {target}"
    command = ["nice", "-n", "5", program, *options.split(), str(path)]
    # Out of the terminal's process group: Ctrl-C is for the demonstration, which then closes the film.
    return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
