"""What the names in the pages' commands stand for: small data sets, trained runs, and files made of them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from custom_folder import write_folder
from made_layouts import write_kitti360, write_rellis3d, write_sequences
from made_sets import cloud, write, write_nuscenes, write_pandaset
from moving_scene import write_sequence
from page_commands import ROOT, Line
from tiny import write_control
from warm_process import command

from clusterseg.sweeps.study import read_plan, read_results


def write_kitti(root: Path) -> None:
    """All sequences of SemanticKITTI, those of the test too, with poses; two scans each."""
    for number in range(22):
        write_sequence(root / "sequences", f"{number:02d}", 2, seed=10 * number)


def write_clouds(root: Path) -> None:
    """A folder of clouds with the ids of docs/custom.md."""
    for number, name in enumerate(("train/a", "train/b", "val/c")):
        write(root / f"{name}.bin", cloud(number, 400))
        write(root / f"{name}.label", np.random.default_rng(number).choice([0, 1, 2, 3, 5], 400).astype("<u4"))


def write_recorded(root: Path) -> None:
    """The recordings of docs/data.md: clouds in one folder, the ids of their points in another."""
    for folder in ("clouds", "annotations"):
        (root / folder).mkdir(parents=True)
    for number, name in enumerate(("drive0_000", "drive0_001", "drive1_000")):
        np.save(root / f"clouds/{name}.npy", cloud(number, 400))
        np.save(root / f"annotations/{name}.npy", np.random.default_rng(number).choice([0, 1, 2, 3, 5], 400))


WRITERS: dict[str, Callable[[Path], None]] = {
    "semantickitti": write_kitti,
    "nuscenes": lambda root: write_nuscenes(root, {"scene-0061": 2, "scene-0103": 1}, "v1.0-trainval"),
    "pandaset": lambda root: write_pandaset(root, {"002": 2, "003": 1}),
    "semanticposs": lambda root: write_sequences(root / "sequences", [f"{i:02d}" for i in range(6)], [4, 6, 22], 255),
    "rellis3d": lambda root: write_rellis3d(root, [3, 4, 17, 19, 23]),
    "kitti360": write_kitti360,
    "waymo": lambda root: write_sequences(root / "sequences", ["0000", "0001", "1000"], range(23), 27, width=7),
    "folder": write_clouds,
}


class World:
    """Made at first use, then shared by all commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.control = write_control(folder / "net.config")

    def data(self, name: str) -> Path:
        """The root of a small data set; `mixture` is a folder of all."""
        if name == "mixture":
            parts = [self.data(part) for part in ("semantickitti", "pandaset", "waymo")]
            return parts[0].parent
        root = self.folder / "data" / name.removesuffix("_multiscan")
        if not root.is_dir():
            root.mkdir(parents=True)
            WRITERS[root.name](root)
        return root

    @cached_property
    def run(self) -> Path:
        """A run on small scans in the layout of SemanticKITTI."""
        return self._train("kitti", "data=semantickitti")

    @cached_property
    def several(self) -> Path:
        """The same on several scans at once."""
        return self._train("several", "data=semantickitti_multiscan")

    def _train(self, name: str, *settings: str) -> Path:
        folder = self.folder / "runs" / name
        given = ["train", *settings, f"data.root={self.data('semantickitti')}", f"hydra.run.dir={folder}"]
        self.must([*given, *self.small_training(" ".join(given))])
        return folder

    @cached_property
    def weights(self) -> Path:
        """Published weights: those of the run, under the published names."""
        output = self.folder / "weights.pt"
        self.must(["export", f"ckpt={self.run / 'checkpoints/best.ckpt'}", f"output={output}"])
        return output

    def evaluation(self, run: Path, split: str) -> Path:
        """The folder of an evaluation."""
        folder = self.folder / f"{run.name}_{split}"
        if not folder.is_dir():
            given = [f"ckpt={run / 'checkpoints/best.ckpt'}", f"split={split}", "pictures=0"]
            self.must(["evaluate", *given, f"hydra.run.dir={folder}"])
        return folder

    def must(self, arguments: list[str]) -> None:
        """Run a command that makes something."""
        code, said = command(arguments, self.folder)
        assert code == 0, said

    def small_training(self, text: str) -> list[str]:
        """Settings that make any training of a page small; a later one wins, so they come last."""
        epochs = 2 if re.search(r"ckpt=(last|auto)", text) else 1
        steps = [f"trainer.max_epochs={epochs}", "trainer.limit_train_batches=1", "trainer.limit_val_batches=1"]
        settings = [*steps, "data.num_workers=0", "data.batch_size=1", "callbacks.pictures=null"]
        if not re.search(r"init_from=streets|experiment=demo", text):  # the network of the package has its own size
            settings.append(f"model.backbone.control={self.control}")
        if re.search(r"data=streets|experiment=(demo|streets_network)", text):
            settings.append("data.recipe={scans: 2, sequences: [0, 8], beams: 16, azimuths: 200}")
            settings.append("data.sequences={train: [0], val: [8]}")
        return settings

    def study(self) -> str:
        """The plan of docs/study.md with two seeds and small runs."""
        text = (ROOT / "docs/study.md").read_text()
        plan = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0])
        plan["seeds"] = plan["seeds"][:2]
        plan["common"] += self.small_training(" ".join(plan["common"]))
        return yaml.safe_dump(plan)


