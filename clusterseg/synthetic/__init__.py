"""Streets: procedural towns and a spinning lidar that write the SemanticKITTI layout, with known subclasses."""

from clusterseg.synthetic.generate import ensure_streets, write_streets
from clusterseg.synthetic.modes import mode_names, read_modes
from clusterseg.synthetic.recipe import Recipe

__all__ = ["Recipe", "ensure_streets", "mode_names", "read_modes", "write_streets"]
