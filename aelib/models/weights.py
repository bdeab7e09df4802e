"""Files of weights: read without running code in them, refused where they fit no model."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from aelib import checks

Weights = str | os.PathLike
State = dict[str, Tensor]


def find(weights: Weights, known: Collection[str]) -> Path | None:
    """The file that `weights` is; None where it is one of the `known` names instead.

    Raises:
        FileNotFoundError: for a path without a file.
        ValueError: for a name that is not known.
    """
    path = Path(weights)
    if path.is_file():
        return path
    is_path = path.suffix in (".pt", ".pth", ".safetensors") or os.sep in str(weights)
    if is_path and str(weights) not in known:
        got = checks.Described(weights)
        raise FileNotFoundError(checks.message("weights", "a file that is there", got))
    checks.choice(str(weights), "weights", known)
    return None


def read(path: Path) -> State:
    """The tensors in a file (.safetensors, or of torch.save), without running any code in it.

    Raises:
        ValueError: for what cannot be read, or holds anything but a dictionary of tensors.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location=lambda storage, _: storage, weights_only=True)
    except Exception as error:  # unpickling fails in many ways
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        got = checks.Described(f"{path}: it cannot be read ({reason})")
        raise ValueError(checks.message("weights", "a file of tensors", got)) from error
    for key in ("model", "state_dict"):  # as training scripts wrap them
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        got = checks.Described(f"{path}: it holds something else")
        raise ValueError(checks.message("weights", "a dictionary of tensors (a state_dict)", got))
    return state


def misfit(name: str, weights: Weights, state: Mapping[str, Tensor], model: nn.Module) -> str:
    """Why `state` is not of the `model` called `name`, as a refusal says it."""
    expected = set(model.state_dict())
    missing, extra = len(expected - set(state)), len(set(state) - expected)
    got = checks.Described(
        f"{weights}: {missing} of its tensors are missing and {extra} belong to something "
        "else, or shapes differ"
    )
    return checks.message("weights", f"those of {name}", got)


def by_position(
    name: str, weights: Weights, state: Mapping[str, Tensor], model: nn.Module
) -> State:
    """`state` under the names of the `model` called `name`: the same net in other code.

    A tensor's place decides. Its shape and the last part of its name, such as "weight" or
    "running_var", must agree with what the model has there.

    Raises:
        ValueError: for another number of tensors; for the first that does not agree.
    """
    own, wanted = model.state_dict(), f"those of {name}"
    if len(state) != len(own):
        got = checks.Described(f"{weights}: {len(state)} tensors where the net has {len(own)}")
        raise ValueError(checks.message("weights", wanted, got))
    for place, (here, there) in enumerate(zip(own, state, strict=True), 1):
        mine, given = (
            f"{key.rsplit('.', 1)[-1]} {tuple(values[key].shape)}"
            for key, values in ((here, own), (there, state))
        )
        if mine != given:
            got = checks.Described(
                f"{weights}: tensor {place} of {len(own)}, {there!r}, is a {given} where the net "
                f"has {here!r}, a {mine}"
            )
            raise ValueError(checks.message("weights", wanted, got))
    return dict(zip(own, state.values(), strict=True))
