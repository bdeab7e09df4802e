"""Images as one looks at them: how sharp, how near to another image, how alike."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aelib.measures.checks import as_images

SSIM_WINDOW = 7  # pixels a side


def sharpness(images: Tensor) -> Tensor:
    """Mean |4x − up − down − left − right| over channels and inner pixels: (n,), grey levels, ≥ 0.

    The mean absolute Laplacian. Brightness does not change it and contrast scales it, so divided by
    the real image's it is the share of fine detail kept; average both before dividing, since a flat
    image has 0. Noise raises it like detail does. Needs 3×3 pixels. Source: chapter 1.
    """
    images = as_images(images, "images")
    if min(images.shape[2:]) < 3:
        raise ValueError(f"images must be at least 3×3 pixels, got {tuple(images.shape[2:])}")
    across = images[..., 1:-1, :-2] + images[..., 1:-1, 2:]
    down = images[..., :-2, 1:-1] + images[..., 2:, 1:-1]
    return (4 * images[..., 1:-1, 1:-1] - across - down).abs().flatten(1).mean(1)


def psnr(images: Tensor, reference: Tensor) -> Tensor:
    """10 log₁₀(d / ‖x − a‖²) for each pair, in dB for images with range 1: (n,); inf if equal.

    Source: chapter 1.
    """
    reference = as_images(reference, "reference")
    images = as_images(images, "images", like=reference)
    return -10 * torch.log10((images - reference).flatten(1).square().mean(1))


def ssim(images: Tensor, reference: Tensor) -> Tensor:
    """Structural similarity of each pair of images with range 1: (n,), 1 if equal.

    Means, variances and covariances over 7×7 windows (samples, without the border), as
    scikit-image computes them by default; here for a batch, on its device. Needs 7×7 pixels.
    Source: Wang et al. (2004), doi 10.1109/TIP.2003.819861; chapter 4.
    """
    reference = as_images(reference, "reference")
    images = as_images(images, "images", like=reference)
    if min(images.shape[2:]) < SSIM_WINDOW:
        raise ValueError(
            f"images must be at least {SSIM_WINDOW}×{SSIM_WINDOW} pixels for SSIM, got "
            f"{tuple(images.shape[2:])}"
        )
    return structural_similarity(images, reference)


def structural_similarity(images: Tensor, reference: Tensor) -> Tensor:
    """`ssim` without its checks, for a loop that must not wait for the device."""
    count = SSIM_WINDOW**2

    def local(values: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(values, SSIM_WINDOW, stride=1)

    mean, other = local(images), local(reference)
    sample = count / (count - 1)
    variances = sample * (local(images.square()) - mean.square())
    variances = variances + sample * (local(reference.square()) - other.square())
    covariance = sample * (local(images * reference) - mean * other)
    small, smaller = 0.01**2, 0.03**2  # the paper's constants for a range of 1
    likeness = (2 * mean * other + small) * (2 * covariance + smaller)
    likeness = likeness / (
        (mean.square() + other.square() + small) * (variances + smaller)
    )  # (n, channels, height − 6, width − 6)
    return likeness.flatten(1).mean(1)


def correlation(outputs: Tensor, inputs: Tensor) -> Tensor:
    """Pearson's correlation of each output with its input, over all elements: (n,), in [−1, 1].

    0 for an output that is constant up to rounding: it tells nothing of the input. ValueError for a
    constant input. Source: Zhang et al. (2019), arXiv 1902.04698; chapter 2.
    """
    inputs = as_images(inputs, "inputs")
    outputs = as_images(outputs, "outputs", like=inputs)
    answers, constant = _standard(outputs)
    questions, senseless = _standard(inputs)
    if senseless.any():
        raise ValueError(
            f"input {int(senseless.nonzero()[0])} is constant, so nothing correlates with it; "
            "leave it out"
        )
    return (answers * questions).sum(1).clamp(-1, 1).where(~constant, 0.0)


def _standard(images: Tensor) -> tuple[Tensor, Tensor]:
    """Each image centred and of length 1, (n, d), and whether rounding is all it has, (n,)."""
    flat = images.flatten(1)
    centred = flat - flat.mean(1, keepdim=True)
    length = centred.norm(dim=1, keepdim=True)
    limits = torch.finfo(flat.dtype)
    constant = length <= 8 * limits.eps * flat.norm(dim=1, keepdim=True)
    return centred / length.clamp_min(limits.tiny), constant[:, 0]
