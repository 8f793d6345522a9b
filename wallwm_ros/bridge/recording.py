"""Pictures and joint states from a recording: rosbag2 with MCAP or SQLite storage, or one file of either.

Messages are turned back by rclpy itself, so that recordings of any distribution and schema notation read
alike.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image, JointState

from wallwm_model.calibration_tools.frames import Frame, JointTrack
from wallwm_model.errors import CalibrationError, ObservationError
from wallwm_ros.bridge import images
from wallwm_ros.bridge.stamps import SECOND, to_ns
from wallwm_ros.core.joint_names import renamed

_PICTURES = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage}
_JOINTS = "sensor_msgs/msg/JointState"


def recorded_frames(
    path: Path,
    topic: str,
    joint_topics: Sequence[str] = (),
    names: Mapping[str, Mapping[str, str]] | None = None,
) -> Iterator[Frame]:
    """The pictures of one topic with the joints at their stamps, in recorded order.

    Args:
        path: rosbag2 folder, or .mcap or .db3 file.
        topic: of the pictures.
        joint_topics: JointState topics; empty: frames have no joints.
        names: joint topic -> what its messages call a joint -> what frames shall call it.

    Raises:
        CalibrationError: no recording there, it is damaged or compressed as a whole, or a topic is missing or
            not of a type that is understood; lists the topics that there are.
    """
    files = _files(path)
    topics = {name: kind for file in files for name, kind in _topics(file).items()}
    kind = _check(path, topics, topic, joint_topics)
    track = JointTrack()
    for name, data in _messages(files, joint_topics):
        message = _read(JointState, data, path, name)
        if len(message.name) == len(message.position):
            joints = renamed(dict(zip(message.name, message.position)), (names or {}).get(name, {}))
            track.add(to_ns(message.header.stamp), joints)
    start = None
    for name, data in _messages(files, (topic,)):
        message = _read(kind, data, path, name)
        stamp_ns = to_ns(message.header.stamp)
        start = stamp_ns if start is None else start
        try:
            picture = images.decode(message)
        except ObservationError as error:
            raise CalibrationError(f"{path}: a picture on {topic} was refused: {error}") from None
        joints, moving = track.at(stamp_ns) if joint_topics else (None, False)
        yield Frame(f"{(stamp_ns - start) / SECOND:.2f} s", picture, stamp_ns, joints, moving)


def _check(path: Path, topics: dict[str, str], topic: str, joint_topics: Sequence[str]) -> type:
    listed = ", ".join(f"{name} ({kind})" for name, kind in sorted(topics.items())) or "none"
    for name in (topic, *joint_topics):
        if name not in topics:
            raise CalibrationError(f"{path} must hold the topic {name}; found {listed}")
    for name in joint_topics:
        if topics[name] != _JOINTS:
            raise CalibrationError(f"{path}: {name} must be {_JOINTS}; found {topics[name]}")
    if topics[topic] not in _PICTURES:
        raise CalibrationError(f"{path}: {topic} must be {' or '.join(_PICTURES)}; found {topics[topic]}")
    return _PICTURES[topics[topic]]


def _files(path: Path) -> list[Path]:
    """The storage files of a recording."""
    if path.is_file() and path.suffix in (".mcap", ".db3"):
        return [path]
    if path.is_dir():
        files = sorted([*path.glob("*.mcap"), *path.glob("*.db3")])
        if files:
            return files
        if any(path.glob("*.zstd")):
            raise CalibrationError(f"{path} is compressed file by file; decompress it first: zstd -d FILE")
    raise CalibrationError(
        f"--recording must be a rosbag2 folder, or a .mcap or .db3 file; found none at {path}"
    )


def _topics(file: Path) -> dict[str, str]:
    """Topic -> type of message."""
    if file.suffix == ".db3":
        return {name: kind for _, name, kind in _sqlite(file, "SELECT id, name, type FROM topics")}
    from mcap.reader import make_reader

    with file.open("rb") as stream, _Understood(file):
        summary = make_reader(stream).get_summary()
        if summary is None:  # recording ended without its index
            return {c.topic: s.name for s, c, _ in make_reader(stream).iter_messages() if s is not None}
        schemas = summary.schemas
        return {
            c.topic: schemas[c.schema_id].name for c in summary.channels.values() if c.schema_id in schemas
        }


def _messages(files: Sequence[Path], topics: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    if not topics:
        return
    for file in files:
        if file.suffix == ".db3":
            marks = ", ".join("?" * len(topics))
            query = (
                "SELECT topics.id, topics.name, data FROM messages JOIN topics ON topic_id = topics.id "
                f"WHERE topics.name IN ({marks}) ORDER BY timestamp"
            )
            yield from ((name, data) for _, name, data in _sqlite(file, query, tuple(topics)))
            continue
        from mcap.reader import make_reader

        with file.open("rb") as stream, _Understood(file):
            for _, channel, message in make_reader(stream).iter_messages(topics=list(topics)):
                yield channel.topic, message.data


def _sqlite(file: Path, query: str, values: tuple = ()) -> Iterator[Any]:
    try:
        connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
        try:
            yield from connection.execute(query, values)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise CalibrationError(f"{file} must be a rosbag2 SQLite file; {error}") from None


class _Understood:
    """Turns what the MCAP library says about a damaged file into a sentence."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, _: object) -> None:
        from mcap.exceptions import McapError

        if isinstance(error, McapError | EOFError | ValueError) and not isinstance(error, CalibrationError):
            raise CalibrationError(
                f"{self._file} must be a whole MCAP file; {error or kind.__name__}"
            ) from None


def _read(kind: type, data: bytes, path: Path, topic: str) -> Any:
    try:
        return deserialize_message(bytes(data), kind)
    except Exception as error:  # the middleware raises what it likes
        raise CalibrationError(f"{path}: a message on {topic} cannot be read: {error}") from None
