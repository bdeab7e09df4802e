"""Images in, and what spoils them: bundled sets, torchvision's sets, a reader's folder, noise.

Every set arrives as one `Images`: float32 tensors in [0, 1] of shape (n, channels, height, width),
already divided into training and test images; `discs` and `ellipses` are drawn to order. "digits"
and "photos" are read from files that scikit-learn and scikit-image ship inside their packages, so a
first run needs no network.
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
from aelib.data.shapes import Drawn, Nearest, Shapes, discs, ellipses

__all__ = [
    "BitDepthWarning",
    "Contrast",
    "Drawn",
    "GaussianNoise",
    "Images",
    "Mask",
    "MixedNoise",
    "Nearest",
    "Shapes",
    "Shift",
    "UnreadableImagesWarning",
    "contrast",
    "discs",
    "ellipses",
    "gaussian",
    "load",
    "masked",
    "mixed",
    "read_images",
    "shift",
    "white_noise",
]
