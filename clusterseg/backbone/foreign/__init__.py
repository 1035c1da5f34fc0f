"""Checkpoints of other projects: how each names its tensors, and which of them a file is from."""

from clusterseg.backbone.foreign.project import Project
from clusterseg.backbone.foreign.recognise import PROJECTS, Weights, recognised

__all__ = ["PROJECTS", "Project", "Weights", "recognised"]
