"""Measures: what a net does to images, as numbers; one per example wherever that makes sense.

Notation, as in the book: a is a clean image of d elements, e noise of deviation sigma, O the net,
n the number of images; every image tensor is (n, channels, height, width). A net is any callable
from such a tensor to one of the same shape. It is run without gradients, in evaluation mode (each
module's own mode comes back afterwards) and in chunks, so examples must not influence each other.
A plain function is run in the mode it finds. Results have the images' device and dtype, float32 or
float64. Nothing here decides or draws: thresholds live in `claims`, pictures in `figures`.

Randomness is a `seed`: an int, or a torch.Generator, which is advanced. Noise is drawn where the
generator is, so that an int gives the same noise on every device.

Every function raises TypeError or ValueError, before any long work, for tensors that are empty,
non-finite or of the wrong shape; and for a net that changes the shape or returns NaN or infinity.
"""

from aelib.measures.codes import (
    directions_for,
    distance_moved,
    linear_reader,
    neighbour_purity,
    shared_neighbours,
    spectrum,
)
from aelib.measures.controls import matched_blur, matched_pca, mean_image
from aelib.measures.copying import (
    Response,
    break_even_noise,
    clean_error,
    copy_coefficient,
    denoising_gain,
    predicted_gain,
    response,
    transmission,
    unexplained_variance,
)
from aelib.measures.frechet import (
    ClassScore,
    classifier_score,
    frechet_distance,
    frechet_floor,
    image_features,
)
from aelib.measures.linear import (
    effective_rank,
    filter_gain,
    linear_filter,
    pca_reconstruct,
    principal_directions,
    subspace_distance,
    truncated_pca_gain,
    wiener,
    wiener_gain,
)
from aelib.measures.looks import correlation, psnr, sharpness, ssim
from aelib.measures.probes import Probe, linear_probe
from aelib.measures.recall import (
    Memory,
    Nearest,
    iterate,
    memory,
    nearer_training,
    nearest_distance,
    nearest_training,
)
from aelib.measures.scores import excess_kurtosis, mixture_score
from aelib.measures.seeds import Interval, interval
from aelib.measures.slopes import jacobian, singular_values, spectral_radius

__all__ = [
    "ClassScore",
    "Interval",
    "Memory",
    "Nearest",
    "Probe",
    "Response",
    "break_even_noise",
    "classifier_score",
    "clean_error",
    "copy_coefficient",
    "correlation",
    "denoising_gain",
    "directions_for",
    "distance_moved",
    "effective_rank",
    "excess_kurtosis",
    "filter_gain",
    "frechet_distance",
    "frechet_floor",
    "image_features",
    "interval",
    "iterate",
    "jacobian",
    "linear_filter",
    "linear_probe",
    "linear_reader",
    "matched_blur",
    "matched_pca",
    "mean_image",
    "memory",
    "mixture_score",
    "nearer_training",
    "nearest_distance",
    "nearest_training",
    "neighbour_purity",
    "pca_reconstruct",
    "predicted_gain",
    "principal_directions",
    "psnr",
    "response",
    "shared_neighbours",
    "sharpness",
    "singular_values",
    "spectral_radius",
    "spectrum",
    "ssim",
    "subspace_distance",
    "transmission",
    "truncated_pca_gain",
    "unexplained_variance",
    "wiener",
    "wiener_gain",
]
