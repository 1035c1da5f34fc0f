"""Run and report studies: `clusterseg study run NAME`, `clusterseg study report NAME`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from omegaconf import DictConfig
from pydantic import Field

from clusterseg.config.signatures import require
from clusterseg.config.suggestions import does_not_compose
from clusterseg.errors import UserError
from clusterseg.files import CONF
from clusterseg.runs.lock import working_in
from clusterseg.sweeps.study import Plan, read_plan, read_results, run_study, write_report
from clusterseg.sweeps.study.plan import chosen
from clusterseg.sweeps.study.queue import Workplace
from clusterseg.sweeps.study.statistics import check_scipy

_ACTIONS = ("run", "report")


def study(config: DictConfig, run_dir: Path) -> None:
    """Run what is missing of a study, or write its report.

    Raises:
        UserError: A setting or the plan is wrong, a result belongs to another plan, or a run failed.
    """
    require(
        config,
        at_once=Annotated[int, Field(ge=1)],
        threads=Annotated[int, Field(ge=1)],
        out=str | None,
        runs=str | None,
        arms=list[str] | None,
    )
    words = [str(word) for word in config.what]
    if len(words) != 2 or words[0] not in _ACTIONS:
        raise UserError(f"got {' '.join(words) or 'nothing'}; expected: clusterseg study run NAME, or report NAME")
    check_scipy()  # before hours of runs, not after them
    action, plan = words[0], read_plan(words[1])
    out = Path(config.out or f"docs/study/{plan.name}").expanduser()
    if action == "run":
        _run(config, plan, out)
    results = read_results(plan, out)
    if not results:
        raise UserError(f"{out}: holds no result of {plan.name}; make some by: clusterseg study run {words[1]}")
    for path in write_report(plan, results, out):
        print(path)


def _run(config: DictConfig, plan: Plan, out: Path) -> None:
    runs = Path(config.runs or f"outputs/study/{plan.name}").expanduser()
    arms = None if config.arms is None else [str(arm) for arm in config.arms]
    _check_arms(plan, arms)
    with working_in(runs):
        failed = run_study(plan, Workplace(runs, out, config.at_once, config.threads), arms)
    if failed:
        raise UserError(f"{len(failed)} run(s) failed: {', '.join(failed)}; the reason is in study.log under {runs}")


def _check_arms(plan: Plan, arms: Sequence[str] | None) -> None:
    """Compose the settings of each arm, so that a mistake in the last one is told before the first one runs.

    Raises:
        UserError: It names every arm whose settings are wrong.
    """
    first = {cell.arm: cell for cell in reversed(chosen(list(plan.cells()), arms))}
    said = {arm: does_not_compose(CONF, "train", cell.settings) for arm, cell in first.items()}
    wrong = [f"arm {arm}: {mistake}" for arm, mistake in said.items() if mistake is not None]
    if wrong:
        raise UserError("\n".join(wrong))
