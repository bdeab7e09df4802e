"""Every picture of the book: grids, curves, bars, maps, drawings, explorers; with alt text, without
colour's help, on light and dark pages.

No computation lives here: what is drawn comes in as tensors or arrays (a `pad` runs the decoder it
is given, and nothing else). Nothing is displayed and nothing is kept; each function returns what it
made, and matplotlib is imported only when needed.
"""

from aelib.figures.bar_charts import bars, grouped_bars
from aelib.figures.drawings import arrow, block, note, picture, sheet
from aelib.figures.explorers.attractors import Stage, attractors
from aelib.figures.explorers.machine import machine
from aelib.figures.explorers.pad import Pad, pad
from aelib.figures.explorers.page import Explorer
from aelib.figures.explorers.slider import explore
from aelib.figures.explorers.training_time import training_time
from aelib.figures.grids import grid, pixels_png
from aelib.figures.heatmaps import heat
from aelib.figures.line_charts import curves
from aelib.figures.output import Shown, png, show
from aelib.figures.theme import STROKES, Stroke, canvas, style
from aelib.figures.vector_fields import field

__all__ = [
    "STROKES",
    "Explorer",
    "Pad",
    "Shown",
    "Stage",
    "Stroke",
    "arrow",
    "attractors",
    "bars",
    "block",
    "canvas",
    "curves",
    "explore",
    "field",
    "grid",
    "grouped_bars",
    "heat",
    "machine",
    "note",
    "pad",
    "picture",
    "pixels_png",
    "png",
    "sheet",
    "show",
    "style",
    "training_time",
]
