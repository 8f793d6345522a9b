"""A server of the tiny engine as a process of its own, which can be killed.

`remote_server.py PORT BUNDLE FOLDER`: while FOLDER/hang is there, `act` writes FOLDER/hanging and waits.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tiny_engine import TinyEngine, load_tiny

from wallwm_model.engines.server import serving


class Hanging(TinyEngine):
    """Tiny, and hangs on request."""

    folder = Path()

    def act(self, *args, **kwargs):
        """See `Engine.act`."""
        while (self.folder / "hang").exists():
            (self.folder / "hanging").touch()
            time.sleep(0.01)
        return super().act(*args, **kwargs)


def main(port: int, bundle: str, folder: Path) -> None:
    """Serve until killed."""
    engine = Hanging(load_tiny(Path(bundle), "", 1).spec)
    engine.folder = folder
    with serving(engine, port=port) as server:
        print(f"port {server.port}", flush=True)
        while True:
            time.sleep(1.0)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
