"""`fit`: one training loop for every model, one seed or many, on whatever device there is."""

from aelib.training.checkpoint import load_weights
from aelib.training.history import History, TrainingDiverged
from aelib.training.loop import fit
from aelib.training.stack import Stack

__all__ = ["History", "Stack", "TrainingDiverged", "fit", "load_weights"]
