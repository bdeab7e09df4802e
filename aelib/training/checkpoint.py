"""A training kept in a file, written whole or not at all, and read back exactly."""

from __future__ import annotations

import functools
import hashlib
import io
import pickle
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

import torch
from torch import Tensor, nn

from aelib import checks, random, runtime
from aelib.training.dry_run import plain_name
from aelib.training.ensemble import Ensemble
from aelib.training.learner import Learner
from aelib.training.plan import Plan

# What torch.load raises for a file that is cut short, or something else altogether.
UNREADABLE = (RuntimeError, EOFError, LookupError, TypeError, AttributeError, ValueError, OSError,
              pickle.UnpicklingError)  # fmt: skip


class Checkpoint:
    """The file of one training: what it is of, and the way there and back."""

    def __init__(self, plan: Plan, learners: Sequence[Learner]):
        assert plan.checkpoint is not None
        self.file, self.plan, self.learners = plan.checkpoint, plan, learners
        optimizer, digest = learners[0].optimizer, functools.cache(fingerprint)
        self.about = {
            "models": [_lines(model) for model in plan.models],
            "images": [digest(value) for value in plan.images],
            "labels": [digest(value) for value in plan.labels or []],
            "objective": plain_name(plan.objective),
            "batch_size": plan.batch_size,
            "schedule": plan.schedule,
            "clip": plan.clip,
            "ema": plan.ema,
            "seed": plan.seed,
            "metrics": ", ".join(sorted(plan.metrics)),
            "vmap": isinstance(learners[0].bare, Ensemble),
            "precision": plan.precision,
            "optimizer": type(optimizer).__name__,
            **{name: repr(value) for name, value in optimizer.defaults.items()},
        }

    def save(self, records: Mapping) -> None:
        """Write the training as it stands, its models handed over."""
        state = {
            "about": self.about,
            "records": dict(records),
            "models": [model.state_dict() for model in self.plan.models],
            "weights": [learner.averages for learner in self.learners],  # swapped: the last step's
            "optimizers": [learner.optimizer.state_dict()["state"] for learner in self.learners],
            "totals": [learner.total for learner in self.learners],
            "batches": [[batches.generator.get_state() for batches in learner.batches]
                        for learner in self.learners],
            "random": random.state(self.plan.place.device),
            "scaler": self.plan.place.scaler.state_dict(),
        }  # fmt: skip
        buffer = io.BytesIO()
        torch.save(state, buffer)
        runtime.write_whole(self.file, buffer.getvalue())

    def load(self) -> dict:
        """Go on from the file: nothing is changed unless all of it fits. The records.

        Raises:
            ValueError: for a file cut short or not written by `fit`; for one of other models,
                images, labels or settings; for one that is already past the steps asked for.
        """
        state = _read(self.file, "delete it to start anew")
        kept, now = state["about"], self.about
        # A setting that only one of them has came with another version of PyTorch.
        unlike = [
            f"other {name}" if isinstance(value, list) else f"{name} {kept[name]!r}, now {value!r}"
            for name, value in now.items()
            if name in kept and kept[name] != value
        ]
        if unlike:
            got = checks.Described(f"{self.file}, made with {'; '.join(unlike)}")
            raise ValueError(
                checks.message("checkpoint", "a file of this training", got, "give another name")
            )
        if (done := state["records"]["done"]) > self.plan.steps:
            expected = f"{done} or more, the steps {self.file} has behind it"
            raise ValueError(checks.message("steps", expected, self.plan.steps))
        for model, values in zip(self.plan.models, state["models"], strict=True):
            model.load_state_dict(values)
        for number, learner in enumerate(self.learners):
            if isinstance(learner.bare, Ensemble):
                learner.bare.restack()
            groups = learner.optimizer.state_dict()["param_groups"]
            optimizer = {"state": state["optimizers"][number], "param_groups": groups}
            learner.optimizer.load_state_dict(optimizer)
            learner.total.copy_(state["totals"][number])
            for average, value in zip(learner.averages, state["weights"][number], strict=True):
                average.copy_(value)
            learner.swap()
            for batches, value in zip(learner.batches, state["batches"][number], strict=True):
                batches.generator.set_state(value)
        self.plan.place.scaler.load_state_dict(state["scaler"])
        random.set_state(state["random"], self.plan.place.device)
        return state["records"]


def load_weights(model: nn.Module, path: str | Path, index: int = 0) -> nn.Module:
    """Give `model` the weights of one model of a checkpoint that `fit` wrote.

    Reads numbers only and runs nothing that stands in the file. The model stays on its device and
    is unchanged unless all of it fits.

    Args:
        model: built as the one in the checkpoint was.
        path: the file given to `fit` as checkpoint=.
        index: which of the models trained together.

    Returns:
        The same model.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if `fit` did not write it, it holds fewer models, or another one.
    """
    file, index = Path(path), checks.whole(index, "index", least=0)
    if not file.is_file():
        got = checks.Described(f"{file}, which is not there")
        raise FileNotFoundError(checks.message("path", "a checkpoint of fit", got))
    state = _read(file, "give another")
    models = state["about"]["models"]
    checks.whole(index, "index", most=len(models) - 1, limit=f"{file} holds {len(models)} models")
    for kept, own in zip_longest(models[index], _lines(model), fillvalue=""):
        if kept != own:
            got = checks.Described(f"one with {own.strip()!r} in place of {kept.strip()!r}")
            raise ValueError(checks.message("model", f"one built like that in {file}", got))
    model.load_state_dict(state["models"][index])
    return model


def _read(file: Path, advice: str) -> dict:
    content = io.BytesIO(file.read_bytes())
    try:
        # Wherever a value was, it is read into main memory.
        state = torch.load(content, map_location=lambda value, _: value, weights_only=True)
        if not {"about", "records", "models"} <= set(state):
            raise ValueError("something else")
    except UNREADABLE:  # torch's own words advise to run what may stand in the file
        got = checks.Described(f"{file}, cut short or not written by fit")
        raise ValueError(checks.message("checkpoint", "a whole one", got, advice)) from None
    return state


def _lines(model: nn.Module) -> list[str]:
    """What a model is: its layers, then the shape of each of its tensors."""
    shapes = [f"{name} {tuple(value.shape)}" for name, value in model.state_dict().items()]
    return [*plain_name(model).splitlines(), *shapes]


def fingerprint(tensor: Tensor) -> str:
    """A fingerprint of a tensor's values."""
    values = tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return hashlib.sha256(f"{tuple(tensor.shape)} {tensor.dtype}".encode() + values).hexdigest()


def fingerprint_of_model(model: nn.Module) -> str:
    """A fingerprint of a model's layers and of every value in it."""
    held = {**model.state_dict(), **dict(model.named_buffers())}  # some buffers are in no state
    values = {name: fingerprint(value) for name, value in held.items()
              if isinstance(value, Tensor)}  # fmt: skip
    text = plain_name(model) + repr(values)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
