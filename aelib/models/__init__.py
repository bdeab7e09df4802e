"""Models as plain modules; no training code here.

Every autoencoder maps images (batch, channels, height, width) to images of the same shape, and has
`encode` and `decode`, whose composition (plus the skip, if any) is its `forward`.
"""

from aelib.models.autoencoders import ConvAutoencoder, LinearAutoencoder, MLPAutoencoder
from aelib.models.batchnorm import batch_statistics, calibrate, statistics_of
from aelib.models.classifiers import SmallConvNet, SmallResNet, SmallViT
from aelib.models.diffusion_unet import DiffusionUNet
from aelib.models.init import ACTIVATIONS, INITS, count_parameters, init_weights, replicate
from aelib.models.modes import evaluating
from aelib.models.normalization import imagenet, normalization
from aelib.models.pretrained import classifier, imagenet_classes
from aelib.models.sparse import (
    DeadUnitsWarning,
    SparseAutoencoder,
    UnitColumns,
    dead_units,
    scaling,
)
from aelib.models.unet import OneImageBatch, UNet
from aelib.models.vae import VAE, Posterior
from aelib.models.vq import UnusedWordsWarning, VQAutoencoder, restart_unused

__all__ = [
    "ACTIVATIONS",
    "INITS",
    "VAE",
    "ConvAutoencoder",
    "DeadUnitsWarning",
    "DiffusionUNet",
    "LinearAutoencoder",
    "MLPAutoencoder",
    "OneImageBatch",
    "Posterior",
    "SmallConvNet",
    "SmallResNet",
    "SmallViT",
    "SparseAutoencoder",
    "UNet",
    "UnitColumns",
    "UnusedWordsWarning",
    "VQAutoencoder",
    "batch_statistics",
    "calibrate",
    "classifier",
    "count_parameters",
    "dead_units",
    "evaluating",
    "imagenet",
    "imagenet_classes",
    "init_weights",
    "normalization",
    "replicate",
    "restart_unused",
    "scaling",
    "statistics_of",
]
