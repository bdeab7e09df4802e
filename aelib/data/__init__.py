"""Images in, and what spoils them: bundled sets, torchvision's sets, a reader's folder, noise.

Every set arrives as one `Images`: float32 tensors in [0, 1] of shape (n, channels, height, width),
already divided into training and test images; `discs` are drawn to order. "digits" and "photos" are
read from files that scikit-learn and scikit-image ship inside their packages, so a first run needs
no network.
Heavy imports wait inside the functions that need them: `import aelib` stays quick.
"""

from aelib.data.folder import BitDepthWarning, UnreadableImagesWarning, read_images
from aelib.data.images import Images
from aelib.data.noise import (
    Contrast,
    GaussianNoise,
    Mask,
    MixedNoise,
    Shift,
    contrast,
    gaussian,
    masked,
    mixed,
    shift,
    white_noise,
)
from aelib.data.sets import load
from aelib.data.shapes import (
    Discs,
    NearestDisc,
    disc_tangents,
    discs,
    draw_discs,
    nearest_disc,
    place_grid,
)

__all__ = [
    "BitDepthWarning",
    "Contrast",
    "Discs",
    "GaussianNoise",
    "Images",
    "Mask",
    "MixedNoise",
    "NearestDisc",
    "Shift",
    "UnreadableImagesWarning",
    "contrast",
    "disc_tangents",
    "discs",
    "draw_discs",
    "gaussian",
    "load",
    "masked",
    "mixed",
    "nearest_disc",
    "place_grid",
    "read_images",
    "shift",
    "white_noise",
]
