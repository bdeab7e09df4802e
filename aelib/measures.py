"""Measures: what a net does to images, as numbers; one per example wherever that makes sense.

Notation, as in the book: a is a clean image of d elements, e noise of deviation sigma, O the net,
n the number of images; every image tensor is (n, channels, height, width). A net is any callable
from such a tensor to one of the same shape. It is run without gradients, in evaluation mode (each
module's own mode comes back afterwards) and in chunks, so examples must not influence each other.
A plain function is run in the mode it finds. Results have the images' device and dtype, float32 or
float64. Nothing here decides or draws: thresholds live in `claims`, pictures in `figures`.

Randomness is a `seed`: an int, or a torch.Generator that is advanced. Noise is drawn in float32 by
the generator, so an int gives the same noise on every device and in every dtype.

Every function raises TypeError or ValueError, before any long work, for tensors that are empty,
non-finite or of the wrong shape; and for a net that changes the shape or returns NaN or infinity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from aelib.runtime import generator

Net = Callable[[Tensor], Tensor]
Noise = Callable[[Tensor, torch.Generator], Tensor]

CHUNK_IMAGES, CHUNK_ELEMENTS = 1024, 2**22  # a chunk stops at whichever comes first
LARGEST_SPECTRUM = 1024  # eigenvalues cost d³: a few seconds an image at this d


class Response(NamedTuple):
    """How a net answers noise, each (n,): `copy` is κ, `transmission` is τ; both 1 if O(x) = x."""

    copy: Tensor
    transmission: Tensor


class Nearest(NamedTuple):
    """The nearest training image of each image: `distance` (n,), Euclidean, and `which` (n,)."""

    distance: Tensor
    which: Tensor


class Memory(NamedTuple):
    """Where each start ended, all (n,); a being the training image numbered `nearest`.

    `recalled`: it came to a training image from outside (the share of these is the book's H).
    `nearest`: the training image it ended nearest to, -1 if it left the finite numbers.
    `distance`, `began`, `moved`: ‖x_T − a‖, ‖x_0 − a‖ and ‖x_T − x_0‖ over ‖a‖; inf if it diverged.
    """

    recalled: Tensor
    nearest: Tensor
    distance: Tensor
    began: Tensor
    moved: Tensor


class Interval(NamedTuple):
    """A mean over seeds with its bootstrap interval, in the unit of the values."""

    value: float
    low: float
    high: float


# --- Copying and denoising -----------------------------------------------------------------------


def clean_error(net: Net, images: Tensor) -> Tensor:
    """B = ‖O(a) − a‖² / d for each image: (n,), squared grey levels, 0 for a perfect copy.

    Source: chapter 1.
    """
    images = _images(images, "images")
    return _energy(_outputs(net, images) - images) / images[0].numel()


def unexplained_variance(net: Net, images: Tensor, mean: Tensor | None = None) -> float:
    """fvu = Σ‖O(a) − a‖² / Σ‖a − mean‖²: the error as a share of the variance, over all images.

    A ratio of sums, so a flat image cannot blow it up. 0 is a perfect copy; always answering `mean`
    scores 1. `mean` has d elements; without it, the images' own. ValueError if they do not vary.
    Source: chapter 1.
    """
    images = _images(images, "images")
    centre = images.mean(0) if mean is None else _vector(mean, images)
    variance = _energy(images - centre.reshape(images[0].shape)).double().sum()
    rounding = 8 * torch.finfo(images.dtype).eps
    if not variance > rounding**2 * _energy(images).double().sum():
        raise ValueError("images must differ from their mean, but all are equal to it; give more")
    return float(_energy(_outputs(net, images) - images).double().sum() / variance)


def denoising_gain(
    net: Net, images: Tensor, noise: Noise, seed: int | torch.Generator = 0
) -> Tensor:
    """G = 10 log₁₀(‖e‖² / ‖O(a+e) − a‖²) for each image: (n,), in dB.

    `noise` maps (images, generator) to noisy images, as `data.gaussian(0.2)` does; e is what it
    added. 0 if the net leaves the noise as it is, negative if it hurts, inf if it restores the
    image exactly. ValueError if the noise leaves an image unchanged. Source: chapter 3.
    """
    images = _images(images, "images")
    if not callable(noise):
        raise TypeError(f"noise must be callable, as data.gaussian(0.2) is; got {noise!r}")
    noisy = _images(noise(images, _start(seed)), "noise(images, generator)", like=images)
    before = _energy(noisy - images)
    _some_noise(before)
    return 10 * torch.log10(before / _energy(_outputs(net, noisy) - images))


def response(
    net: Net,
    images: Tensor,
    sigma: float,
    *,
    directions: Tensor | None = None,
    draws: int = 1,
    seed: int | torch.Generator = 0,
) -> Response:
    """κ = E⟨O(a+e) − O(a), e⟩ / E‖e‖² and τ = E‖O(a+e) − O(a)‖² / E‖e‖² for each image.

    e is white, of deviation `sigma` (grey levels). With `directions`, (k, d) with orthonormal rows,
    it lies in their span only, with deviation sigma along each: κ∥ and τ∥ for the data's own
    directions, κ⊥ and τ⊥ for the others. Each E is a mean over the image's `draws` of e, taken
    before dividing. One draw scatters κ around its mean, the more the fewer the directions; more
    draws, or a mean over images, narrow that. τ ≥ 0 and κ² ≤ τ. The identity has κ = τ = 1, a
    constant map 0 and 0, O(x) = Wx has κ = tr W / d and τ = ‖W‖² / d (Frobenius).
    Source: chapter 2.
    """
    images = _images(images, "images")
    sigma = _number(sigma, "sigma")
    _whole(draws, "draws", 1)
    if directions is not None:
        directions = _orthonormal(directions, images)
    source = _start(seed)
    clean = _outputs(net, images)
    overlap, passed, energy = (images.new_zeros(len(images)) for _ in range(3))
    for _ in range(draws):
        noisy = images + sigma * _white(images, directions, source)
        noise = noisy - images  # what rounding left of it, so that the identity gets exactly 1
        change = _outputs(net, noisy) - clean
        overlap += (change * noise).flatten(1).sum(1)
        passed += _energy(change)
        energy += _energy(noise)
    _some_noise(energy)
    return Response(overlap / energy, passed / energy)


def copy_coefficient(net: Net, images: Tensor, sigma: float, **options) -> Tensor:
    """κ of `response`, with its options: (n,), the share of the noise that comes out as itself."""
    return response(net, images, sigma, **options).copy


def transmission(net: Net, images: Tensor, sigma: float, **options) -> Tensor:
    """τ of `response`, with its options: (n,), the energy that comes out for the noise's energy."""
    return response(net, images, sigma, **options).transmission


def predicted_gain(error: float, sigma: float, tau: float) -> float:
    """G ≈ −10 log₁₀(B/σ² + τ) in dB, from the clean error B, the noise and the transmission τ.

    Exact on average for a linear O and noise of mean zero; otherwise it drops the overlap of the
    clean error with the answer to the noise. τ belongs to this sigma unless O is linear. It speaks
    of mean errors, the mean of `denoising_gain` of logarithms. Source: chapter 3.

    >>> round(predicted_gain(error=0.01, sigma=0.2, tau=0.25), 2)
    3.01
    """
    sigma = _number(sigma, "sigma")
    error = _number(error, "error", or_zero=True)
    tau = _number(tau, "tau", or_zero=True)
    rest = error / sigma**2 + tau
    return math.inf if rest == 0 else -10 * math.log10(rest)


def break_even_noise(error: float, tau: float) -> float:
    """σ* = √(B / (1 − τ)), where `predicted_gain` is 0: with less noise than this the net hurts.

    In grey levels; inf if τ ≥ 1, for then no noise is large enough. Source: chapter 3.

    >>> round(break_even_noise(error=0.0075, tau=0.25), 3)
    0.1
    """
    error = _number(error, "error", or_zero=True)
    tau = _number(tau, "tau", or_zero=True)
    return math.sqrt(error / (1 - tau)) if tau < 1 else math.inf


# --- The linear world: principal directions and the filters along them ----------------------------


def principal_directions(images: Tensor, k: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """The mean (d,), the first k principal directions (k, d) and their variances (k,), falling.

    Rows are orthonormal; each row's largest element is positive, which fixes its sign. Variances
    are squared grey levels, over n and not n − 1, so that all of them sum to the mean ‖a − mean‖².
    k defaults to d: beyond the data's rank come directions of variance 0 that complete the basis.
    By singular values in float64, returned in the images' dtype. Needs two images, 1 ≤ k ≤ d.
    Source: chapter 1.
    """
    images = _images(images, "images")
    if len(images) < 2:
        raise ValueError("images must hold at least two images to have directions, got 1")
    flat = images.flatten(1).double()
    d = flat.shape[1]
    k = d if k is None else k
    _whole(k, "k", 1, d, "the number of elements of an image")
    mean = flat.mean(0)
    _, values, rows = torch.linalg.svd(flat - mean, full_matrices=False)
    if k > len(rows):
        rest = torch.linalg.qr(rows.T, mode="complete").Q[:, len(rows) :]
        rows = torch.cat([rows, rest.T])
    rows = rows * rows.gather(1, rows.abs().argmax(1, keepdim=True)).sign()
    variances = torch.zeros_like(mean)
    variances[: len(values)] = values.square() / len(flat)
    return mean.to(images), rows[:k].to(images), variances[:k].to(images)


def linear_filter(images: Tensor, mean: Tensor, directions: Tensor, shares: Tensor) -> Tensor:
    """mean + Σᵢ sᵢ ⟨x − mean, vᵢ⟩ vᵢ: keeps the share sᵢ (k,) of each direction vᵢ, drops the rest.

    `directions` is (k, d) with orthonormal rows; the result has the images' shape. A linear net
    trained for time t from near zero is this filter with sᵢ = 1 − exp(−λᵢt). Source: chapter 1.
    """
    images = _images(images, "images")
    directions = _orthonormal(directions, images)
    shares = torch.as_tensor(shares).to(images)
    if shares.shape != directions.shape[:1]:
        raise ValueError(
            f"shares (or variances) must be one number for each of the {len(directions)} "
            f"directions, got shape {tuple(shares.shape)}"
        )
    mean = _vector(mean, images)
    codes = (images.flatten(1) - mean) @ directions.T  # (n, k)
    return (mean + (codes * shares) @ directions).reshape(images.shape)


def pca_reconstruct(images: Tensor, mean: Tensor, directions: Tensor) -> Tensor:
    """What k principal directions keep of each image: `linear_filter` with every share 1."""
    return linear_filter(images, mean, directions, torch.ones(len(directions)))


def wiener(
    images: Tensor, mean: Tensor, directions: Tensor, variances: Tensor, sigma: float
) -> Tensor:
    """The best linear denoiser for noise σ: `linear_filter` with sᵢ = λᵢ / (λᵢ + σ²).

    λᵢ are the `variances` (k,) along the directions; what they do not span counts as variance 0.
    Source: Wiener (1949); chapters 1 and 3.
    """
    sigma = _number(sigma, "sigma")
    variances = _spectrum(variances)
    return linear_filter(images, mean, directions, variances / (variances + sigma**2))


def filter_gain(variances: Tensor, shares: Tensor, sigma: float) -> float:
    """Gain of `linear_filter` in dB: −10 log₁₀( Σᵢ ((1 − sᵢ)² λᵢ/σ² + sᵢ²) / d ).

    In closed form, for white noise and data of these variances λᵢ, of any distribution. Give all d
    of them, zeros too: d is read from their number. It is the ratio of mean energies, the mean of
    `denoising_gain` is of logarithms. Source: chapter 1.
    """
    sigma = _number(sigma, "sigma")
    variances = _spectrum(variances)
    shares = torch.as_tensor(shares).to(variances)
    if shares.shape != variances.shape:
        raise ValueError(
            f"shares must be as many as variances ({len(variances)}), got {tuple(shares.shape)}"
        )
    rest = ((1 - shares).square() * variances / sigma**2 + shares.square()).mean().item()
    return math.inf if rest == 0 else -10 * math.log10(rest)


def wiener_gain(variances: Tensor, sigma: float) -> float:
    """The most a linear filter gains, in dB: −10 log₁₀( Σᵢ λᵢ/(λᵢ + σ²) / d ), above 0.

    On Gaussian data nothing gains more. `variances` as in `filter_gain`; inf if all are 0.
    Source: Wiener (1949); chapter 1.
    """
    sigma = _number(sigma, "sigma")
    variances = _spectrum(variances)
    return filter_gain(variances, variances / (variances + sigma**2), sigma)


def truncated_pca_gain(variances: Tensor, keep: int, sigma: float) -> float:
    """Gain in dB of the first k = `keep` directions: −10 log₁₀( (Σ_{i>k} λᵢ/σ² + k) / d ).

    `variances` as in `filter_gain`; 0 ≤ keep ≤ d. Source: chapters 1 and 3.
    """
    variances = _spectrum(variances)
    _whole(keep, "keep", 0, len(variances), "the number of variances")
    return filter_gain(variances, (torch.arange(len(variances)) < keep).double(), sigma)


def subspace_distance(first: Tensor, second: Tensor) -> float:
    """‖P₁ − P₂‖_F / √(2k) for the spans of the rows of two (k, d) matrices; P projects onto a span.

    From 0 (the same span) to 1 (at right angles; out of reach if 2k > d). The rows need not be
    orthonormal, only independent. Computed as ‖Q₂ − P₁Q₂‖_F / √k, which keeps small distances
    exact to 10⁻¹⁵. Source: chapter 1.
    """
    bases = []
    for name, rows in (("first", first), ("second", second)):
        if rows.dim() != 2 or rows.numel() == 0 or rows.shape != first.shape:
            raise ValueError(
                f"first and second must both be (k, d), got {tuple(first.shape)} for first and "
                f"{tuple(second.shape)} for second"
            )
        if not rows.isfinite().all() or torch.linalg.matrix_rank(rows.double()) < len(rows):
            raise ValueError(f"the rows of {name} must be finite and independent; drop the others")
        bases.append(torch.linalg.qr(rows.double().T).Q)  # (d, k)
    one, two = bases
    return min(1.0, float((two - one @ (one.T @ two)).norm() / math.sqrt(len(first))))


def effective_rank(values: Tensor) -> Tensor:
    """Participation ratio (Σλ)² / Σλ² over the last axis of a spectrum of variances λ ≥ 0.

    From 1 (one direction has it all) to the number of values (all alike). For singular values,
    square them first. ValueError for a spectrum of zeros. Source: chapter 5.
    """
    values = torch.as_tensor(values)
    if values.dim() == 0 or values.numel() == 0 or not (values >= 0).all():
        raise ValueError("values must hold at least one variance, none negative or not a number")
    largest = values.amax(-1, keepdim=True)
    if not ((largest > 0) & largest.isfinite()).all():
        raise ValueError("every spectrum in values needs a value above 0, and none infinite")
    scaled = values / largest  # squares of tiny variances would underflow
    return scaled.sum(-1).square() / scaled.square().sum(-1)


# --- The Jacobian --------------------------------------------------------------------------------


def jacobian(net: Net, image: Tensor) -> Tensor:
    """J[i, j] = ∂O(x)ᵢ / ∂xⱼ at one image, (channels, height, width): (d, d).

    Costs d forward and backward passes, batched. ValueError if the output carries no gradient.
    Source: chapter 2.
    """
    image = _images(image[None] if image.dim() == 3 else image, "image")
    if len(image) != 1:
        raise ValueError(f"image must be one image, got a batch of {len(image)}; loop over them")
    parts = []
    with _evaluation(net), torch.enable_grad():
        for rows in torch.eye(image.numel()).to(image).split(_chunk(image)):
            inputs = image.expand(len(rows), *image.shape[1:]).clone().requires_grad_()
            outputs = _run(net, inputs).flatten(1)
            slopes = None
            if outputs.requires_grad:
                (slopes,) = torch.autograd.grad(outputs, inputs, rows, allow_unused=True)
            if slopes is None:  # zeros would be a guess: it may be constant, or merely detached
                raise ValueError("net's output carries no gradient of its input; look for detach()")
            parts.append(slopes.flatten(1))
    return torch.cat(parts)


def spectral_radius(net: Net, images: Tensor) -> Tensor:
    """ρ = the largest |eigenvalue| of the Jacobian at each image: (n,), ≥ 0.

    Below 1 at a fixed point of O, nearby starts are drawn to it: an attractor. Exact, from all
    eigenvalues in float64; ValueError above d = 1024, where they cost too much. Source:
    Radhakrishnan et al. (2018), arXiv 1810.10333; chapter 2.
    """
    return _per_jacobian(net, images, lambda matrix: torch.linalg.eigvals(matrix).abs().max())


def singular_values(net: Net, images: Tensor) -> Tensor:
    """The Jacobian's singular values at each image, falling: (n, d), ≥ 0; all 1 for the identity.

    How far the net stretches each direction. ValueError above d = 1024. Source: chapter 2.
    """
    return _per_jacobian(net, images, torch.linalg.svdvals)


# --- Memory --------------------------------------------------------------------------------------


def iterate(net: Net, images: Tensor, times: int) -> Tensor:
    """O(O(… O(a))), `times` times: the images' shape; `times=0` gives the images back.

    The one function whose result may be non-finite: the map may diverge. A chunk whose images no
    longer change stops early, which for a deterministic net gives the same end. Source: chapter 2.
    """
    images = _images(images, "images")
    _whole(times, "times", 0)
    ends = []
    with _evaluation(net), torch.no_grad():
        for part in images.split(_chunk(images)):
            for _ in range(times):
                before, part = part, _run(net, part, finite=False)
                if torch.equal(before, part):
                    break
            ends.append(part)
    return torch.cat(ends)


def memory(
    net: Net, training: Tensor, starts: Tensor, times: int = 2000, tolerance: float = 0.05
) -> Memory:
    """Which starts the iterated map carries to a training image, and to which: see `Memory`.

    A start x₀ recalls if x_T = O(…O(x₀)), after T = `times` steps, has ‖x_T − a‖ ≤ tolerance·‖a‖
    for a training image a, and x₀ itself had not: standing still is not recall. So starts should
    be held-out images or noise; one that begins at a training image never counts. Divergence does
    not count either. H = `memory(...).recalled.float().mean()`. ‖a‖ is not centred: where training
    images lie within tolerance of each other or of their mean (flat grey crops), arriving says
    little, so look at `nearest` too. ValueError for an all-zero training image.
    Source: Radhakrishnan et al. (2018), arXiv 1810.10333; chapter 2.
    """
    training = _images(training, "training")
    starts = _images(starts, "starts", like=training, paired=False)
    tolerance = _number(tolerance, "tolerance")
    lengths = training.flatten(1).norm(dim=1)
    if (lengths == 0).any():
        raise ValueError(
            f"training image {int((lengths == 0).nonzero()[0])} is all zero, so nothing is within "
            "a share of its length; leave it out"
        )
    ends = iterate(net, starts, times)
    finite = ends.flatten(1).isfinite().all(1)
    ends = torch.where(finite[:, None, None, None], ends, starts)  # any finite stand-in
    distance, which = _nearest(ends, training, lengths)
    began = (starts - training[which]).flatten(1).norm(dim=1) / lengths[which]
    moved = (ends - starts).flatten(1).norm(dim=1) / lengths[which]
    recalled = finite & (distance <= tolerance) & (began > tolerance)
    return Memory(
        recalled,
        which.where(finite, -1),
        distance.where(finite, math.inf),
        began.where(finite, math.inf),
        moved.where(finite, math.inf),
    )


def nearest_training(images: Tensor, training: Tensor) -> Nearest:
    """The nearest training image of each image, and how far: ‖x − t‖, not divided by anything.

    Source: chapter 2.
    """
    training = _images(training, "training")
    return _nearest(_images(images, "images", like=training, paired=False), training)


def nearest_distance(images: Tensor, training: Tensor) -> Tensor:
    """min over the training images t of ‖x − t‖ for each image: (n,), ≥ 0, grey levels."""
    return nearest_training(images, training).distance


def nearer_training(net: Net, images: Tensor, training: Tensor) -> Tensor:
    """Whether min_t ‖O(x) − t‖ < ‖O(x) − x‖, for each held-out image x: (n,), boolean.

    True where the output is nearer to some training image t than to its input. Source: chapter 2.
    """
    training = _images(training, "training")
    images = _images(images, "images", like=training, paired=False)
    outputs = _outputs(net, images)
    return _nearest(outputs, training).distance < (outputs - images).flatten(1).norm(dim=1)


# --- Looking at images ---------------------------------------------------------------------------


def sharpness(images: Tensor) -> Tensor:
    """Mean |4x − up − down − left − right| over channels and inner pixels: (n,), grey levels, ≥ 0.

    The mean absolute Laplacian. Brightness does not change it and contrast scales it, so divided by
    the real image's it is the share of fine detail kept; average both before dividing, since a flat
    image has 0. Noise raises it like detail does. Needs 3×3 pixels. Source: chapter 1.
    """
    images = _images(images, "images")
    if min(images.shape[2:]) < 3:
        raise ValueError(f"images must be at least 3×3 pixels, got {tuple(images.shape[2:])}")
    across = images[..., 1:-1, :-2] + images[..., 1:-1, 2:]
    down = images[..., :-2, 1:-1] + images[..., 2:, 1:-1]
    return (4 * images[..., 1:-1, 1:-1] - across - down).abs().flatten(1).mean(1)


def psnr(images: Tensor, reference: Tensor) -> Tensor:
    """10 log₁₀(d / ‖x − a‖²) for each pair, in dB for images with range 1: (n,); inf if equal.

    Source: chapter 1.
    """
    reference = _images(reference, "reference")
    images = _images(images, "images", like=reference)
    return -10 * torch.log10((images - reference).flatten(1).square().mean(1))


def correlation(outputs: Tensor, inputs: Tensor) -> Tensor:
    """Pearson's correlation of each output with its input, over all elements: (n,), in [−1, 1].

    0 for an output that is constant up to rounding: it tells nothing of the input. ValueError for a
    constant input. Source: Zhang et al. (2019), arXiv 1902.04698; chapter 2.
    """
    inputs = _images(inputs, "inputs")
    outputs = _images(outputs, "outputs", like=inputs)
    answers, constant = _standard(outputs)
    questions, senseless = _standard(inputs)
    if senseless.any():
        raise ValueError(
            f"input {int(senseless.nonzero()[0])} is constant, so nothing correlates with it; "
            "leave it out"
        )
    return (answers * questions).sum(1).clamp(-1, 1).where(~constant, 0.0)


# --- Over seeds ----------------------------------------------------------------------------------


def interval(
    values: Sequence[float] | Tensor,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int | torch.Generator = 0,
) -> Interval:
    """The mean over seeds with its percentile bootstrap interval: (value, low, high).

    `values` holds one finite number a seed, at least two. Up to six seeds all nⁿ resamples are
    enumerated, so chance plays no part; beyond that `resamples` are drawn.

    How much it says: the interval never leaves [min, max], so it knows nothing of a rarer seed. For
    three seeds at 0.95 it *is* [min, max] (each end has 1/27 of the resamples). A range of n draws
    holds their distribution's median with probability 1 − 2¹⁻ⁿ: 50 % for two seeds, 75 % for three,
    97 % for six. With few seeds read it as the spread seen, not as a promise of `level`.
    Source: Efron and Tibshirani (1993), ch. 13.

    >>> interval([1.0, 2.0, 6.0])
    Interval(value=3.0, low=1.0, high=6.0)
    """
    if getattr(values, "ndim", 1) != 1:
        raise ValueError(f"values must be one number a seed, got shape {tuple(values.shape)}")
    sample = torch.tensor([float(value) for value in values], dtype=torch.float64)
    n = len(sample)
    if n < 2:
        raise ValueError(f"values must hold at least two seeds for an interval, got {n}; run more")
    if not sample.isfinite().all():
        raise ValueError(f"values must be finite, got {sample.tolist()}; see why that seed failed")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, as 0.95 does, got {level!r}")
    _whole(resamples, "resamples", 1)
    if n <= 6:
        picks = torch.cartesian_prod(*[torch.arange(n)] * n)
    else:
        source = _start(seed)
        picks = torch.randint(n, (resamples, n), generator=source, device=source.device)
    means = sample[picks.to(sample.device)].mean(1).sort().values
    rank = max(1, math.ceil((1 - level) / 2 * len(means) - 1e-9))  # 1e-9: 1 − .95 is not .05
    ends = sample.mean(), means[rank - 1], means[-rank]
    return Interval(*(float(end.clamp(sample.min(), sample.max())) for end in ends))


# --- Shared parts --------------------------------------------------------------------------------


@contextmanager
def _evaluation(net: Net) -> Iterator[None]:
    """Evaluation mode for a module (or the module a method such as net.decode belongs to)."""
    owner = net if isinstance(net, nn.Module) else getattr(net, "__self__", None)
    modes = []
    if isinstance(owner, nn.Module):
        modes = [(module, module.training) for module in owner.modules()]
        owner.eval()
    try:
        yield
    finally:
        for module, training in modes:  # one by one: a frozen batch norm stays frozen
            module.training = training


def _chunk(images: Tensor) -> int:
    return max(1, min(CHUNK_IMAGES, CHUNK_ELEMENTS // images[0].numel()))


def _outputs(net: Net, images: Tensor) -> Tensor:
    with _evaluation(net), torch.no_grad():
        return torch.cat([_run(net, part) for part in images.split(_chunk(images))])


def _run(net: Net, images: Tensor, finite: bool = True) -> Tensor:
    outputs = net(images.clone())  # a net may begin with an in-place step; images stay as they are
    if not isinstance(outputs, Tensor):
        raise TypeError(f"net must return a tensor of images, got {type(outputs).__name__}")
    if outputs.shape != images.shape:
        raise ValueError(
            f"net must return the shape it is given, {tuple(images.shape)}, got "
            f"{tuple(outputs.shape)}; build it for these images"
        )
    if finite and not outputs.isfinite().all():
        raise ValueError("net returned NaN or infinity; it has probably diverged in training")
    return outputs.to(images)


def _per_jacobian(net: Net, images: Tensor, measure: Callable[[Tensor], Tensor]) -> Tensor:
    images = _images(images, "images")
    d = images[0].numel()
    if d > LARGEST_SPECTRUM:
        raise ValueError(
            f"images must have at most {LARGEST_SPECTRUM} elements for an exact spectrum, got {d}; "
            "use smaller images or fewer channels"
        )
    found = [measure(jacobian(net, image).double()) for image in images]
    return torch.stack(found).to(images)


def _nearest(images: Tensor, training: Tensor, lengths: Tensor | None = None) -> Nearest:
    """The nearest by ‖x − t‖, or by ‖x − t‖ / length of t."""
    distances, places = [], []
    for part in images.flatten(1).split(_chunk(images)):
        # The usual shortcut ‖x‖² − 2⟨x, t⟩ + ‖t‖² loses small distances to rounding.
        table = torch.cdist(
            part, training.flatten(1), compute_mode="donot_use_mm_for_euclid_dist"
        )  # (part, training)
        found = (table if lengths is None else table / lengths).min(1)
        distances.append(found.values)
        places.append(found.indices)
    return Nearest(torch.cat(distances), torch.cat(places))


def _standard(images: Tensor) -> tuple[Tensor, Tensor]:
    """Each image centred and of length 1, (n, d), and whether rounding is all it has, (n,)."""
    flat = images.flatten(1)
    centred = flat - flat.mean(1, keepdim=True)
    length = centred.norm(dim=1, keepdim=True)
    limits = torch.finfo(flat.dtype)
    constant = length <= 8 * limits.eps * flat.norm(dim=1, keepdim=True)
    return centred / length.clamp_min(limits.tiny), constant[:, 0]


def _white(images: Tensor, directions: Tensor | None, source: torch.Generator) -> Tensor:
    size = images.shape if directions is None else (len(images), len(directions))
    draw = torch.randn(size, generator=source, device=source.device, dtype=torch.float32).to(images)
    return draw if directions is None else (draw @ directions).reshape(images.shape)


def _energy(images: Tensor) -> Tensor:
    return images.flatten(1).square().sum(1)


def _some_noise(energy: Tensor) -> None:
    if (energy == 0).any():
        raise ValueError(
            f"the noise left image {int((energy == 0).nonzero()[0])} unchanged; raise sigma, or "
            "use float64 if it is below rounding"
        )


def _start(seed: int | torch.Generator) -> torch.Generator:
    return seed if isinstance(seed, torch.Generator) else generator(seed)


def _images(images: Tensor, name: str, like: Tensor | None = None, paired: bool = True) -> Tensor:
    if not isinstance(images, Tensor) or images.dtype not in (torch.float32, torch.float64):
        found = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise TypeError(f"{name} must be a float32 or float64 tensor, got {found}; try .float()")
    if images.dim() != 4 or images.numel() == 0:
        raise ValueError(
            f"{name} must be (n, channels, height, width) with at least one image, got shape "
            f"{tuple(images.shape)}"
        )
    first = 0 if paired else 1  # paired: one for one, so as many of them too
    if like is not None and images.shape[first:] != like.shape[first:]:
        raise ValueError(
            f"{name} must have shape {'' if paired else '(n, ...) with '}"
            f"{tuple(like.shape[first:])}, got {tuple(images.shape[first:])}"
        )
    if not images.isfinite().all():
        raise ValueError(f"{name} must be finite, but holds NaN or infinity; look where from")
    return images.detach() if like is None else images.detach().to(like)


def _vector(mean: Tensor, images: Tensor) -> Tensor:
    if mean.numel() != images[0].numel():
        raise ValueError(f"mean must have {images[0].numel()} elements, got {tuple(mean.shape)}")
    return mean.detach().to(images).flatten()


def _orthonormal(directions: Tensor, images: Tensor) -> Tensor:
    d = images[0].numel()
    if directions.dim() != 2 or len(directions) == 0 or directions.shape[1] != d:
        raise ValueError(f"directions must be (k, {d}), got shape {tuple(directions.shape)}")
    directions = directions.detach().to(images)
    gap = directions @ directions.T - torch.eye(len(directions)).to(images)
    if not gap.abs().max() < 1e-3:
        raise ValueError("the rows of directions must be orthonormal; use torch.linalg.qr on them")
    return directions


def _spectrum(variances: Tensor) -> Tensor:
    variances = torch.as_tensor(variances).detach().double()
    if variances.dim() != 1 or len(variances) == 0:
        raise ValueError(f"variances must be one row of numbers, got {tuple(variances.shape)}")
    if not ((variances >= 0) & variances.isfinite()).all():
        raise ValueError("variances must be finite and not negative")
    return variances


def _number(value: float, name: str, or_zero: bool = False) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must be one number, got {value!r}") from error
    if not (math.isfinite(number) and (number > 0 or (or_zero and number == 0))):
        raise ValueError(
            f"{name} must be {'0 or more' if or_zero else 'above 0'} and finite, got {value!r}"
        )
    return number


def _whole(value: int, name: str, low: int, high: float = math.inf, limit: str = "") -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        upper = f" to {high} ({limit})" if limit else " or more"
        raise ValueError(f"{name} must be a whole number, {low}{upper}, got {value!r}")
