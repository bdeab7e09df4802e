"""Every picture of the book: grids, curves, bars, maps, explorers; with alt text, without colour's
help, on light and dark pages.

No computation lives here: what is drawn comes in as tensors or arrays (a `pad` runs the decoder it
is given, and nothing else). Nothing is displayed and nothing is kept; each function returns what it
made, and matplotlib is imported only when needed.
"""

from .charts import bars, curves
from .explorer import Explorer, explore
from .images import grid, pixels_png
from .latent_pad import Pad, pad
from .look import STROKES, Stroke, canvas, style
from .maps import field, heat
from .shown import Shown, png, show

__all__ = [
    "STROKES",
    "Explorer",
    "Pad",
    "Shown",
    "Stroke",
    "bars",
    "canvas",
    "curves",
    "explore",
    "field",
    "grid",
    "heat",
    "pad",
    "pixels_png",
    "png",
    "show",
    "style",
]
