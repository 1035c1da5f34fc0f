"""How much a network loses under corruptions: corruption error and resilience rate, as Robo3D defines them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clusterseg.data.corrupt import SEVERITIES
from clusterseg.errors import UserError


@dataclass(frozen=True)
class Baseline:
    """The network whose errors count as 1.

    Attributes:
        name: What it is.
        miou: Its mIoU in 0..1 at each severity, by corruption.
    """

    name: str
    miou: Mapping[str, Sequence[float]]


# ldkong1205/Robo3D, docs/results/MinkUNet-18_cr1.0.md, on SemanticKITTI-C: the baseline of its tables.
PUBLISHED = Baseline(
    "MinkUNet-18 of Robo3D on SemanticKITTI-C (published, of the original corruptions)",
    {
        "fog": (0.6171, 0.5832, 0.4759),
        "wet_ground": (0.5838, 0.5238, 0.5121),
        "snow": (0.5550, 0.5370, 0.5065),
        "motion_blur": (0.4278, 0.3162, 0.2435),
        "beam_missing": (0.6070, 0.5678, 0.5147),
        "crosstalk": (0.5987, 0.5847, 0.5668),
        "incomplete_echo": (0.5789, 0.5468, 0.5072),
        "cross_sensor": (0.5753, 0.5208, 0.2853),
    },
)


def read_baseline(setting: str | None, names: Sequence[str]) -> Baseline:
    """Read the baseline from the `metrics.json` of an evaluation with `corrupt`; None takes the published one.

    Raises:
        UserError: The file cannot be read, or lacks one of the corruptions.
    """
    if setting is None:
        return PUBLISHED
    path = Path(str(setting)).expanduser()
    try:
        table = json.loads(path.read_text(encoding="utf-8"))["robustness"]["corruptions"]
        miou = {name: tuple(float(value) for value in table[name]["miou"]) for name in names}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"corrupt_baseline={path}: cannot be read as the metrics.json of an evaluation with corrupt="
            f"[{','.join(names)}] ({type(error).__name__}: {error}); write it by evaluate.py ckpt=BASELINE corrupt=..."
        ) from None
    return Baseline(str(path), miou)


def robustness(clean: float, scores: Mapping[str, Sequence[Mapping[str, Any]]], baseline: Baseline) -> dict[str, Any]:
    """Return the figures of `metrics.json`, as shares of 1.

    Source: Kong et al., Robo3D (ICCV 2023), section 3.3: CE is the sum of the errors 1 - mIoU over the severities, by
    that of the baseline; RR the mean mIoU over the severities, by the clean mIoU; mCE and mRR their means.

    Args:
        clean: The clean mIoU.
        scores: For each corruption, miou, miou_present, accuracy and points at each severity.
        baseline: What CE is relative to.
    """
    table = {name: _row(clean, rows, baseline.miou[name]) for name, rows in scores.items()}
    rates = [row["rr"] for row in table.values()]
    return {
        "mce": sum(row["ce"] for row in table.values()) / len(table),
        "mrr": None if None in rates else sum(rates) / len(rates),
        "clean": clean,
        "baseline": baseline.name,
        "severities": list(SEVERITIES),
        "corruptions": table,
    }


def _row(clean: float, rows: Sequence[Mapping[str, Any]], baseline: Sequence[float]) -> dict[str, Any]:
    miou = [float(row["miou"] or 0) for row in rows]
    return {
        "miou": miou,
        **{key: [row[key] for row in rows] for key in ("miou_present", "accuracy", "points")},
        "ce": sum(1 - value for value in miou) / max(sum(1 - value for value in baseline), 1e-9),
        "rr": sum(miou) / (len(miou) * clean) if clean else None,
    }
