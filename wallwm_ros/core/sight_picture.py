"""A sight-cone mask as a picture: which patches of each view another view can see too."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

HEIGHT = 192  # of the picture [px]
ALONE = 0.35  # brightness left to a patch that no other view sees
TINT = np.array((40.0, 220.0, 90.0), np.float32)  # RGB
ONE = 256  # of the fixed-point shares
STRONGEST = 0.55  # share of the tint where a patch may attend to everything in the other views


def shares(mask: np.ndarray, views: int) -> np.ndarray:
    """(V*P, V*P) bool -> (V, P): the share of the other views' patches that each patch may attend to."""
    count = mask.shape[0] // views
    seen = mask.reshape(views, count, views, count).sum(axis=3, dtype=np.int64)  # (V, P, V)
    others = seen.sum(axis=2) - seen[np.arange(views), :, np.arange(views)]
    return others / max((views - 1) * count, 1)


def tinted(
    images: Mapping[str, np.ndarray], cameras: tuple[str, ...], mask: np.ndarray, patches: tuple[int, int]
) -> np.ndarray:
    """The views side by side, (HEIGHT, W, 3) uint8 RGB, in the order of `cameras`.

    A patch is the greener the more of the other views' patches it may attend to, and dark if it may attend to
    none. `images`: camera -> (H, W, 3) uint8 RGB; `mask`: (V*P, V*P) bool; `patches`: (rows, columns).
    """
    strength = shares(mask, len(cameras)).reshape(len(cameras), *patches).astype(np.float32)
    return np.hstack([_tint(images[name], strength[view]) for view, name in enumerate(cameras)])


def _tint(image: np.ndarray, share: np.ndarray) -> np.ndarray:
    """(H, W, 3) -> (HEIGHT, W', 3) uint8; `share` (rows, columns). Whole numbers are quicker."""
    width = round(HEIGHT * image.shape[1] / image.shape[0])
    small = cv2.resize(image, (width, HEIGHT), interpolation=cv2.INTER_AREA)
    alpha = STRONGEST * np.sqrt(share)[..., None]
    gain = np.where(share[..., None] > 0, 1 - alpha, ALONE)
    # picture x gain + tint x alpha, in 256ths: at most 255 x 256, which 16 bits hold
    mixed = np.rint(np.concatenate([gain, TINT * alpha], axis=-1) * ONE).astype(np.uint16)
    spread = cv2.resize(mixed, (width, HEIGHT), interpolation=cv2.INTER_NEAREST)
    return ((small * spread[..., :1] + spread[..., 1:]) // ONE).astype(np.uint8)
