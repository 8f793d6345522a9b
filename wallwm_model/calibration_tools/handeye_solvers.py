"""Closed-form hand-eye solutions, independent of each other so that they can be compared.

All take M (V, 4, 4), the board's link in the camera's link as the robot says, and B (V, 4, 4), the board in
the optical frame as the pictures say, and find X = T_cameralink_optical and Z = T_boardlink_board with
X B_i = M_i Z. (OpenCV has such solvers, but the Python package of OpenCV 5.0.0 leaves them out.)
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from wallwm_model.transforms import inverse, skew

Solution = tuple[np.ndarray, np.ndarray]  # X, Z


def park(M: np.ndarray, B: np.ndarray) -> Solution:
    """Park and Martin 1994, "Robot sensor calibration: solving AX = XB on the Euclidean group".

    Rotation first, from the logarithms of all pairs of motions; then translation by least squares.
    """
    A, C = _motions(M), _motions(B)
    alpha = np.array([cv2.Rodrigues(a[:3, :3])[0].ravel() for a in A])
    beta = np.array([cv2.Rodrigues(c[:3, :3])[0].ravel() for c in C])
    U, _, Vt = np.linalg.svd(alpha.T @ beta)
    R = U @ np.diag((1, 1, np.linalg.det(U @ Vt))) @ Vt
    rows = np.concatenate([a[:3, :3] - np.eye(3) for a in A])
    right = np.concatenate([R @ c[:3, 3] - a[:3, 3] for a, c in zip(A, C)])
    return _complete(R, np.linalg.lstsq(rows, right, rcond=None)[0], M, B)


def daniilidis(M: np.ndarray, B: np.ndarray) -> Solution:
    """Daniilidis 1999, "Hand-eye calibration using dual quaternions": rotation and translation together."""
    rows = []
    for a, c in zip(_motions(M), _motions(B)):
        qa, ta = _dual(a)
        qc, tc = _dual(c)
        if qa[0] < 0.999999:  # a motion without rotation says nothing here
            rows.append(_dual_rows(qa, ta, qc, tc))
    if len(rows) < 2:
        return park(M, B)
    _, _, Vt = np.linalg.svd(np.concatenate(rows))
    u, v = Vt[6], Vt[7]
    u1, v1, u2, v2 = u[:4], u[4:], v[:4], v[4:]
    a, b, c = u1 @ v1, u1 @ v2 + u2 @ v1, u2 @ v2
    roots = np.roots((a, b, c)) if abs(a) > 1e-12 else np.array((0.0,))
    s = max((float(np.real(r)) for r in roots), key=lambda r: r * r * (u1 @ u1) + 2 * r * (u1 @ u2) + u2 @ u2)
    l2 = 1 / np.sqrt(s * s * (u1 @ u1) + 2 * s * (u1 @ u2) + u2 @ u2)
    q, d = l2 * (s * u1 + u2), l2 * (s * v1 + v2)
    translation = 2 * _product(d, q * (1, -1, -1, -1))[1:]
    return _complete(_rotation(q), translation, M, B)


def shah(M: np.ndarray, B: np.ndarray) -> Solution:
    """Shah 2013, "Solving the robot-world/hand-eye calibration problem using the Kronecker product".

    Works on the poses themselves, not on differences; X and Z come out together.
    """
    T = sum(np.kron(b[:3, :3], m[:3, :3]) for m, b in zip(M, B))
    U, _, Vt = np.linalg.svd(T)
    # X R_b = R_m Z: vec(X) R_b-side and vec(Z) are the singular vectors of the largest singular value.
    R_X = _nearest(U[:, 0].reshape(3, 3).T)
    R_Z = _nearest(Vt[0].reshape(3, 3).T)
    rows = np.concatenate([np.hstack([np.eye(3), -m[:3, :3]]) for m in M])
    right = np.concatenate([m[:3, 3] - R_X @ b[:3, 3] for m, b in zip(M, B)])
    t = np.linalg.lstsq(rows, right, rcond=None)[0]
    X, Z = np.eye(4), np.eye(4)
    X[:3, :3], X[:3, 3], Z[:3, :3], Z[:3, 3] = R_X, t[:3], R_Z, t[3:]
    return X, Z


METHODS: dict[str, Callable[[np.ndarray, np.ndarray], Solution]] = {
    "Park-Martin": park,
    "Daniilidis": daniilidis,
    "Shah": shah,
}


def _motions(poses: np.ndarray) -> list[np.ndarray]:
    """Motions between all pairs: P_i P_j^-1. From X B_i = M_i Z follows A_ij X = X C_ij."""
    return [poses[i] @ inverse(poses[j]) for i in range(len(poses)) for j in range(i)]


def _complete(R: np.ndarray, t: np.ndarray, M: np.ndarray, B: np.ndarray) -> Solution:
    """Z that goes with X: the mean over all poses."""
    X = np.eye(4)
    X[:3, :3], X[:3, 3] = R, t
    each = np.array([inverse(m) @ X @ b for m, b in zip(M, B)])
    Z = np.eye(4)
    Z[:3, :3], Z[:3, 3] = _nearest(each[:, :3, :3].sum(0)), each[:, :3, 3].mean(0)
    return X, Z


def _nearest(matrix: np.ndarray) -> np.ndarray:
    """The rotation nearest to a matrix, or to its negative."""
    U, _, Vt = np.linalg.svd(matrix if np.linalg.det(matrix) > 0 else -matrix)
    return U @ np.diag((1, 1, np.linalg.det(U @ Vt))) @ Vt


def _dual(T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit dual quaternion (real, dual), each w x y z with w >= 0 in the real part."""
    turn = cv2.Rodrigues(T[:3, :3])[0].ravel()
    angle = np.linalg.norm(turn)
    axis = turn / angle if angle > 1e-12 else np.zeros(3)
    q = np.concatenate([[np.cos(angle / 2)], np.sin(angle / 2) * axis])
    return q, 0.5 * _product(np.concatenate([[0.0], T[:3, 3]]), q)


def _dual_rows(qa: np.ndarray, da: np.ndarray, qc: np.ndarray, dc: np.ndarray) -> np.ndarray:
    """(6, 8) of one pair of motions: equation 31 of the paper."""
    top = np.hstack([(qa - qc)[1:, None], skew((qa + qc)[1:]), np.zeros((3, 4))])
    low = np.hstack([(da - dc)[1:, None], skew((da + dc)[1:]), (qa - qc)[1:, None], skew((qa + qc)[1:])])
    return np.vstack([top, low])


def _product(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Quaternion product, w x y z."""
    w = p[0] * q[0] - p[1:] @ q[1:]
    return np.concatenate([[w], p[0] * q[1:] + q[0] * p[1:] + np.cross(p[1:], q[1:])])


def _rotation(q: np.ndarray) -> np.ndarray:
    """(3, 3) of a unit quaternion w x y z."""
    angle = 2 * np.arctan2(np.linalg.norm(q[1:]), q[0])
    axis = q[1:] / max(np.linalg.norm(q[1:]), 1e-12)
    return cv2.Rodrigues(axis * angle)[0]
