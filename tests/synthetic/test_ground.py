"""The ground against brute force: distances to every vertex, and rays marched in small steps."""

import numpy as np
import pytest

from clusterseg.synthetic.labels import Raw
from clusterseg.synthetic.lidar import Lidar
from clusterseg.synthetic.town import build_town

LIDAR = Lidar(beams=16, azimuths=60)


@pytest.fixture(scope="module")
def town():
    return build_town(seed=3, sequence=2, seconds=5.0)


@pytest.fixture(scope="module")
def ego(town):
    return town.ego(2.0)


def test_edge_distance_agrees_with_every_road_sampled_densely(town, ego):
    rng = np.random.default_rng(0)
    xy = ego.position[:2] + rng.uniform(-70, 70, (400, 2))
    out = ego.ground.locate(xy).out
    expected = np.full(len(xy), np.inf)
    for road in town.ground.roads:
        fine = np.linspace(0, road.length, 10 * len(road.xy))
        curve = np.array([road.at(s)[:2] for s in fine])
        gap = np.linalg.norm(xy[:, None] - curve, axis=2).min(1)
        expected = np.minimum(expected, gap - road.half_width)
    assert np.abs(out - expected).max() < 0.35
    near = expected < 15
    assert near.sum() > 50
    assert np.abs(out - expected)[near].max() < 0.05


def test_road_coordinates_lead_back_to_the_place(town, ego):
    road = town.ground.roads[0]
    for s, d in ((100.0, 2.0), (120.5, -7.5), (133.3, 11.0)):
        x, y, _ = road.at(s, d)
        first = np.array([int(s) + 3])
        found_s, found_d = road.project(np.array([[x, y]]), first)
        assert (found_s[0], found_d[0]) == pytest.approx((s, d), abs=0.05)


def test_rays_end_where_marching_meets_the_ground(ego):
    rays = LIDAR.directions.astype(float) @ ego.axes.T
    depth = ego.ground.cast(ego.position, rays, 80.0)
    wrong, hit = 0, 0
    steps = np.arange(1.0, 80.0, 0.02)
    for b in range(0, 16):
        for a in range(b % 4, 60, 4):
            points = ego.position + steps[:, None] * rays[b, a]
            below = np.flatnonzero(points[:, 2] < ego.ground.height(points[:, :2]))
            expected = steps[below[0]] if len(below) else np.inf
            hit += np.isfinite(expected)
            # rings are 1.7 % apart: what is smaller than that at a grazing angle may be stepped over
            wrong += not (depth[b, a] == expected or abs(depth[b, a] - expected) < 0.05 + 0.01 * expected)
    assert hit > 120
    assert wrong <= 0.03 * hit


def test_the_ground_has_a_kerb_and_a_road_under_the_sensor(town, ego):
    main = town.ground.roads[0]
    raw = town.register.raw
    x, y, _ = main.at(110.0, 0.0)
    style = ego.ground.style(np.array([[x, y]]))
    assert raw[town.ground.styles[style, 0]][0] in (Raw.ROAD, Raw.LANE_MARKING)
    # side roads begin beyond 100 m
    block = main.right
    k = int(np.searchsorted(block.start, 60.0, "right")) - 1
    edge = main.half_width + block.parking[k]
    heights = [ego.ground.height(np.array([main.at(60.0, -(edge + e))[:2]]))[0] for e in (-0.2, 0.2)]
    assert 0.08 < heights[1] - heights[0] < 0.16


def test_the_sensor_is_173_cm_above_the_road(town, ego):
    below = ego.ground.height(ego.position[None, :2])[0]
    assert ego.position[2] - below == pytest.approx(1.73, abs=0.05)


def test_painted_lines_are_thin_and_dashed(town, ego):
    main = town.ground.roads[0]
    if main.lanes == 0:
        pytest.skip("the main road of this town has no paint")
    raw = town.register.raw[town.ground.styles[:, 0]]
    along = [raw[ego.ground.style(np.array([main.at(s, 0.0)[:2]]))[0]] for s in np.arange(100, 136, 0.5)]
    share = np.mean([r == Raw.LANE_MARKING for r in along])
    assert 0.15 < share < 0.55
    across = [raw[ego.ground.style(np.array([main.at(101.0, d)[:2]]))[0]] for d in np.arange(-3, 3, 0.02)]
    assert np.mean([r == Raw.LANE_MARKING for r in across]) < 0.1
