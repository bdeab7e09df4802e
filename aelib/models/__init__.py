"""Models as plain modules; no training code here.

Every autoencoder maps images (batch, channels, height, width) to images of the same shape, and has
`encode` and `decode`, whose composition (plus the skip, if any) is its `forward`.
"""

from aelib.models.autoencoders import ConvAutoencoder, LinearAutoencoder, MLPAutoencoder
from aelib.models.checks import evaluating
from aelib.models.classifiers import SmallConvNet, SmallResNet, SmallViT
from aelib.models.diffusion_unet import DiffusionUNet
from aelib.models.pretrained import classifier, imagenet
from aelib.models.statistics import batch_statistics, statistics_of
from aelib.models.unet import OneImageBatch, UNet
from aelib.models.vae import VAE, Posterior
from aelib.models.weights import (
    ACTIVATIONS,
    STARTS,
    count_parameters,
    replicate,
    start_weights,
)

__all__ = [
    "ACTIVATIONS",
    "STARTS",
    "VAE",
    "ConvAutoencoder",
    "DiffusionUNet",
    "LinearAutoencoder",
    "MLPAutoencoder",
    "OneImageBatch",
    "Posterior",
    "SmallConvNet",
    "SmallResNet",
    "SmallViT",
    "UNet",
    "batch_statistics",
    "classifier",
    "count_parameters",
    "evaluating",
    "imagenet",
    "replicate",
    "start_weights",
    "statistics_of",
]
