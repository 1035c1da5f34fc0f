"""What the results of a study say: each arm against the baseline, and against each other where the plan says so."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace

from clusterseg.sweeps.study.plan import Plan
from clusterseg.sweeps.study.result import Result
from clusterseg.sweeps.study.statistics import Paired, holm, paired

_CLASS = "val/iou/"
_PLATEAU = 5  # the last fifth of a run


@dataclass(frozen=True)
class Arm:
    """An arm of a study.

    Attributes:
        name: Its name.
        runs: Finished runs.
        mean: Mean of the endpoint over them; None without a run.
        std: Sample standard deviation; None below two runs.
        against: Against the baseline on the endpoint; None for the baseline itself or without common seeds.
        others: Against the baseline on the further metrics and the groups of metrics.
        classes: Against the baseline on the IoU of each class.
        adjusted: p-values of the classes, adjusted by Holm over the classes of this arm.
        late_gain: Mean gain of the endpoint over the last fifth of the steps; None where that was not validated.
        cost: Mean ratio of wall time to the baseline's over common seeds; None without any.
    """

    name: str
    runs: int
    mean: float | None
    std: float | None
    against: Paired | None
    others: dict[str, Paired]
    classes: dict[str, Paired]
    adjusted: dict[str, float | None]
    late_gain: float | None
    cost: float | None


@dataclass(frozen=True)
class Pair:
    """An arm of a study against another one than the baseline.

    Attributes:
        arm: Name of the arm.
        other: Name of the one that is subtracted.
        figures: The endpoint and the groups of metrics, by name.
    """

    arm: str
    other: str
    figures: dict[str, Paired]


def compare(plan: Plan, results: Mapping[str, Result]) -> list[Arm]:
    """Compare every arm of the plan with its baseline, in the plan's order."""
    by_arm = _by_arm(plan, results)
    return [_arm(plan, name, runs, by_arm[plan.baseline]) for name, runs in by_arm.items()]


def compare_pairs(plan: Plan, results: Mapping[str, Result]) -> list[Pair]:
    """Compare the further pairs of arms that the plan names."""
    by_arm, figures = _by_arm(plan, results), [plan.endpoint, *plan.groups]
    return [Pair(arm, other, _against(by_arm[arm], by_arm[other], figures)) for arm, other in plan.pairs]


def _by_arm(plan: Plan, results: Mapping[str, Result]) -> dict[str, dict[int, Result]]:
    """Results by arm and seed; to the metrics of each come the means of the groups, over what all runs have."""
    everywhere = set.intersection(*(set(result.metrics) for result in results.values())) if results else set()
    members = {
        name: [key for key in sorted(everywhere) if any(_matches(key, pattern) for pattern in patterns)]
        for name, patterns in plan.groups.items()
    }

    def with_groups(result: Result) -> Result:
        means = {name: statistics.fmean(result.metrics[key] for key in keys) for name, keys in members.items() if keys}
        return replace(result, metrics={**result.metrics, **means})

    return {name: {r.seed: with_groups(r) for r in results.values() if r.arm == name} for name in plan.arms}


def _arm(plan: Plan, name: str, runs: dict[int, Result], baseline: dict[int, Result]) -> Arm:
    values = list(_figure(runs, plan.endpoint).values())
    names = sorted({key for run in runs.values() for key in run.metrics})
    further = [*plan.groups, *(key for key in names if any(_matches(key, pattern) for pattern in plan.also))]
    classes = [key for key in names if key.startswith(_CLASS)]
    other = name != plan.baseline
    by_class = _against(runs, baseline, classes) if other else {}
    by_class = {key.removeprefix(_CLASS): pair for key, pair in by_class.items()}
    gains = [gain for run in runs.values() if (gain := late_gain(run)) is not None]
    ratios = [run.seconds / baseline[seed].seconds for seed, run in runs.items() if seed in baseline]
    return Arm(
        name,
        len(runs),
        statistics.fmean(values) if values else None,
        statistics.stdev(values) if len(values) > 1 else None,
        paired(_figure(runs, plan.endpoint), _figure(baseline, plan.endpoint)) if other else None,
        _against(runs, baseline, further) if other else {},
        by_class,
        holm({key: pair.p for key, pair in by_class.items()}),
        statistics.fmean(gains) if gains else None,
        statistics.fmean(ratios) if ratios else None,
    )


def _figure(runs: Mapping[int, Result], key: str) -> dict[int, float]:
    return {seed: run.metrics[key] for seed, run in runs.items() if key in run.metrics}


def _against(runs: Mapping[int, Result], baseline: Mapping[int, Result], keys: list[str]) -> dict[str, Paired]:
    pairs = {key: paired(_figure(runs, key), _figure(baseline, key)) for key in keys}
    return {key: pair for key, pair in pairs.items() if pair is not None}


def _matches(key: str, pattern: str) -> bool:
    return key.startswith(pattern[:-1]) if pattern.endswith("*") else key == pattern


def late_gain(run: Result) -> float | None:
    """Endpoint at the end minus endpoint at four fifths of the steps; None if nothing was validated near there."""
    from_step = run.steps * (_PLATEAU - 1) / _PLATEAU
    earlier = [(step, value) for step, value in run.curve if step <= from_step + 0.02 * run.steps]
    if not earlier or earlier[-1][0] < from_step - 0.1 * run.steps:
        return None
    return run.curve[-1][1] - earlier[-1][1]
