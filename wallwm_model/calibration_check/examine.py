"""From pictures of a board and joints to a verdict."""

from __future__ import annotations

from wallwm_model.calibration_check.adjustment import Rig
from wallwm_model.calibration_check.consistency import Verdict, check
from wallwm_model.calibration_check.noise import NoiseModel
from wallwm_model.calibration_check.prior import Prior
from wallwm_model.calibration_check.sighting import Sighting, choose_tilts, sight
from wallwm_model.calibration_check.snapshot import Claims, Snapshot
from wallwm_model.calibration_tools.board import Board
from wallwm_model.calibration_tools.detect import REASONS, Detector, View
from wallwm_model.errors import ObservationError


class Examiner:
    """Collects postures in which cameras see a board that lies still, and judges the cameras' mounts.

    Args:
        claims: calibration and kinematics.
        board: what lies there.
        noise: of a rig that nobody has touched.
        prior: an earlier check to count from; None: count from the calibration.
    """

    def __init__(
        self, claims: Claims, board: Board, noise: NoiseModel | None = None, prior: Prior | None = None
    ) -> None:
        self._claims, self._noise, self._prior = claims, noise or NoiseModel(), prior
        self._detector = Detector(board)
        self._candidates: list[tuple[Sighting, ...]] = []
        self.board, self.postures = board, 0

    def add(self, snapshot: Snapshot) -> dict[str, View | str]:
        """Take in one posture -> per camera where it sees the board, or why it does not, in words.

        A posture in which no camera sees the board is not counted.
        """
        calibrations = self._claims.sized(snapshot)
        found: dict[str, View | str] = {}
        for name, picture in snapshot.pictures.items():
            view = self._detector.find(picture, name)
            found[name] = view if isinstance(view, View) else REASONS[view.reason]
            if isinstance(view, View):
                points = self.board.corners[view.ids]
                kinematics, joints = self._claims.kinematics, snapshot.joints
                try:
                    group = sight(calibrations[name], self.postures, points, view.pixels, kinematics, joints)
                except ObservationError as error:
                    found[name] = str(error)
                else:
                    self._candidates.append(group)
        self.postures += any(isinstance(view, View) for view in found.values())
        return found

    def verdict(self) -> Verdict:
        """What all postures together say.

        Raises:
            ObservationError: too little was seen to compare anything.
        """
        calibrations = self._claims.calibrations
        if not self._candidates:
            raise ObservationError(
                f"a board of {self.board} must lie in sight of {', '.join(calibrations)}; none of them saw it"
            )
        mounts = {name: camera.T_link_camera_optical for name, camera in calibrations.items()}
        sightings = choose_tilts(self._candidates, mounts)
        return check(Rig(mounts, sightings, self._noise, self._prior), tuple(calibrations))
