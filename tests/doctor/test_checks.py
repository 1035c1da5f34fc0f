"""Each check on figures of its own, and the doctor on readers that fail in their own ways."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clusterseg.data.datamodule import ScanDataModule
from clusterseg.data.reader import Reader, Scan
from clusterseg.data.readers.folder import FolderDataModule
from clusterseg.doctor import checks, whole
from clusterseg.doctor.diagnosis import diagnose, record
from clusterseg.doctor.facts import ScanFacts
from clusterseg.doctor.finding import Finding, Severity
from clusterseg.doctor.suggestion import suggest
from clusterseg.doctor.survey import LADDER, Survey, examine, list_jobs
from clusterseg.viz.check_page import write_check
from clusterseg.viz.check_screen import finding_lines

CLASSES = ("floor", "wall")


def facts(number: int, split: str = "train", **changed: object) -> ScanFacts:
    """The figures of a healthy scan."""
    healthy = ScanFacts(
        split,
        f"{split}/{number:06d}",
        f"{split}{number}",
        points=1000,
        size=(40.0, 40.0, 5.0),
        reach=20.0,
        step=1e-6,
        voxels=700,
        remission=(0.0, 0.01, 0.3, 0.9, 1.0),
        labelled=True,
        classes=np.array([500, 400, 100]),
        digest=f"{split}{number}".encode(),
        ladder={edge: 1 + edge for edge in LADDER},
    )
    return replace(healthy, **changed)  # type: ignore[arg-type]


def survey(*scans: ScanFacts, **changed: object) -> Survey:
    healthy = [*(facts(i) for i in range(100, 110)), *(facts(i, "val") for i in range(5))]
    features = ("x", "y", "z", "remission")
    return replace(Survey([*healthy, *scans], CLASSES, "rooms", features, 0.05, 80_000), **changed)  # type: ignore[arg-type]


def test_a_healthy_data_set_has_no_finding() -> None:
    assert diagnose(survey()) == []


@pytest.mark.parametrize(
    ("changed", "severity", "check", "got"),
    [
        ({"error": "cut off"}, "fault", "unreadable", "cut off"),
        ({"labelled": False}, "fault", "no labels", "1 scan to train"),
        ({"unknown": {9: 4, 7: 1}}, "fault", "unknown label", "label ids 7, 9 at 5 points of 1 scan"),
        ({"classes": np.array([0, 0, 1000])}, "warning", "nothing labelled", "every point"),
        ({"misplaced": 1000, "voxels": None}, "fault", "not finite", "no point of 1 scan"),
        ({"misplaced": 10}, "warning", "not finite", "10 of 1,000 points of train0"),
        ({"invalid": 10}, "warning", "not finite values", "remission"),
        ({"at_origin": 11}, "warning", "no return", "1 %"),
        ({"voxels": None, "size": (9000.0, 1.0, 1.0)}, "fault", "extent", "9,000 m"),
        ({"reach": 20_000.0}, "warning", "reach", "2e+04"),
        ({"reach": 1.9}, "warning", "reach", "1.9"),
        ({"step": 0.5}, "fault", "resolution", "0.5 m"),
        ({"remission": (0, 0, 90, 250, 255)}, "fault", "remission", "up to 250"),
        ({"remission": (0, 0, 0.3, 1, 9)}, "warning", "remission values", "0..9"),
        ({"remission": (-1, 0, 0.3, 1, 1)}, "warning", "remission values", "-1..1"),
        ({"remission": (0, 0, 0, 0, 0)}, "warning", "constant remission", "one value"),
        ({"points": 99}, "warning", "few points", "as few as 99"),
        ({"digest": b"train100"}, "warning", "duplicate", "train100, equal to train0"),
        ({"digest": b"val3"}, "fault", "leak", "val3, equal to train0"),
    ],
)
def test_one_scan_gives_one_finding(changed: dict[str, object], severity: str, check: str, got: str) -> None:
    (finding,) = diagnose(survey(facts(0, scan_id="x", **changed)))
    assert (finding.severity.value, finding.check) == (severity, check)
    assert got in finding.got
    assert "train0" in finding.files


@pytest.mark.parametrize(
    "changed",
    [
        {"at_origin": 10},
        {"reach": 2.1},
        {"reach": 199.0},
        {"step": 0.0125},
        {"remission": (0, 0, 0.3, 1.4, 1.5)},
        {"remission": None},
        {"points": 101},
    ],
)
def test_just_within_the_bounds(changed: dict[str, object]) -> None:
    assert diagnose(survey(facts(0, scan_id="x", **changed))) == []


def test_a_reader_may_say_that_beams_without_a_return_are_usual() -> None:
    assert diagnose(survey(facts(0, scan_id="x", misplaced=10), no_return=True)) == []
    (finding,) = diagnose(survey(facts(0, scan_id="x", misplaced=1000, voxels=None), no_return=True))
    assert finding.severity is Severity.FAULT


def test_scans_to_test_on_need_no_labels() -> None:
    assert diagnose(survey(facts(0, "test", labelled=False, classes=np.zeros(3, int)))) == []


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([0, 1, 2, 5, 6, 7], [(2, 5, 2)]),
        ([0, 5, 10, 20, 25], [(10, 20, 1)]),
        ([7, 3, 4, 5], [(5, 7, 1)]),
        ([0, 1], []),
        ([0, 9], []),
        ([1581624663170, 1581624663271, 1581624663369, 1581624663512], []),
        (list(range(50)), []),
    ],
)
def test_gaps(numbers: list[int], expected: list[tuple[int, int, int]]) -> None:
    assert list(whole._holes(numbers)) == expected


def test_classes_over_the_splits() -> None:
    none = np.array([900, 0, 100])
    scans = [facts(i) for i in range(9)] + [facts(i, "val", classes=none) for i in range(9)]
    (finding,) = whole.lacking(survey(facts=scans))
    assert finding.got == "the validation has no wall"
    scans = [facts(i, classes=none) for i in range(9)] + [facts(i, "val") for i in range(9)]
    assert [finding.got for finding in whole.lacking(survey(facts=scans))] == ["the training has no wall"]
    scans = [facts(i, split, classes=none) for i in range(9) for split in ("train", "val")]
    assert [(f.severity, f.got) for f in whole.lacking(survey(facts=scans))] == [(Severity.NOTE, "no scan has wall")]
    few = [facts(i, split, classes=np.array([900, 11, 89])) for i in range(9) for split in ("train", "val")]
    assert [finding.got for finding in whole.handful(survey(facts=few))] == [
        "a handful of points in train: wall (99)",
        "a handful of points in val: wall (99)",
    ]
    ignored = [facts(i, classes=np.array([50, 40, 910])) for i in range(9)]
    assert [finding.got for finding in whole.ignored(survey(facts=ignored))] == [
        "91 % of the labelled points in train are ignored"
    ]


def test_units_and_dark_remission_of_a_whole_data_set() -> None:
    large = [facts(i, reach=60_000.0) for i in range(9)]
    assert [finding.check for finding in checks.reach(survey(facts=large))] == ["units"]
    dark = [facts(i, remission=(0, 0, 0.002, 0.011, 0.012)) for i in range(9)]
    assert [finding.check for finding in checks.remission(survey(facts=dark))] == ["dark remission"]


def test_suggestions() -> None:
    voxels = [1000 * i for i in range(1, 101)]
    scans = [facts(i, voxels=count, ladder={0.05: 1.01, 0.1: 1.35, 0.2: 3.3}) for i, count in enumerate(voxels)]
    found = suggest(survey(facts=scans, max_voxels=90_000))
    assert found.max_voxels == 96_000
    assert found.voxel_size == 0.1
    assert found.capped == pytest.approx(0.1)
    assert found.lost == pytest.approx(sum(v - 90_000 for v in voxels if v > 90_000) / sum(voxels))
    assert suggest(survey(facts=[facts(0, ladder=dict.fromkeys(LADDER, 1.0))])).voxel_size is None


class Odd(Reader):
    """A reader that fails in ways of its own."""

    features = ("x", "y", "z")

    def scans(self, split: str) -> list[str]:
        return {"train": ["good", "damaged", "narrow", "uneven"], "val": []}.get(split, ["good"])

    def has_split(self, split: str) -> bool:
        return True

    def read(self, scan_id: str) -> Scan:
        if scan_id == "damaged":
            raise ValueError("cannot reshape array")
        columns = 2 if scan_id == "narrow" else 3
        points = np.random.default_rng(0).normal(0, 5, (200, columns)).astype(np.float32)
        return Scan(points, np.ones(7 if scan_id == "uneven" else 200, np.int64))


@pytest.mark.usefixtures("unchecked")
def test_a_reader_of_ones_own() -> None:
    table = {"name": "one", "classes": {"floor": {"id": 1}}}
    data = ScanDataModule(Odd(), table, num_workers=0)
    jobs, unlisted = list_jobs(data, ["train", "val"])
    found = Survey(list(examine(data, jobs, 0)), ("floor",), "one", Odd.features, 0.05, None, unlisted)
    findings = diagnose(found)
    said = [(finding.check, finding.files[0]) for finding in findings]
    assert said == [("unlisted", "val"), *(("unreadable", name) for name in ("damaged", "narrow", "uneven"))]
    assert "Odd raised ValueError: cannot reshape array" in findings[1].got
    assert "returned points (200, 2)" in findings[2].got
    assert "labels of shape (7,)" in findings[3].got


def test_many_findings_stay_on_one_screen_and_page(tmp_path: Path) -> None:
    found = survey(*(facts(i, error=f"<broken> {i}") for i in range(1000)))
    findings = diagnose(found)
    lines = finding_lines(findings)
    assert len(lines) == 4 and lines[-1] == "... and 997 more: unreadable"
    write_check(tmp_path / "check.html", record(found, findings, suggest(found)), findings, found, {}, "a <title>")
    page = (tmp_path / "check.html").read_text()
    assert page.count("unreadable.") == 200 and "and 800 more in check.json" in page
    assert "<broken>" not in page and "&lt;broken&gt; 7" in page and "a &lt;title&gt;" in page


def test_a_finding_names_its_first_files() -> None:
    finding = Finding("gap", Severity.WARNING, ("a", "b", "c"), "got", "expected", "remedy")
    assert (finding.where(), finding.where(2), finding.where(3)) == ("a and 2 more", "a, b and 1 more", "a, b, c")
    assert finding.plain()["severity"] == "warning"


def test_data_sets_of_other_layouts_are_listed_with_their_defects(tmp_path: Path) -> None:
    """One cloud without labels and one that is cut short are two findings, not a refusal."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        for name in "abcd":
            np.save(tmp_path / split / f"{name}.npy", np.c_[rng.normal(0, 5, (500, 3)), rng.random(500)].astype("f4"))
            np.full(500, 40, "<u4").tofile(tmp_path / split / f"{name}.label")
    (tmp_path / "train/b.label").unlink()
    cut = tmp_path / "train/c.npy"
    cut.write_bytes(cut.read_bytes()[:-99])
    table = {"name": "one", "classes": {"road": {"id": 40}}}
    data = FolderDataModule(tmp_path, table, num_workers=0, origin="sensor")
    jobs, unlisted = list_jobs(data, ["train", "val"])
    assert (len(jobs), unlisted) == (8, {})
    found = diagnose(Survey(list(examine(data, jobs, 0)), ("road",), "one", data.reader.features, 0.05, None))
    assert [(f.check, f.files) for f in found] == [
        ("unreadable", (str(cut),)),
        ("no labels", (str(tmp_path / "train/b.npy"),)),
    ]


@pytest.mark.parametrize("splits", [None, {"train": "nowhere/*"}])
def test_no_scan_at_all_is_a_fault(tmp_path: Path, splits: dict[str, str] | None) -> None:
    data = FolderDataModule(tmp_path, {"name": "one", "classes": {"road": {"id": 40}}}, num_workers=0, splits=splits)
    jobs, unlisted = list_jobs(data, ["train", "val"])
    assert not jobs
    assert list(unlisted) == ["train"] and "no cloud matches" in unlisted["train"]
