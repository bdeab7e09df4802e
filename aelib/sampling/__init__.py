"""Sampling: images drawn from a model, as pure functions of the model, a schedule and a seed."""

from aelib.sampling.codes import CodeDistribution, fit_code
from aelib.sampling.diffusion import sample
from aelib.sampling.walks import (
    decode,
    diffuse_without_diffusion,
    interpolate,
    manifold_walk,
    self_map,
)

__all__ = [
    "CodeDistribution",
    "decode",
    "diffuse_without_diffusion",
    "fit_code",
    "interpolate",
    "manifold_walk",
    "sample",
    "self_map",
]