def _run_of(line: Line, world: World) -> Path:
    return world.several if "multiscan" in line.page else world.run


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)


def _data(line: Line, world: World, path: Path) -> None:
    if line.words[1] == "summary":
        _copy(world.run.parent, path)
    elif line.words[1] != "predict":  # it writes into DIR
        found = re.search(r"data=(\w+)", line.text)
        path.symlink_to(world.data(found[1] if found else "semantickitti"))


def _file(line: Line, world: World, path: Path) -> None:
    scan = world.data("semantickitti") / "sequences/08/velodyne/000000.bin"
    _copy(world.weights if line.words[1] == "convert-weights" else scan, path)


def _recording(line: Line, world: World, path: Path) -> None:
    from recordings import cloud as message
    from recordings import columns_of
    from recordings import write as write_recording

    kind = "ros1" if path.suffix == ".bag" else "db3"
    messages = [(time, message(kind, columns_of(cloud(time, 300)))) for time in (1, 2)]
    write_recording(path, kind, {"/points": messages})


Maker = Callable[[Line, World, Path], Any]
#: Each name that a command may use for something that is there already, and what makes it.
GIVEN: dict[str, Maker] = {
    "DIR": _data,
    "RUN": lambda line, world, path: _copy(_run_of(line, world), path),
    "PATH": lambda line, world, path: _copy(_run_of(line, world) / "checkpoints/best.ckpt", path),
    **{
        f"{name}.ckpt": lambda line, world, path: _copy(world.run / "checkpoints/best.ckpt", path)
        for name in ("A", "B", "KITTI", "PANDA")
    },
    "BASELINE_RUN": lambda line, world, path: _copy(_baseline(world), path),
    "FILE": _file,
    "FILE.zip": lambda line, world, path: _copy(_submission(line, world), path),
    "submission.zip": lambda line, world, path: _copy(_submission(line, world), path),
    "FILE_OR_FOLDER": lambda line, world, path: path.symlink_to(world.data("semantickitti") / "sequences/08/velodyne"),
    "STUDY.yaml": lambda line, world, path: path.write_text(world.study()),
    "classes.yaml": lambda line, world, path: _copy(_labels(path), path),
    "data=yard": lambda line, world, path: _yard(path.parent),
    "data=MINE": lambda line, world, path: _own_data(path.parent),
    "drive.bag": _recording,
    "drive": _recording,
    "outputs/sweeps": lambda line, world, path: _copy(world.run.parent, path),
}


def _submission(line: Line, world: World) -> Path:
    return world.evaluation(_run_of(line, world), "test") / "submission.zip"


def _baseline(world: World) -> Path:
    """An evaluation under all corruptions."""
    folder = world.folder / "baseline"
    if not folder.is_dir():
        given = [f"ckpt={world.run / 'checkpoints/best.ckpt'}", "corrupt=all", "pictures=0", f"hydra.run.dir={folder}"]
        world.must(["evaluate", *given])
    return folder


def _labels(path: Path) -> Path:
    return write_folder(path.parent / "of_the_page") / "rooms_labels.yaml"


def _own_data(folder: Path) -> None:
    write_folder(folder)
    (folder / "data/rooms.yaml").rename(folder / "data/MINE.yaml")


def _yard(folder: Path) -> None:
    """The data set of one's own of docs/data.md: its YAML, clouds, ids and classes."""
    if (folder / "data/yard.yaml").exists():
        return  # for an earlier line of the session
    write_recorded(folder / "recordings")
    _copy(_labels(folder / "classes.yaml"), folder / "classes.yaml")
    text = (ROOT / "docs/data.md").read_text()
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data/yard.yaml").write_text(re.findall(r"```yaml\n(defaults: \[folder.*?)```", text, re.DOTALL)[0])


def provide(line: Line, folder: Path, world: World) -> None:
    """Put what the line's names stand for into the folder, where it is not there already."""
    for name, make in GIVEN.items():
        if re.search(rf"(?<![\w/.-]){re.escape(name)}(?![\w.-])", line.text) and not (folder / name).exists():
            make(line, world, folder / name)


def keep_results(study: str, folder: Path) -> bool:
    """Put the results of a study of the project where its command looks for them; says whether none is missing."""
    kept = next((path for path in ROOT.glob(f"docs/*/{study}") if path.is_dir()), None)
    if kept is None:
        return True
    shutil.copytree(kept, folder / "docs/study" / study, dirs_exist_ok=True)
    plan = read_plan(study)
    return len(read_results(plan, kept)) == len(list(plan.cells()))


def forget(folder: Path) -> None:
    """Remove what stands under a name in capitals: in the next line it stands for something else."""
    for path in placeholders(folder):
        if path.is_symlink() or path.is_file():
            path.unlink()
        else:
            shutil.rmtree(path)


def placeholders(folder: Path) -> Iterator[Path]:
    """What stands under a name in capitals."""
    yield from [path for path in folder.iterdir() if re.fullmatch(r"[A-Z_]+(\.\w+)?", path.name)]
