"""Corruptions of scans, to measure how a network bears them: Kong et al., Robo3D (ICCV 2023, arXiv 2303.17597)."""

from clusterseg.data.corrupt.apply import CORRUPTIONS, Corrupt, check_corruptions, choose_corruptions
from clusterseg.data.corrupt.kind import SEVERITIES, About

__all__ = ["CORRUPTIONS", "SEVERITIES", "About", "Corrupt", "check_corruptions", "choose_corruptions"]
