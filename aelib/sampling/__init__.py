"""Sampling: images drawn from a net, as pure functions of the net, a schedule and a seed."""

from aelib.sampling.codes import CodeDistribution, fit_code
from aelib.sampling.samplers import Moment, ddim, ddpm
from aelib.sampling.walks import (
    decode,
    diffuse_without_diffusion,
    interpolate,
    manifold_walk,
    self_map,
)

__all__ = [
    "CodeDistribution",
    "Moment",
    "ddim",
    "ddpm",
    "decode",
    "diffuse_without_diffusion",
    "fit_code",
    "interpolate",
    "manifold_walk",
    "self_map",
]
