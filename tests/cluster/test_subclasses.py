"""Looking at the subclasses of any points: the nearest centre of their class, one point at a time."""

from __future__ import annotations

import torch

from clusterseg.cluster import ClusterHead
from clusterseg.cluster.projection import project, unit_rows


def test_subclasses_are_the_nearest_seeded_centres() -> None:
    torch.manual_seed(0)
    names = ["car", "road", "fence"]
    head = ClusterHead.default(8, names, clusters_per_class={"default": 4, "road": 2}, projection=[16, 6], ramp_steps=0)
    features, labels = torch.randn(400, 8), torch.randint(0, 2, (400,))  # no fence: its centres stay unseeded
    for _ in range(3):
        head(features, labels, labels)
    head.eval()
    labels[:5] = torch.tensor([255, 255, 2, 2, 255])
    found = head.subclasses(features, labels, chunk=64)
    embeddings = unit_rows(project(head.proj, features, torch.ones(400, dtype=torch.bool)))[0].detach()
    for row, label in enumerate(labels.tolist()):
        if label == 255 or not head.centers.seeded[label].any():
            assert found[row] == -1
            continue
        scores = {
            k: float(embeddings[row] @ head.centers.vectors[label, k])
            for k in range(4)
            if head.centers.seeded[label, k]
        }
        assert scores[int(found[row])] >= max(scores.values()) - 1e-6
    assert found.unique().numel() > 2
