"""Hydra's sweeper for Optuna, with pruning: ``hydra/sweeper=optuna_pruning``, as ``sweep=optuna`` has it."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Transformer
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.errors import InstantiationException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

    from clusterseg.sweeps.optuna import Direction

log = logging.getLogger("clusterseg")
SWEEP = "sweep"  # attribute of a trial: where it was begun


class OptunaSweeper(Sweeper):
    """Asks an Optuna study for trials, launches each as a job, and tells the study what the job returned.

    The search space is written as for the sweeper that Hydra's authors publish (``choice``, ``range``, ``interval``,
    ``tag(log, interval(..))``), with the same keys. Theirs cannot prune: a job does not learn which trial it is, and
    the sweeper calls a trial complete whatever its job found; and up to Hydra 1.3 it is bound to Optuna 2, whose
    storages do not work with a current SQLAlchemy. Here a job's number is its trial's number, also when a study goes
    on in the folder of an earlier sweep; the job itself ends its trial as pruned (`clusterseg.callbacks.Pruning`),
    because only then Optuna's samplers and pruners know it for what it is. A job that fails, or returns no finite
    number, is a failed trial and does not end the sweep.

    Args:
        n_trials: Trials of this sweep, beside those that the study holds already.
        n_jobs: Trials launched together, for launchers that run jobs side by side.
        direction: ``maximize`` or ``minimize``.
        storage: See `clusterseg.sweeps.optuna.open_study`.
        sampler: Configuration of an Optuna sampler.
        pruner: Configuration of an Optuna pruner.
        params: The search space: values as after the equals sign of a command line.
    """

    def __init__(
        self,
        n_trials: int,
        n_jobs: int,
        direction: Direction,
        storage: str,
        sampler: DictConfig,
        pruner: DictConfig,
        params: DictConfig | None = None,
    ) -> None:
        self.n_trials, self.n_jobs, self.direction, self.storage = n_trials, n_jobs, direction, storage
        self.sampler, self.pruner, self.params = sampler, pruner, params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Make the launcher."""
        self.folder = Path(config.hydra.sweep.dir)
        self.parser = OverridesParser.create(config_loader=hydra_context.config_loader)
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run all trials."""
        from clusterseg.errors import UserError
        from clusterseg.sweeps.optuna import open_study

        for name in ("n_trials", "n_jobs"):
            if getattr(self, name) < 1:
                raise UserError(f"hydra.sweeper.{name}={getattr(self, name)}: expected a number from 1")
        open_study(self.storage, self.direction)  # tells what is wrong before the sampler needs Optuna
        study = open_study(self.storage, self.direction, _made("sampler", self.sampler), _made("pruner", self.pruner))
        fixed, space = self._search_space(arguments)
        self.folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, self.folder / "multirun.yaml")
        mine = _place(self.folder, self.storage)
        _end_abandoned(study, mine)
        for start in range(0, self.n_trials, self.n_jobs):
            trials = [study.ask(space) for _ in range(min(self.n_jobs, self.n_trials - start))]
            for trial in trials:
                trial.set_user_attr(SWEEP, mine)
            jobs = [[*fixed, *(f"{key}={value}" for key, value in trial.params.items())] for trial in trials]
            assert self.launcher is not None
            returns = self.launcher.launch(jobs, initial_job_idx=trials[0].number)
            for trial, returned in zip(trials, returns, strict=True):
                _tell(study, trial.number, returned)
        _save_best(study, self.folder / "optimization_results.yaml")

    def _search_space(self, arguments: Sequence[str]) -> tuple[list[str], dict[str, BaseDistribution]]:
        """Overrides common to all jobs, and distributions by key; the command line has the last word on a key."""
        lines = [f"{key!s}={value}" for key, value in (self.params or {}).items()]
        parsed = self.parser.parse_overrides([*lines, *arguments])
        overrides = {override.get_key_element(): override for override in parsed}
        fixed = [str(o.input_line) for o in overrides.values() if not o.is_sweep_override()]
        space = {key: _distribution(o) for key, o in overrides.items() if o.is_sweep_override()}
        return fixed, space


def _made(key: str, config: DictConfig) -> Any:
    """The sampler or the pruner of a configuration."""
    from clusterseg.errors import UserError

    try:
        return instantiate(config)
    except InstantiationException as error:
        raise UserError(
            f"hydra.sweeper.{key}: {error.__cause__ or error}; give its arguments as Optuna does"
        ) from error


def _distribution(override: Override) -> BaseDistribution:
    from clusterseg.errors import UserError

    try:
        return distribution(override)
    except ValueError as error:  # such as a logarithmic scale from 0
        raise UserError(f"hydra.sweeper.params: {override.input_line}: {error}; change its bounds or values") from error


def distribution(override: Override) -> BaseDistribution:
    """The Optuna distribution of a sweep such as ``key=interval(0.1,1)``.

    Raises:
        ValueError: Optuna takes no such bounds.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value: Any = override.value()
    if override.is_interval_sweep():
        whole = isinstance(value.start, int) and isinstance(value.end, int)
        return (IntDistribution if whole else FloatDistribution)(value.start, value.end, log="log" in value.tags)
    values: list[Any] = list(override.sweep_iterator(transformer=Transformer.encode))
    if override.is_range_sweep() and not value.shuffle and value.step > 0:
        whole = all(isinstance(item, int) for item in values)
        return (IntDistribution if whole else FloatDistribution)(min(values), max(values), step=value.step)
    return CategoricalDistribution(values)


def _place(folder: Path, storage: str) -> str:
    """The folder of a sweep as its study remembers it: seen from the storage, for both may be moved together."""
    return str(folder.absolute()) if "://" in storage else os.path.relpath(folder, Path(storage).parent)


def _end_abandoned(study: Study, sweep: str) -> None:
    """Call failed what an earlier sweep in the same folder left running when it was killed.

    Trials of other folders are left alone: their sweeps may share the study, and be alive.
    """
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        if trial.user_attrs.get(SWEEP, sweep) == sweep:
            study.tell(trial.number, state=TrialState.FAIL)


def _tell(study: Study, number: int, returned: JobReturn) -> None:
    """Tell what a job returned, unless the job has ended its trial itself."""
    from optuna.trial import TrialState

    try:
        value = returned.return_value
    except Exception as error:
        log.warning("trial %d failed: %s", number, error)
        value = None
    if value is None:
        study.tell(number, state=TrialState.FAIL, skip_if_finished=True)
    else:
        study.tell(number, float(value), skip_if_finished=True)


def _save_best(study: Study, path: Path) -> None:
    """Tell and write the best trial, if any was completed."""
    from optuna.trial import TrialState

    if not study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]):
        log.warning("no trial was completed, so there is no best one")
        return
    best = study.best_trial
    log.info("best trial: %d, value %.4f, %s", best.number, best.value, best.params)
    results = {"name": "optuna", "best_trial": best.number, "best_value": best.value, "best_params": best.params}
    OmegaConf.save(OmegaConf.create(results), path)
