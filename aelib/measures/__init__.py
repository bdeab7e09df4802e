"""Measures: what a model does to images, as numbers; one per example wherever that makes sense.

Notation, as in the book: a is a clean image of d elements, e noise of deviation sigma, O the model,
n the number of images; every image tensor is (n, channels, height, width). A model is any callable
from such a tensor to one of the same shape. It is run without gradients, in evaluation mode (each
module's own mode comes back afterwards) and in batches, so examples must not influence each other.
A plain function is run in the mode it finds. Results have the images' device and dtype, float32 or
float64. Nothing here decides or draws: thresholds live in `claims`, pictures in `figures`.

Seeds are an axis, as in `fit`: a list of models gives results with one row a model, (seeds, n)
where one model gives (n,), and (seeds,) where it gives a number. What may differ between seeds may
be a list too, or a tensor with an axis more: images (seeds, n, channels, height, width), the output
of `outputs`, codes (seeds, n, k), training sets, clean errors. The rest is shared. `over_seeds`
gives a measure of your own the same axis.

Randomness is a `seed`: an int, or a torch.Generator, which is advanced. Noise is drawn where the
generator is, so that an int gives the same noise on every device. Every model of a list gets the
same noise; a list of seeds gives each its own.

Every function raises TypeError or ValueError, before any long work, for tensors that are empty,
non-finite or of the wrong shape; and for a model that changes the shape or returns NaN or infinity.

>>> import aelib as ae
>>> images = ae.data.load("digits").test
>>> filters = ae.measures.wiener_filter(images, sigma=[0.1, 0.5])
>>> ae.measures.clean_error([*filters, ae.measures.mean_image(images)], images).mean(1) < 0.02
tensor([ True, False, False])
"""

from aelib.measures.controls import (
    matched_blur,
    matched_pca,
    mean_image,
    pca_filter,
    thumbnail,
    wiener_filter,
)
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
from aelib.measures.evaluate import codes, outputs
from aelib.measures.frechet import (
    ClassScore,
    classifier_score,
    frechet_distance,
    frechet_floor,
    image_features,
)
from aelib.measures.intervals import Interval, interval
from aelib.measures.iteration import distance_moved, iterate
from aelib.measures.jacobians import jacobian, singular_values, spectral_radius
from aelib.measures.kurtosis import excess_kurtosis
from aelib.measures.leading import Leading, leading_singular_values
from aelib.measures.linear import (
    filter_gain,
    linear_filter,
    pca_reconstruct,
    principal_directions,
    subspace_distance,
    truncated_pca_gain,
    wiener_gain,
)
from aelib.measures.memorization import (
    Memory,
    Nearest,
    memory,
    nearer_training,
    nearest_distance,
    nearest_training,
)
from aelib.measures.mixture import mixture_score
from aelib.measures.neighbors import neighbor_purity, shared_neighbors
from aelib.measures.probes import Probe, logistic_probe, ridge_probe
from aelib.measures.seeds import over_seeds
from aelib.measures.similarity import correlation, psnr, relative_sharpness, sharpness, ssim
from aelib.measures.spectra import directions_for, effective_rank, spectrum

__all__ = [
    "ClassScore",
    "Interval",
    "Leading",
    "Memory",
    "Nearest",
    "Probe",
    "Response",
    "break_even_noise",
    "classifier_score",
    "clean_error",
    "codes",
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
    "leading_singular_values",
    "linear_filter",
    "logistic_probe",
    "matched_blur",
    "matched_pca",
    "mean_image",
    "memory",
    "mixture_score",
    "nearer_training",
    "nearest_distance",
    "nearest_training",
    "neighbor_purity",
    "outputs",
    "over_seeds",
    "pca_filter",
    "pca_reconstruct",
    "predicted_gain",
    "principal_directions",
    "psnr",
    "relative_sharpness",
    "response",
    "ridge_probe",
    "shared_neighbors",
    "sharpness",
    "singular_values",
    "spectral_radius",
    "spectrum",
    "ssim",
    "subspace_distance",
    "thumbnail",
    "transmission",
    "truncated_pca_gain",
    "unexplained_variance",
    "wiener_filter",
    "wiener_gain",
]
