"""Analytic spans against dense marching through an inside test, in plain Python."""

import numpy as np
import pytest

from clusterseg.synthetic.intersect import ENTER, unit_normals
from clusterseg.synthetic.solids import Kind

STEP = 1e-3
INSIDE = {
    Kind.BOX: lambda x, y, z: max(abs(x), abs(y), abs(z)) <= 1,
    Kind.ELLIPSOID: lambda x, y, z: x * x + y * y + z * z <= 1,
    Kind.CYLINDER: lambda x, y, z: x * x + y * y <= 1 and abs(z) <= 1,
    Kind.CONE: lambda x, y, z: abs(z) <= 1 and (x * x + y * y) ** 0.5 <= (1 - z) / 2,
}


def marched(kind, origin, ray):
    """First and last step inside, or None."""
    inside = [t for t in np.arange(0, 8, STEP) if INSIDE[kind](*(origin + t * ray))]
    return (inside[0], inside[-1]) if inside else None


@pytest.mark.parametrize("kind", list(Kind))
def test_spans_agree_with_marching(kind):
    rng = np.random.default_rng(int(kind))
    hits = 0
    for _ in range(25):
        origin = rng.normal(size=3)
        origin *= 3 / np.linalg.norm(origin)
        rays = rng.uniform(-1, 1, (3, 3)) - origin
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        enter, leave = ENTER[kind](origin, rays)
        for ray, t0, t1 in zip(rays, enter, leave, strict=True):
            reference = marched(kind, origin, ray)
            if reference is None:
                assert t1 - t0 < 5 * STEP
            else:
                hits += 1
                assert (t0, t1) == pytest.approx(reference, abs=2 * STEP)
    assert hits > 15


@pytest.mark.parametrize("kind", list(Kind))
def test_a_ray_that_points_away_never_enters(kind):
    origin = np.array([3.0, 0.2, 0.1])
    rays = np.array([[1.0, 0.1, 0.05], [0.3, 1.0, 0.0], [0.0, 0.0, 1.0]])
    enter, leave = ENTER[kind](origin, rays)
    assert ((enter >= leave) | (leave < 0)).all()


def test_the_inside_of_a_solid_is_told_by_a_negative_entry():
    for kind in Kind:
        enter, leave = ENTER[kind](np.array([0.05, 0.05, -0.3]), np.array([[0.5, 0.5, 0.2]]))
        assert enter[0] < 0 < leave[0]


@pytest.mark.parametrize("kind", [Kind.ELLIPSOID, Kind.CYLINDER, Kind.CONE, Kind.BOX])
def test_normals_are_orthogonal_to_the_surface(kind):
    """Neighbouring hits span the tangent plane; the normal of the middle one is orthogonal to it."""
    half = np.array([2.0, 0.7, 1.3])
    rng = np.random.default_rng(5)
    checked = 0
    for _ in range(60):
        origin = np.array([4.0, 3.0, 0.6]) * rng.choice([-1, 1], 3)
        ray = rng.uniform(-0.6, 0.6, 3) - origin
        rays = ray + np.concatenate([np.zeros((1, 3)), 1e-4 * rng.normal(size=(2, 3))])
        enter, leave = ENTER[kind](origin, rays)
        if (enter >= leave).any():
            continue
        points = origin + enter[:, None] * rays
        normals = unit_normals(np.full(3, kind), points, np.tile(half, (3, 1)))
        if np.abs(normals - normals[0]).max() > 0.01:
            continue  # the three rays fell on different faces
        tangents = (points[1:] - points[0]) * half
        tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
        assert np.abs(tangents @ normals[0]).max() < 5e-3
        assert normals[0] @ (ray * half) < 0
        checked += 1
    assert checked > 20
