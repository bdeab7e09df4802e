"""`fit`: one training loop for every model, one seed or many, on whatever device there is."""

from aelib.training.checkpoint import load_weights
from aelib.training.ensemble import Ensemble
from aelib.training.fit import fit
from aelib.training.history import CheckpointError, History, TrainingDiverged

__all__ = ["CheckpointError", "Ensemble", "History", "TrainingDiverged", "fit", "load_weights"]
