import numpy as np
import pytest

from clusterseg.synthetic.labels import Raw
from clusterseg.synthetic.lidar import Lidar, hdl64_elevations
from clusterseg.synthetic.materials import M
from clusterseg.synthetic.view import View


def flat_view(lidar, depth, material, cosine=1.0):
    shape = (lidar.beams, lidar.azimuths)
    return View(
        depth=np.full(shape, depth),
        instance=np.full(shape, 7),
        material=np.full(shape, int(material)),
        tint=np.ones(shape),
        cosine=np.full(shape, cosine),
    )


def test_elevations_are_those_of_the_data_sheet():
    degrees = np.rad2deg(hdl64_elevations())
    assert degrees[[0, 31, 32, 63]] == pytest.approx([2.0, -8.33, -8.83, -24.33], abs=0.01)
    assert (np.diff(degrees) < 0).all()


@pytest.mark.parametrize("beams", [64, 32, 16])
def test_directions_are_unit_vectors_with_x_forward_and_y_left(beams):
    lidar = Lidar(beams, 360)
    assert lidar.directions.shape == (beams, 360, 3)
    assert np.linalg.norm(lidar.directions, axis=-1) == pytest.approx(1.0, abs=1e-6)
    assert lidar.directions[0, 0, 0] > 0.98
    assert lidar.directions[0, 90, 1] > 0.98


def test_noise_moves_points_along_their_rays_only():
    lidar = Lidar(16, 400, noise=0.02)
    points, instance = lidar.measure(flat_view(lidar, 10.0, M.PLASTER), np.random.default_rng(0))
    regular = instance == 7
    distance = np.linalg.norm(points[regular, :3], axis=1)
    assert distance.std() == pytest.approx(0.02, rel=0.1)
    assert distance.mean() == pytest.approx(10.0, abs=0.01)
    direction = points[regular, :3] / distance[:, None]
    nearest = (direction @ lidar.directions.reshape(-1, 3).T).max(1)
    assert nearest.min() > 1 - 1e-6


def test_remission_is_quantised_in_range_and_depends_on_material_and_angle():
    lidar = Lidar(16, 400)
    means = {}
    for material in (M.RETRO, M.ASPHALT, M.RUBBER):
        points, _ = lidar.measure(flat_view(lidar, 10.0, material), np.random.default_rng(0))
        remission = points[:, 3]
        assert remission.min() >= 0
        assert remission.max() <= 1
        assert np.abs(remission * 100 - np.round(remission * 100)).max() < 1e-4
        means[material] = remission.mean()
    assert means[M.RETRO] > means[M.ASPHALT] > means[M.RUBBER]
    grazing, _ = lidar.measure(flat_view(lidar, 10.0, M.ASPHALT, cosine=0.05), np.random.default_rng(0))
    assert grazing[:, 3].mean() < means[M.ASPHALT]


def test_glass_far_and_grazing_surfaces_return_less():
    lidar = Lidar(16, 400)
    count = {
        name: len(lidar.measure(view, np.random.default_rng(0))[0])
        for name, view in {
            "wall": flat_view(lidar, 10.0, M.PLASTER),
            "glass": flat_view(lidar, 10.0, M.GLASS),
            "far": flat_view(lidar, 75.0, M.PLASTER),
            "grazing": flat_view(lidar, 10.0, M.PLASTER, cosine=0.03),
        }.items()
    }
    assert count["wall"] > 0.99 * 16 * 400
    assert count["glass"] < 0.7 * count["wall"]
    assert count["far"] < 0.95 * count["wall"]
    assert count["grazing"] < 0.99 * count["wall"]


def test_nothing_returns_from_the_sky_from_beyond_the_range_and_from_the_own_roof():
    lidar = Lidar(16, 100, max_range=50.0)
    for depth in (np.inf, 60.0, 1.0):
        assert len(lidar.measure(flat_view(lidar, depth, M.WALL), np.random.default_rng(0))[0]) == 0


def test_strays_are_unlabeled():
    lidar = Lidar(16, 400)
    view = flat_view(lidar, 10.0, M.PLASTER)
    view.depth[:, ::2] = 20.0
    points, instance = lidar.measure(view, np.random.default_rng(0))
    assert 0.1 < (instance == Raw.UNLABELED).mean() < 0.5
    between = np.linalg.norm(points[instance == 0, :3], axis=1)
    assert ((between > 11) & (between < 19)).mean() > 0.5
