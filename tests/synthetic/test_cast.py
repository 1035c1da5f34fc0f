"""Casting with windows against casting every ray at every solid, one scalar ray at a time."""

import numpy as np
import pytest

from clusterseg.synthetic.cast import bounding_windows, cast
from clusterseg.synthetic.lidar import Lidar
from clusterseg.synthetic.materials import M
from clusterseg.synthetic.solids import Kind, Part, Solids, box, rotation, upright

LIDAR = Lidar(beams=32, azimuths=90)
EMPTY = np.full((32, 90), np.inf)
RNG = np.random.default_rng


def random_parts(rng, count):
    parts = []
    for _ in range(count):
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(4, 25)
        center = (distance * np.cos(angle), distance * np.sin(angle), rng.uniform(-2, 1))
        half = tuple(rng.uniform(0.2, 2.5, 3))
        parts.append(Part(Kind(rng.integers(4)), center, half, M.WALL, tuple(rng.uniform(-3, 3, 3))))
    return parts


def slow_first_hit(part, ray):
    """Smallest t with the point inside the part: coarse marching, then bisection. Independent of the package."""
    turn = rotation(*part.angles)
    center, half = np.array(part.center), np.array(part.half)

    def inside(t):
        x, y, z = turn.T @ (t * ray - center) / half
        return {
            Kind.BOX: max(abs(x), abs(y), abs(z)) <= 1,
            Kind.ELLIPSOID: x * x + y * y + z * z <= 1,
            Kind.CYLINDER: x * x + y * y <= 1 and abs(z) <= 1,
            Kind.CONE: abs(z) <= 1 and np.hypot(x, y) <= (1 - z) / 2,
        }[part.kind]

    nearest = max(np.linalg.norm(center) - np.linalg.norm(half), 0)
    for t in np.arange(nearest, nearest + 2 * np.linalg.norm(half), 0.02):
        if inside(t):
            low, high = t - 0.02, t
            for _ in range(20):
                middle = (low + high) / 2
                low, high = (low, middle) if inside(middle) else (middle, high)
            return high
    return np.inf


def test_nearest_hits_agree_with_scalar_marching():
    parts = random_parts(RNG(3), 12)
    hits = cast(Solids.assemble(parts), LIDAR, EMPTY, RNG(0))
    rng, agree, hit = RNG(4), 0, 0
    rays = [(b, a) for b in range(32) for a in range(90)]
    chosen = rng.choice(len(rays), 150, replace=False)
    for b, a in (rays[i] for i in chosen):
        expected = min(slow_first_hit(p, LIDAR.directions[b, a].astype(float)) for p in parts)
        hit += np.isfinite(expected)
        agree += (np.isinf(expected) and np.isinf(hits.depth[b, a])) or abs(expected - hits.depth[b, a]) < 2e-3
    assert hit >= 25
    # marching may step over an edge thinner than its step
    assert agree >= 148


def test_windows_hide_no_hit():
    """With every window widened to the whole image the result is the same."""
    for seed in range(6):
        solids = Solids.assemble(random_parts(RNG(seed), 40))
        depth = cast(solids, LIDAR, EMPTY, RNG(0)).depth
        for i in range(len(solids)):
            w = bounding_windows(solids, LIDAR)
            columns = np.arange(w.left[i], w.right[i]) % 90
            alone = _cast_everywhere(solids, i)
            # rays are in single precision: a grazing hit is off by millimetres
            assert (depth <= alone + 5e-3).all()
            outside = np.ones_like(alone, bool)
            outside[np.ix_(range(w.top[i], w.bottom[i]), columns)] = False
            assert np.isinf(alone[outside]).all()
            assert w.near[i] <= alone.min() + 1e-4


def _cast_everywhere(solids, i):
    from clusterseg.synthetic.intersect import ENTER

    scaled = solids.axes[i] / solids.half[i]
    enter, leave = ENTER[int(solids.kind[i])](
        -solids.center[i] @ scaled, LIDAR.directions.reshape(-1, 3).astype(float) @ scaled
    )
    return np.where((enter < leave) & (enter > 0), enter, np.inf).reshape(32, 90)


def test_a_wall_hides_what_is_behind_it():
    wall = box((10, 0, 0), (0.1, 6, 6), M.WALL)
    behind = upright(20, 0, -3, 3, 0.5, M.STEEL)
    beside = upright(0, 20, -3, 3, 0.5, M.STEEL)
    hits = cast(Solids.assemble([behind, wall, beside]), LIDAR, EMPTY, RNG(0))
    assert set(np.unique(hits.solid)) == {-1, 1, 2}
    assert 0 in cast(Solids.assemble([behind]), LIDAR, EMPTY, RNG(0)).solid


def test_the_ground_hides_what_is_below_it():
    below = Solids.assemble([box((10, 0, -3), (2, 2, 0.5), M.WALL)])
    ground = np.full((32, 90), 3.0)
    assert (cast(below, LIDAR, ground, RNG(0)).solid == -1).all()
    assert (cast(below, LIDAR, EMPTY, RNG(0)).solid == 0).any()


@pytest.mark.parametrize("heading", [0.0, np.pi / 2, np.pi, -2.0])
def test_every_direction_sees_the_same(heading):
    """A window that wraps around the image loses nothing; the beam offsets allow one column more or less."""
    turn = rotation(heading)
    solid = Solids.assemble([box((8, 0, -1), (1, 3, 1), M.WALL)]).placed(np.zeros(3), turn)
    columns = (cast(solid, LIDAR, EMPTY, RNG(0)).solid == 0).sum(1)
    straight = (cast(Solids.assemble([box((8, 0, -1), (1, 3, 1), M.WALL)]), LIDAR, EMPTY, RNG(0)).solid == 0).sum(1)
    assert columns.max() > 8
    assert np.abs(columns - straight).max() <= 1


def test_foliage_scatters_in_depth_and_a_wall_does_not():
    size = (0.8, 4, 4)
    depths = {}
    for material in (M.WALL, M.LEAVES):
        hits = cast(Solids.assemble([box((10, 0, 0), size, material)]), LIDAR, EMPTY, RNG(0))
        seen = hits.solid == 0
        depths[material] = (hits.depth * LIDAR.directions[..., 0])[seen]
    assert depths[M.WALL].std() < 1e-3
    assert 0.1 < depths[M.LEAVES].std() < 1.0
    assert depths[M.LEAVES].min() > 9.19
    assert depths[M.LEAVES].max() < 10.81


def test_slats_have_gaps():
    seen = {}
    for material in (M.WOOD, M.SLATS):
        # x along the fence: turned to stand across the view
        fence = box((6, 0, 0), (5, 0.02, 3), material, angles=(np.pi / 2, 0.0, 0.0))
        seen[material] = (
            cast(Solids.assemble([fence]), Lidar(32, 900), np.full((32, 900), np.inf), RNG(0)).solid == 0
        ).sum()
    assert seen[M.SLATS] / seen[M.WOOD] == pytest.approx(0.65, abs=0.05)
