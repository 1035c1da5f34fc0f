"""The LightningModule."""

from clusterseg.task.segmentation import SegmentationTask, score_table

__all__ = ["SegmentationTask", "score_table"]
