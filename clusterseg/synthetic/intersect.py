"""Intersection of rays with primitives of unit size: the analytic core of the ray caster."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from clusterseg.synthetic.solids import Kind

Spans = tuple[Float[np.ndarray, " rays"], Float[np.ndarray, " rays"]]
_TINY = 1e-12


def _slabs(origin: np.ndarray, rays: np.ndarray) -> Spans:
    """Spans within |x_i| <= 1 for each of the given axes (rays, axes)."""
    inverse = 1.0 / np.where(np.abs(rays) < _TINY, _TINY, rays)
    middle, reach = -origin * inverse, np.abs(inverse)
    return (middle - reach).max(1), (middle + reach).min(1)


def _quadric(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> Spans:
    """Roots of a t^2 + 2 b t + c = 0 for a > 0; an empty span (inf, -inf) without real roots."""
    root = b * b - a * c
    miss = root < 0
    root = np.sqrt(np.where(miss, 0, root))
    a = np.maximum(a, _TINY)
    return np.where(miss, np.inf, (-b - root) / a), np.where(miss, -np.inf, (-b + root) / a)


def enter_box(origin: Float[np.ndarray, " 3"], rays: Float[np.ndarray, "rays 3"]) -> Spans:
    """Span of each ray inside the cube |x|, |y|, |z| <= 1."""
    return _slabs(origin, rays)


def enter_ellipsoid(origin: Float[np.ndarray, " 3"], rays: Float[np.ndarray, "rays 3"]) -> Spans:
    """Span of each ray inside the sphere |x| <= 1."""
    return _quadric(np.einsum("ij,ij->i", rays, rays), rays @ origin, origin @ origin - 1)


def enter_cylinder(origin: Float[np.ndarray, " 3"], rays: Float[np.ndarray, "rays 3"]) -> Spans:
    """Span of each ray inside x^2 + y^2 <= 1, |z| <= 1."""
    flat, o = rays[:, :2], origin[:2]
    t0, t1 = _quadric(np.einsum("ij,ij->i", flat, flat), flat @ o, o @ o - 1)
    z0, z1 = _slabs(origin[2:], rays[:, 2:])
    return np.maximum(t0, z0), np.minimum(t1, z1)


def enter_cone(origin: Float[np.ndarray, " 3"], rays: Float[np.ndarray, "rays 3"]) -> Spans:
    """Span of each ray inside the cone with base radius 1 at z = -1 and apex at z = 1.

    With h = (1 - z) / 2 the side is x^2 + y^2 = h^2. A ray steeper than the side (a < 0) is inside before the
    smaller and after the larger root; the half with h > 0 is the one that counts.
    """
    x, y, dx, dy = origin[0], origin[1], rays[:, 0], rays[:, 1]
    h, dh = (1 - origin[2]) / 2, -rays[:, 2] / 2
    a, b, c = dx * dx + dy * dy - dh * dh, dx * x + dy * y - dh * h, x * x + y * y - h * h
    a = np.where(np.abs(a) < _TINY, _TINY, a)
    root = b * b - a * c
    miss = root < 0
    root = np.sqrt(np.where(miss, 0, root))
    t0, t1 = (-b - root) / a, (-b + root) / a
    t0, t1 = np.minimum(t0, t1), np.maximum(t0, t1)
    # a < 0: the ray is inside for t <= t0 and t >= t1, on different halves of the double cone
    steep, down = a < 0, dh > 0
    enter = np.where(steep, np.where(down, t1, -np.inf), t0)
    leave = np.where(steep, np.where(down, np.inf, t0), t1)
    z0, z1 = _slabs(origin[2:], rays[:, 2:])
    enter, leave = np.maximum(enter, z0), np.minimum(leave, z1)
    return np.where(miss & ~steep, np.inf, enter), np.where(miss & ~steep, -np.inf, leave)


ENTER: dict[int, Callable[[np.ndarray, np.ndarray], Spans]] = {
    Kind.BOX: enter_box,
    Kind.ELLIPSOID: enter_ellipsoid,
    Kind.CYLINDER: enter_cylinder,
    Kind.CONE: enter_cone,
}
"""`ENTER[kind](origin, rays) -> (t_in, t_out)`: a ray `origin + t ray` is inside for t_in < t < t_out.

An empty span (t_in >= t_out) is a miss; t_in <= 0 < t_out means that the origin is inside.
"""


def unit_normals(
    kind: np.ndarray, points: Float[np.ndarray, "points 3"], half: Float[np.ndarray, "points 3"]
) -> Float[np.ndarray, "points 3"]:
    """Outward unit normals at points on unit primitives, in the primitive's own axes at its true size.

    Args:
        kind: Primitive of each point (points,).
        points: Positions on the surface, in units of the half sizes.
        half: Half sizes, in metres.
    """
    x, y, z = points.T
    side = np.stack([x, y, np.zeros_like(z)], 1)
    cap = np.abs(z) >= np.hypot(x, y)
    up = np.stack([np.zeros_like(x), np.zeros_like(x), np.sign(z)], 1)
    axis = np.abs(points).argmax(1)
    face = np.zeros_like(points)
    face[np.arange(len(points)), axis] = np.sign(points[np.arange(len(points)), axis])
    slope = np.stack([x, y, np.hypot(x, y) / 2], 1)
    k = kind[:, None]
    normal = np.select(
        [k == Kind.BOX, k == Kind.ELLIPSOID, k == Kind.CYLINDER, k == Kind.CONE],
        [face, points, np.where(cap[:, None], up, side), slope],
    )
    normal = normal / half
    return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
