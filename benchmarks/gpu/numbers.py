"""The device, its yardsticks, and whether the network computes on it what it computes elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.gpu.setup import Report, Setup, precision, with_tests
from benchmarks.measure import copy_rate, product_rate
from benchmarks.scans import Voxels
from benchmarks.steps import network
from clusterseg.backbone import SPVNAS

#: Largest difference from the known values, relative to the largest of them, and the share of equal labels.
BOUNDS = {"float32": (5e-5, 0.9999), "tf32": (2e-2, 0.98), "bfloat16": (1e-1, 0.95), "float16": (2e-2, 0.98)}
CASES = ("small", "small_batch2", "lidar")
DTYPES = {"float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def peak_rates(setup: Setup) -> dict[str, float]:
    """FLOP/s of a plain product in each precision."""
    rates = {}
    for name in setup.precisions():
        torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
        rates[name] = product_rate(setup.device, DTYPES[name], setup.rehearse)
    torch.backends.cuda.matmul.allow_tf32 = False
    return rates


def device(setup: Setup, report: Report) -> None:
    """What the machine is and can do at best."""
    table = report.table("Yardsticks", "what", "figure")
    if setup.device.type == "cuda":
        found = torch.cuda.get_device_properties(0)
        table.add("device", found.name)
        table.add("compute capability", f"{found.major}.{found.minor}")
        table.add("multiprocessors", found.multi_processor_count)
        table.add("memory, GB", found.total_memory / 1e9)
    for name, rate in peak_rates(setup).items():
        table.add(f"plain product in {name}, TFLOP/s", rate / 1e12)
    table.add("memory copy, GB/s", copy_rate(setup.device, setup.rehearse) / 1e9)
    for name, reason in setup.engines().items():
        table.add(f"engine {name}", reason or "there")


def golden(setup: Setup, report: Report) -> None:
    """The network's logits: the golden values where they are, and those of the native engine on the CPU in any case."""
    table = report.table(
        "Logits", "case", "engine", "precision", "largest difference", "of the largest logit", "equal labels"
    )
    cases = _golden_cases(setup, report) | _own_case(setup)
    for case, (model, voxels, known) in cases.items():
        model = model.to(setup.device).eval()
        for engine in (name for name in setup.usable() if name in ("native", "triton")):
            model.backend = engine
            rehearsed_before = setup.rehearse and case != "this scan"  # half precision is slow on a CPU
            for name in setup.precisions()[: 1 if rehearsed_before else None]:
                if name == "tf32" and engine == "triton":
                    continue  # the part `engines` has it; here it would compile every layer once more
                with report.guard(f"{case}, {engine}, {name}"):
                    found = _logits(model, voxels.to(setup.device), name)
                    worst = float((found - known).abs().max())
                    equal = float((found.argmax(1) == known.argmax(1)).double().mean())
                    table.add(case, engine, name, worst, worst / float(known.abs().max()), f"{equal:.2%}")
                    most, least = BOUNDS[name]
                    holds = worst <= most * float(known.abs().max()) and equal >= least
                    report.check(f"{case}, {engine}, {name}", holds, f"bounds {most:g} and {least:.2%}")


def _logits(model: SPVNAS, voxels: Voxels, name: str) -> Tensor:
    with torch.inference_mode(), precision(name, voxels.feats.device):
        return model(voxels.feats, voxels.coords).logits.float().cpu()


def _own_case(setup: Setup) -> dict[str, tuple[SPVNAS, Voxels, Tensor]]:
    """A network from a seed on the scan, its logits from the native engine on the CPU in float32."""
    model = network(setup.control).eval()
    return {"this scan": (model, setup.scan, _logits(model, setup.scan, "float32"))}


def _golden_cases(setup: Setup, report: Report) -> dict[str, tuple[SPVNAS, Voxels, Tensor]]:
    """The original's logits for its weights; in a rehearsal the smallest case alone."""
    if setup.golden is None:
        report.note("No golden values here: the native engine on the CPU is what is compared with.")
        return {}
    with_tests()
    from golden_network import GoldenNetwork, load_case

    model = GoldenNetwork(setup.golden).backbone
    found = {}
    for case in CASES[:1] if setup.rehearse else CASES:
        arrays = load_case(setup.golden, case)
        voxels = Voxels(arrays["feats"], arrays["coords"], torch.zeros(len(arrays["feats"])).long(), case)
        found[f"golden {case}"] = (model, voxels, arrays["logits"])
    return found
