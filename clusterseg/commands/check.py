"""Check a data set before training: `clusterseg check data.root=DIR`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
from omegaconf import DictConfig
from pydantic import Field
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from clusterseg.build.training import build_data
from clusterseg.config.signatures import require
from clusterseg.data.datamodule import ScanDataModule
from clusterseg.data.label_map import IGNORE_INDEX
from clusterseg.doctor.diagnosis import diagnose, record
from clusterseg.doctor.facts import ScanFacts
from clusterseg.doctor.finding import Finding, Severity
from clusterseg.doctor.suggestion import suggest
from clusterseg.doctor.survey import Survey, default_workers, examine, list_jobs
from clusterseg.errors import UserError
from clusterseg.files import write_file
from clusterseg.viz.bev import bev_figure, panels
from clusterseg.viz.check_page import write_check
from clusterseg.viz.check_screen import print_check
from clusterseg.viz.figures import png


def check(config: DictConfig, run_dir: Path) -> list[Finding]:
    """Examine every scan of `config.splits`; print the result, and write it into the folder `config.output`.

    Returns:
        The findings, without faults.

    Raises:
        UserError: A setting is wrong, or faults were found, which would break or spoil a training.
    """
    count = Annotated[int, Field(ge=0)]
    require(config, splits=list[str], workers=count | None, pictures=count, output=str | None)
    data = build_data(config)
    jobs, unlisted = list_jobs(data, config.splits)
    workers = default_workers(len(jobs)) if config.workers is None else config.workers
    facts = list(_progress(examine(data, jobs, workers), len(jobs)))
    survey = Survey(
        facts,
        data.class_names,
        data.label_map.name,
        tuple(data.reader.features),
        data.voxel_size,
        data.max_voxels,
        unlisted,
        no_return=data.reader.no_return,
    )
    findings = diagnose(survey)
    page = None if config.output is None or not jobs else Path(config.output).expanduser() / "check.html"
    result = record(survey, findings, suggest(survey))
    if page is not None:
        write_file(page.with_suffix(".json"), json.dumps(result, indent=1, allow_nan=False) + "\n")
        title = f"Check of {type(data.reader).__name__}: {getattr(data.reader, 'root', '')}".rstrip(": ")
        write_check(page, result, findings, survey, dict(_pictures(data, survey, config.pictures)), title)
    print_check(result, findings, page)
    faults = [finding for finding in findings if finding.severity is Severity.FAULT]
    if faults:
        where = "" if page is None else f"; all are in {page}"
        raise UserError(
            f"faults that would break or spoil a training: {len(faults)}{where}; the first: {faults[0].check}: "
            f"{faults[0].got}; {faults[0].remedy}"
        )
    return findings


def _progress(facts: Iterable[ScanFacts], total: int) -> Iterator[ScanFacts]:
    """Yield the figures and show how many scans are done and the time that is left."""
    columns = (TextColumn("reading scans"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        yield from progress.track(facts, total=total)


def _pictures(data: ScanDataModule, survey: Survey, number: int) -> Iterator[tuple[str, bytes]]:
    """Yield caption and picture from above of some scans, spread over the data set."""
    read = survey.read
    places = np.linspace(0, len(read) - 1, number if read else 0)
    for facts in (read[row] for row in np.unique(places.round().astype(int))):
        scan = data.reader.read(facts.scan_id)
        xyz = scan.points[:, :3]
        targets = np.full(len(xyz), IGNORE_INDEX)
        if scan.labels is not None:
            known = data.label_map.raw_to_train[scan.labels.astype(np.int64) & 0xFFFF]
            targets = np.where(known < 0, IGNORE_INDEX, known)
        shown = panels(xyz, targets, np.zeros(len(xyz), int), data.label_map.colours)
        caption = f"{facts.split}: {facts.scan_id}"
        yield caption, png(bev_figure(xyz, {k: v for k, v in shown.items() if k in ("input", "truth")}, caption))
