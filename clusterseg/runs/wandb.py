"""A wandb run that never asks, never waits for long, and never takes the training down with it."""

from __future__ import annotations

import json
import logging
import netrc
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities import rank_zero_only

from clusterseg.errors import UserError
from clusterseg.files import write_file
from clusterseg.runs.checkpoint import PREVIOUS

Mode = Literal["online", "offline", "disabled"]
log = logging.getLogger("clusterseg")
MODES: tuple[Mode, ...] = ("online", "offline", "disabled")
RUN = "wandb_run.json"  # in the run folder: the id of the run
BEST = ("val/miou", "val/miou_present", "val/accuracy")


class WandbRun(WandbLogger):
    """Logs to wandb: online where there is a login and the server answers, else offline, for `wandb sync` later.

    Args:
        save_dir: The run folder; offline runs lie in its folder ``wandb``.
        artifacts: Whether the checkpoints are kept as an artifact at the end.
        timeout: Seconds to wait for the server at the start.
        finish_timeout: Seconds to wait for what is still to be uploaded at the end.
        **settings: Of `wandb.init`: project, name, group, tags, ...
    """

    def __init__(
        self, save_dir: str | Path, artifacts: bool, timeout: float, finish_timeout: float, **settings: Any
    ) -> None:
        super().__init__(save_dir=save_dir, **settings)
        self._wandb_init.pop("anonymous", None)  # Lightning always passes it, and wandb warns of it
        self.artifacts, self.timeout, self.finish_timeout = artifacts, timeout, finish_timeout
        self._broken = False

    @rank_zero_only
    def go_on(self, resumed: bool) -> None:
        """Take the id under which an earlier part of a resumed run was logged, so that the parts are one run."""
        path = Path(str(self.save_dir)) / RUN
        if not resumed:
            path.unlink(missing_ok=True)
        with suppress(OSError, ValueError, KeyError, TypeError):
            self._wandb_init["id"] = str(json.loads(path.read_text())["id"])

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run; begun when it is first asked for."""
        if self._experiment is None:
            self._experiment = self._begin()
            with suppress(UserError):  # the folder is full, which the next checkpoint tells
                write_file(Path(str(self.save_dir)) / RUN, json.dumps({"id": self._experiment.id}) + "\n")
            self._experiment.define_metric("trainer/global_step")
            self._experiment.define_metric("*", step_metric="trainer/global_step", step_sync=True)
            for name in BEST:
                self._experiment.define_metric(name, step_metric="trainer/global_step", summary="max")
        return self._experiment

    def _begin(self) -> Any:
        """Online if that is wanted and possible, else offline, else not at all."""
        import wandb  # takes a second to import, and most runs do without

        settings = wandb.Settings(
            init_timeout=self.timeout, finish_timeout=self.finish_timeout, finish_timeout_raises=True
        )
        modes = MODES[MODES.index(_mode()) :]
        for mode, other in pairwise(modes):
            try:
                return wandb.init(**self._wandb_init, mode=mode, settings=settings)
            except Exception as error:  # whatever it is: the training matters more
                remedy = ", `wandb sync` uploads later" if other == "offline" else ""
                log.warning("wandb cannot go %s (%s); it goes %s%s", mode, _line(error), other, remedy)
        return wandb.init(mode=modes[-1])

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log numbers or pictures; a wandb that breaks down in the middle of a run is told once, and left alone."""
        if self._broken:
            return
        try:
            super().log_metrics(metrics, step)
        except Exception as error:
            log.warning("wandb broke down (%s): nothing more is logged to it", _line(error))
            self._broken = True

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Keep the checkpoints if asked, and end the run: the next one of a sweep is another."""
        if self._experiment is None:
            return
        run = self._experiment
        try:
            if self.artifacts and status == "success":
                self._keep_checkpoints(run)
            run.finish(exit_code=0 if status == "success" else 1)
        except Exception as error:  # the training is over, and its results are on the disk
            log.warning("wandb: not all was uploaded (%s); later: wandb sync %s", _line(error), Path(run.dir).parent)
        self._experiment = None

    def _keep_checkpoints(self, run: Any) -> None:
        import wandb

        artifact = wandb.Artifact(f"checkpoints-{run.id}", type="model")
        for path in sorted((Path(str(self.save_dir)) / "checkpoints").glob("*.ckpt")):
            if path.name != PREVIOUS:
                artifact.add_file(str(path))
        run.log_artifact(artifact)


def wandb_logger(
    save_dir: str | Path,
    project: str = "clusterseg",
    entity: str | None = None,
    name: str | None = None,
    group: str | None = None,
    tags: Sequence[str] = (),
    artifacts: bool = False,
    timeout: float = 20.0,
    finish_timeout: float = 120.0,
) -> WandbRun:
    """A wandb logger for a run; see `WandbRun`.

    Args:
        save_dir: The run folder.
        project: wandb project.
        entity: The team or user it belongs to; None for that of the login.
        name: Name of the run; in a multirun the swept settings follow it.
        group: Group of runs; None for the sweep folder's name in a multirun.
        tags: Tags of the run.
        artifacts: Whether the checkpoints are kept as an artifact at the end.
        timeout: Seconds to wait for the server at the start.
        finish_timeout: Seconds to wait for what is still to be uploaded at the end.
    """
    os.environ.setdefault("WANDB_SILENT", "true")
    sweep, swept = _sweep()
    return WandbRun(
        save_dir,
        artifacts,
        timeout,
        finish_timeout,
        project=project,
        entity=entity,
        name=" ".join(part for part in (name, *swept) if part) or None,
        group=group or sweep,
        tags=list(tags),
    )


def _sweep() -> tuple[str | None, list[str]]:
    """The name of the multirun's folder, and what this job of it sets that the others do not."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None, []
    hydra = HydraConfig.get()
    folder, overrides = Path(hydra.sweep.dir), list(hydra.overrides.task)
    given = folder / "multirun.yaml"
    common = list(OmegaConf.load(given).hydra.overrides.task) if given.is_file() else []
    return folder.name, [override for override in overrides if override not in common]


def _mode() -> Mode:
    """``WANDB_MODE`` where it is set, but never online without a login, for that would ask for one."""
    wanted = os.environ.get("WANDB_MODE")
    if wanted == "disabled":
        return "disabled"
    return "online" if wanted not in ("offline", "dryrun") and _logged_in() else "offline"


def _logged_in() -> bool:
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        return netrc.netrc(str(path)).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
