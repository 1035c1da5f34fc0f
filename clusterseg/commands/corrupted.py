"""The part of an evaluation that scores a network under corruptions."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from clusterseg.build.evaluation import Parts, SplitData
from clusterseg.data.corrupt import SEVERITIES, About, Corrupt, check_corruptions
from clusterseg.errors import UserError
from clusterseg.predict.metrics import named
from clusterseg.predict.prediction import PredictedScan, PredictionTask, Sink
from clusterseg.predict.robustness import Baseline, robustness
from clusterseg.predict.voter import Voter
from clusterseg.viz.gallery import Gallery

log = logging.getLogger("clusterseg")


def predicted(parts: Parts, split: str, sinks: Sequence[Sink]) -> PredictionTask:
    """Predict and count every scan of a split, as the dataset yields them at this moment."""
    voter = Voter(parts.networks.networks, parts.views, parts.networks.voxel_size)
    modes = max(map(len, parts.data.reader.mode_names().values()), default=0)
    task = PredictionTask(voter, parts.networks.label_map.num_classes, sinks, modes)
    parts.trainer.validate(task, datamodule=SplitData(parts.data, split), verbose=False)
    return task


def check_corruptible(parts: Parts, names: Sequence[str], split: str) -> None:
    """Check that corruptions can be scored, before any scan is read.

    Raises:
        UserError: They cannot.
    """
    if names and split == "test":
        raise UserError("corrupt: split=test writes a submission and has no labels to score; set split=val")
    if names:
        check_corruptions(names, _about(parts))


def under_corruptions(
    parts: Parts, names: Sequence[str], split: str, clean: Mapping[str, Any], baseline: Baseline
) -> tuple[dict[str, Any], dict[str, PredictedScan]]:
    """Score a split under each corruption at each severity; every rank must call it.

    Args:
        parts: The parts of the evaluation.
        names: The corruptions.
        split: The split.
        clean: The result without corruption.
        baseline: What the corruption errors are relative to.

    Returns:
        The figures, see `robustness`; and the first scan under the heaviest of each corruption.

    Raises:
        UserError: There is no labelled point.
    """
    if not clean["points"]:
        raise UserError(f"corrupt: split={split} has no labelled point to score; choose another split")
    dataset, label_map = parts.data.dataset(split), parts.networks.label_map
    scores: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    drawn: dict[str, PredictedScan] = {}
    for name, severity in product(names, range(len(SEVERITIES))):
        log.info("%s, %s", name, SEVERITIES[severity])
        dataset.mixes = (Corrupt(name, severity, _about(parts)),)
        first = Gallery(dataset.scan_ids, 1, label_map)
        task = predicted(parts, split, [first])
        scores[name].append(named(task.tally_of_all().scores(), label_map.class_names))
        drawn[name] = first.of_all()[0]  # the heaviest comes last
    dataset.mixes = ()
    return robustness(clean["miou"], scores, baseline), drawn


def _about(parts: Parts) -> About:
    return About(parts.networks.label_map.class_names, parts.networks.features)
