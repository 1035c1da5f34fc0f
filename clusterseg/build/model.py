"""Use a trained network from Python: `clusterseg.load("best.ckpt").predict(points)`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt32

from clusterseg.build.ensemble import Networks, read_networks
from clusterseg.data.batch import collate
from clusterseg.data.sample import build_sample
from clusterseg.errors import UserError
from clusterseg.predict.views import choose_views
from clusterseg.predict.voter import Voter
from clusterseg.predict.writer import unlabel

#: The type of autocast for each precision.
PRECISIONS = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@dataclass(frozen=True, eq=False)
class Prediction:
    """The labels of a point cloud, one row per input point, in input order.

    Attributes:
        labels: Raw ids, as in the data set's label files; the id of `unlabeled` for a point without a finite position.
        train_ids: Indices into `Model.class_names`, or 255.
        confidence: Probability of the label, in 0..1.

    Examples:
        >>> result = Prediction(np.array([10], np.uint32), np.array([0]), np.array([0.9], np.float32))
        >>> result.labels[result.confidence > 0.5]
        array([10], dtype=uint32)
    """

    labels: UInt32[np.ndarray, " points"]
    train_ids: Int64[np.ndarray, " points"]
    confidence: Float32[np.ndarray, " points"]


class Model:
    """Labels point clouds with the network of a checkpoint. Create it with `load`.

    Args:
        networks: One network, or an ensemble.
        device: `auto` (a GPU if there is one), `cpu`, `cuda` or `cuda:N`.
        precision: `32-true`, `bf16-mixed` or `16-mixed`.
        tta: Test-time augmentation, see `choose_views`.

    Attributes:
        class_names: Names of the classes, by train id.
        features: Names of the columns that `predict` takes.

    Raises:
        UserError: A setting is not possible on this machine.

    Examples:
        >>> model = load("best.ckpt", device="cpu")
        >>> model.features, model.class_names[0]
        (('x', 'y', 'z', 'remission'), 'car')
        >>> clouds = [np.full((n, 4), 0.5, np.float32) for n in (3, 5)]
        >>> [len(result.labels) for result in model.predict_batch(clouds)]
        [3, 5]
    """

    def __init__(self, networks: Networks, device: str = "auto", precision: str = "32-true", tta: str = "none") -> None:
        if precision not in PRECISIONS:
            raise UserError(f"precision={precision}: expected one of {', '.join(PRECISIONS)}")
        self.device = choose_device(device)
        self.precision = precision
        self.class_names = networks.label_map.class_names
        self.features = networks.features
        self.label_map = networks.label_map
        self.voxel_size = networks.voxel_size
        self._voter = Voter(networks.networks, choose_views(tta), networks.voxel_size).to(self.device).eval()

    def predict(self, points: Float32[np.ndarray, "points channels"]) -> Prediction:
        """Label one point cloud.

        Args:
            points: (N, C) float32, the columns named by `features`: x, y, z in metres in the sensor's frame, z up, and
                remission in 0..1.

        Raises:
            UserError: The array has another shape, or no point is finite.
        """
        return self.predict_batch([points])[0]

    @torch.inference_mode()
    def predict_batch(self, clouds: Sequence[Float32[np.ndarray, "points channels"]]) -> list[Prediction]:
        """Label several point clouds in one pass through the network; see `predict`."""
        samples = [
            build_sample(self._checked(cloud), None, str(i), voxel_size=self.voxel_size, keep_points=True)
            for i, cloud in enumerate(clouds)
        ]
        if not samples:
            return []
        batch = collate(samples).to(self.device)
        kind = PRECISIONS[self.precision]
        with torch.autocast(self.device.type, kind, enabled=kind is not None):
            vote = self._voter(batch)
        counts = batch.point_counts.tolist()
        parts = (values.cpu().split(counts) for values in (vote.predictions, vote.confidence))
        return [
            self._prediction(cloud, train_ids.numpy(), confidence.numpy())
            for cloud, train_ids, confidence in zip(clouds, *parts, strict=True)
        ]

    def _checked(self, points: np.ndarray) -> Float32[np.ndarray, "points channels"]:
        array = np.asarray(points)
        if array.ndim != 2 or array.shape[1] != len(self.features) or not len(array) or array.dtype.kind not in "fiu":
            raise UserError(
                f"points: an array {array.shape} of {array.dtype}; expected (points, {len(self.features)}) of float32: "
                f"{', '.join(self.features)}"
            )
        return np.ascontiguousarray(array, np.float32)

    def _prediction(self, points: np.ndarray, train_ids: np.ndarray, confidence: np.ndarray) -> Prediction:
        placed = np.isfinite(np.asarray(points)[:, :3]).all(1)
        train_ids, confidence = unlabel(placed, train_ids, confidence.astype(np.float32))
        return Prediction(self.label_map.to_raw(train_ids), train_ids, confidence)


def load(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    device: str = "auto",
    precision: str = "32-true",
    tta: str = "none",
    trust: Sequence[str] = (),
) -> Model:
    """Load a checkpoint of `clusterseg train`, ready to predict.

    Args:
        path: A checkpoint, or several: an ensemble.
        device: See `Model`.
        precision: See `Model`.
        tta: See `Model`.
        trust: Modules of your own whose classes the checkpoint names, such as `["my_package"]`.

    Raises:
        UserError: The file is missing or damaged, or names a class that is not trusted.

    Examples:
        >>> import numpy as np
        >>> model = load("best.ckpt", device="cpu")
        >>> result = model.predict(np.random.default_rng(0).uniform(0, 9, (100, 4)).astype(np.float32))
        >>> result.labels.shape, result.train_ids.shape, result.confidence.shape
        ((100,), (100,), (100,))
    """
    if isinstance(path, list | tuple):
        networks = read_networks([os.fspath(each) for each in path], trust)
    else:
        networks = read_networks(os.fspath(path), trust)  # type: ignore[arg-type]  # a sequence is a list or a tuple
    return Model(networks, device, precision, tta)


def choose_device(name: str) -> torch.device:
    """Return the device of `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        UserError: There is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"device={name} cannot be used ({reason}); expected auto, cpu or cuda") from None
    return torch.device(name)
