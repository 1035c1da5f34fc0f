"""A wandb run that never prompts, never waits long, and never stops the training by a failure."""

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
from lightning_fabric.loggers.logger import rank_zero_experiment
from omegaconf import OmegaConf
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from clusterseg.errors import UserError
from clusterseg.files import write_file
from clusterseg.runs.checkpoint import PREVIOUS

Mode = Literal["online", "offline", "disabled"]
log = logging.getLogger("clusterseg")
MODES: tuple[Mode, ...] = ("online", "offline", "disabled")
RUN = "wandb_run.json"  # file in the run folder with the id of the wandb run
BEST = ("val/miou", "val/miou_present", "val/accuracy")


class WandbRun(WandbLogger):
    """Logs to wandb: online with a login and a reachable server, else offline for a later `wandb sync`.

    Args:
        save_dir: The run folder; offline runs lie in its folder `wandb`.
        artifacts: Whether to upload the checkpoints as an artifact at the end.
        timeout: Seconds to wait for the server at the start.
        finish_timeout: Seconds to wait for pending uploads at the end.
        **settings: Arguments of `wandb.init`: project, name, group, tags, ...
    """

    def __init__(
        self, save_dir: str | Path, artifacts: bool, timeout: float, finish_timeout: float, **settings: Any
    ) -> None:
        super().__init__(save_dir=save_dir, **settings)
        self._wandb_init.pop("anonymous", None)  # Lightning always passes it, and wandb warns about it
        self.artifacts, self.timeout, self.finish_timeout = artifacts, timeout, finish_timeout
        self._broken = False

    @rank_zero_only
    def go_on(self, resumed: bool) -> None:
        """Reuse the wandb id of the run that is resumed, so that all parts are one wandb run."""
        path = Path(str(self.save_dir)) / RUN
        if not resumed:
            path.unlink(missing_ok=True)
        with suppress(OSError, ValueError, KeyError, TypeError):
            self._wandb_init["id"] = str(json.loads(path.read_text())["id"])

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The wandb run; started at first access."""
        if self._experiment is None:
            self._experiment = self._begin()
            with suppress(UserError):  # a full disk is reported by the next checkpoint
                write_file(Path(str(self.save_dir)) / RUN, json.dumps({"id": self._experiment.id}) + "\n")
            self._experiment.define_metric("trainer/global_step")
            self._experiment.define_metric("*", step_metric="trainer/global_step", step_sync=True)
            for name in BEST:
                self._experiment.define_metric(name, step_metric="trainer/global_step", summary="max")
        return self._experiment

    def _begin(self) -> Any:
        """Start the run online if requested and possible, else offline, else disabled."""
        import wandb  # takes a second to import, and most runs do without

        settings = wandb.Settings(
            init_timeout=self.timeout, finish_timeout=self.finish_timeout, finish_timeout_raises=True
        )
        modes = MODES[MODES.index(_mode()) :]
        for mode, other in pairwise(modes):
            try:
                return wandb.init(**self._wandb_init, mode=mode, settings=settings)
            except Exception as error:  # no failure of wandb may stop the training
                remedy = ", `wandb sync` uploads later" if other == "offline" else ""
                log.warning("wandb cannot go %s (%s); it goes %s%s", mode, _line(error), other, remedy)
        return wandb.init(mode=modes[-1])

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log numbers or pictures; after a failure of wandb, warn once and log nothing more."""
        if self._broken:
            return
        try:
            super().log_metrics(metrics, step)
        except Exception as error:
            log.warning("wandb broke down (%s): nothing more is logged to it", _line(error))
            self._broken = True

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Upload the checkpoints if requested and finish the run, so that the next job of a sweep starts its own."""
        if self._experiment is None:
            return
        run = self._experiment
        try:
            if self.artifacts and status == "success":
                self._keep_checkpoints(run)
            run.finish(exit_code=0 if status == "success" else 1)
        except Exception as error:  # the training is finished and its results are on disk
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
    """Build the wandb logger of a run; see `WandbRun`.

    Args:
        save_dir: The run folder.
        project: wandb project.
        entity: The owning team or user; None for that of the login.
        name: Name of the run; a multirun appends the swept settings.
        group: Group of runs; None takes the name of the sweep folder in a multirun.
        tags: Tags of the run.
        artifacts: Whether to upload the checkpoints as an artifact at the end.
        timeout: Seconds to wait for the server at the start.
        finish_timeout: Seconds to wait for pending uploads at the end.
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
    """Name of the multirun's folder and the swept settings of this job."""
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None, []
    hydra = HydraConfig.get()
    folder, overrides = Path(hydra.sweep.dir), list(hydra.overrides.task)
    given = folder / "multirun.yaml"
    common = list(OmegaConf.load(given).hydra.overrides.task) if given.is_file() else []
    return folder.name, [override for override in overrides if override not in common]


def _mode() -> Mode:
    """`WANDB_MODE` if set, but never online without a login, because wandb would prompt for one."""
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
