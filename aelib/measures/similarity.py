"""Images as one looks at them: how sharp, how near to another image, how alike."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aelib import checks
from aelib.measures.evaluate import as_images
from aelib.measures.seeds import Seeds, over_seeds

SSIM_WINDOW = 7  # pixels a side


@over_seeds(images=4)
def sharpness(images: Seeds[Tensor]) -> Tensor:
    """Mean |4x − up − down − left − right| over channels and inner pixels: (n,), grey levels, ≥ 0.

    The mean absolute Laplacian. Brightness does not change it and contrast scales it. Noise raises
    it like detail does. `relative_sharpness` divides it by the real images'. Needs 3×3 pixels.
    Source: chapter 1.

    >>> sharpness(torch.tensor([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]]).view(1, 1, 3, 3))
    tensor([4.])
    """
    images = _at_least(as_images(images), 3)
    across = images[..., 1:-1, :-2] + images[..., 1:-1, 2:]
    down = images[..., :-2, 1:-1] + images[..., 2:, 1:-1]
    return (4 * images[..., 1:-1, 1:-1] - across - down).abs().flatten(1).mean(1)


@over_seeds(images=4, reference=4)
def relative_sharpness(images: Seeds[Tensor], reference: Seeds[Tensor]) -> float | Tensor:
    """The images' mean `sharpness` over that of `reference`: the share of fine detail kept.

    Both means are taken before dividing, since a flat image has 0; so the two sets need not be
    pairs, nor equally many. ValueError if all of `reference` is flat. Source: chapters 1 and 5.

    >>> images = torch.rand(4, 1, 8, 8)
    >>> round(relative_sharpness(0.5 * images, images), 4)
    0.5
    """
    whole = sharpness(reference).mean()
    if whole == 0:
        got = checks.Described("none that is not flat")
        raise ValueError(checks.message("reference", "images with detail", got))
    return float(sharpness(images).mean() / whole)


@over_seeds(images=4, reference=4)
def psnr(images: Seeds[Tensor], reference: Seeds[Tensor]) -> Tensor:
    """10 log₁₀(d / ‖x − a‖²) for each pair, in dB for images with range 1: (n,); inf if equal.

    Source: chapter 1.

    >>> psnr(torch.full((1, 1, 8, 8), 0.1), torch.zeros(1, 1, 8, 8))
    tensor([20.])
    """
    reference = as_images(reference, "reference")
    images = as_images(images, like=reference)
    return -10 * torch.log10((images - reference).flatten(1).square().mean(1))


@over_seeds(images=4, reference=4)
def ssim(images: Seeds[Tensor], reference: Seeds[Tensor]) -> Tensor:
    """Structural similarity of each pair of images with range 1: (n,), 1 if equal.

    Means, variances and covariances over 7×7 windows (samples, without the border), as
    scikit-image computes them by default; here for a batch, on its device. Needs 7×7 pixels.
    Source: Wang et al. (2004), doi 10.1109/TIP.2003.819861; chapter 4.
    """
    reference = as_images(reference, "reference")
    images = _at_least(as_images(images, like=reference), SSIM_WINDOW)
    return structural_similarity(images, reference)


def structural_similarity(images: Tensor, reference: Tensor) -> Tensor:
    """`ssim` without its checks, for a loop that must not wait for the device."""
    n = SSIM_WINDOW**2

    def local(values: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(values, SSIM_WINDOW, stride=1)

    mean, other = local(images), local(reference)
    sample = n / (n - 1)
    variances = sample * (local(images.square()) - mean.square())
    variances = variances + sample * (local(reference.square()) - other.square())
    covariance = sample * (local(images * reference) - mean * other)
    small, smaller = 0.01**2, 0.03**2  # the paper's constants for a range of 1
    likeness = (2 * mean * other + small) * (2 * covariance + smaller)
    likeness = likeness / (
        (mean.square() + other.square() + small) * (variances + smaller)
    )  # (n, channels, height − 6, width − 6)
    return likeness.flatten(1).mean(1)


@over_seeds(outputs=4, inputs=4)
def correlation(outputs: Seeds[Tensor], inputs: Seeds[Tensor]) -> Tensor:
    """Pearson's correlation of each output with its input, over all elements: (n,), in [−1, 1].

    0 for an output that is constant up to rounding: it tells nothing of the input. ValueError for a
    constant input. Source: Zhang et al. (2019), arXiv 1902.04698; chapter 2.

    >>> inputs = torch.tensor([0.0, 0.5, 1.0]).view(1, 1, 1, 3)
    >>> correlation(1 - inputs, inputs)
    tensor([-1.0000])
    """
    inputs = as_images(inputs, "inputs")
    outputs = as_images(outputs, "outputs", like=inputs)
    standard, constant = _standard(outputs)
    standard_inputs, constant_inputs = _standard(inputs)
    if constant_inputs.any():
        got = checks.Described(f"image {int(constant_inputs.nonzero()[0])} constant")
        advice = "nothing correlates with it; leave it out"
        raise ValueError(checks.message("inputs", "images that vary", got, advice))
    return (standard * standard_inputs).sum(1).clamp(-1, 1).where(~constant, 0.0)


def _standard(images: Tensor) -> tuple[Tensor, Tensor]:
    """Each image centred and of length 1, (n, d), and whether rounding is all it has, (n,)."""
    flat = images.flatten(1)
    centered = flat - flat.mean(1, keepdim=True)
    length = centered.norm(dim=1, keepdim=True)
    limits = torch.finfo(flat.dtype)
    constant = length <= 8 * limits.eps * flat.norm(dim=1, keepdim=True)
    return centered / length.clamp_min(limits.tiny), constant[:, 0]


def _at_least(images: Tensor, size: int) -> Tensor:
    if min(images.shape[2:]) < size:
        raise ValueError(checks.message("images", f"{size}×{size} pixels or more", images))
    return images
