"""Checkpoints of other projects: their tensor names, and detection of the project of a file."""

from clusterseg.backbone.foreign.project import Project
from clusterseg.backbone.foreign.recognise import PROJECTS, Weights, recognised

__all__ = ["PROJECTS", "Project", "Weights", "recognised"]
