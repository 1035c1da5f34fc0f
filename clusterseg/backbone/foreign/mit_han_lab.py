"""mit-han-lab/spvnas: SPVCNN and MinkUNet of Tang et al. (ECCV 2020).

Its MinkUNet owns the point branch of SPVCNN and never calls it; published files hold the branch or not. Trained with
bus, on-rails and lane-marking ignored (255). SPVNAS itself is published under our own names.
Its SPVCNN rounds point coordinates as OpenPCSeg does, see there.
"""

from clusterseg.backbone.foreign.project import Project

MIT_HAN_LAB = Project(
    title="mit-han-lab/spvnas",
    mark="stage1.0.net.0.kernel",
    wrapper="model",
    networks=frozenset({("MinkUNet", "last", 18), ("SPVCNN", "last", 18), ("SPVNAS", "last", None)}),
    idle_branch=True,
)
