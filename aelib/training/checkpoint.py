"""A training kept in a file (safetensors), written whole or not at all, and read back exactly."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from aelib import checks, random, runtime
from aelib.training.history import Seen
from aelib.training.run import Run
from aelib.training.trial import plain_name


def check(path: str | Path | None, resume: bool) -> Path | None:
    """The checkpoint's file, after making sure that it may be written, or resumed from.

    Raises:
        ValueError: for resume without a file, or a folder in its place.
        FileExistsError: if the file is there and `resume` is False.
        OSError: if nothing can be written there.
    """
    if path is None:
        if resume:
            raise ValueError("resume: there is nothing to resume without checkpoint=a file's path")
        return None
    file = Path(path)
    if file.is_dir():
        raise ValueError(f"checkpoint: {file} is a folder; name a file in it")
    runtime.check_writable(file.parent, "a checkpoint")
    if file.exists() and not resume:
        raise FileExistsError(
            f"checkpoint: {file} exists; resume=True goes on from it, or give another name"
        )
    return file


def save(file: Path, run: Run, seen: Seen, about: Mapping) -> None:
    """Write the training as it stands to `file`, whole or not at all."""
    if run.stack is not None:
        run.stack.unstack()
    tensors = _state(run, seen)
    plain: dict[str, float] = {}
    for number, (_, optimiser) in enumerate(run.parts):
        for index, state in optimiser.state_dict()["state"].items():
            for name, value in state.items():
                key = f"optimiser.{number}.{index}.{name}"
                if isinstance(value, Tensor):
                    tensors[key] = value
                elif value is not None:
                    plain[key] = value
    scaler = run.accelerator.scaler
    meta = {
        "step": run.step,
        "since": run.since,
        "seconds": seen.seconds,
        "about": about,
        "optimiser": plain,
        "scaler": None if scaler is None else scaler.state_dict(),
    }
    whole = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    runtime.write_whole(file, safetensors.torch.save(whole, {"aelib": json.dumps(meta)}))


def load(file: Path, run: Run, seen: Seen, about: Mapping, steps: int) -> None:
    """Go on from `file`: nothing is changed unless all of it fits.

    Raises:
        ValueError: for a file cut short or not written by `fit`; for one of other models, images,
            labels, settings or watched numbers; for one that is already past `steps`.
    """
    with _readable(file, "delete it to start anew"):
        meta, tensors = _read(file)
        before, step, since = meta["about"], int(meta["step"]), int(meta["since"])
        unlike = _disagreement(before, json.loads(json.dumps(about)))
        optimisers = [] if unlike else _optimiser_states(tensors, meta["optimiser"], len(run.parts))
    if unlike:
        raise ValueError(
            f"checkpoint: {file} {unlike}; use the same, give another file's name or start anew"
        )
    kept = {name for name in tensors if not name.startswith("optimiser.")}
    if kept != set(_state(run, seen)):
        other = sorted(kept ^ set(_state(run, seen)))
        raise ValueError(f"checkpoint: {file} holds or lacks {other}; watch the same numbers")
    if step > steps:
        raise ValueError(f"steps: {file} is already at step {step}, got {steps}; ask for more")

    for number, (net, generator) in enumerate(zip(run.nets, run.generators, strict=True)):
        head = f"model.{number}."
        values = {n[len(head) :]: value for n, value in tensors.items() if n.startswith(head)}
        net.load_state_dict(values)
        generator.set_state(tensors[f"generator.{number}"])
    if run.stack is not None:
        run.stack.restack()
    for number, (_, optimiser) in enumerate(run.parts):
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": optimisers[number], "param_groups": groups})
        _lay_out(optimiser)
        run.totals[number].copy_(tensors[f"total.{number}"])
    if run.accelerator.scaler is not None:
        run.accelerator.scaler.load_state_dict(meta["scaler"])
    states = {name[7:]: value for name, value in tensors.items() if name.startswith("random.")}
    random.set_state(states, run.place)
    seen.steps[:] = tensors["seen.steps"].tolist()
    for name, rows in seen.rows.items():
        rows[:] = tensors[f"seen.{name}"].tolist()
    seen.seconds, run.step, run.since = meta["seconds"], step, since


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
        raise FileNotFoundError(f"path: there is no file {file}; fit(..., checkpoint=) writes one")
    with _readable(file, "give another"):
        meta, tensors = _read(file, f"model.{index}.")
        layers = meta["about"]["models"]["layers"]
    if index >= len(layers):
        raise ValueError(f"index: {file} holds {len(layers)} models, counted from 0, got {index}")
    values = {key.split(".", 2)[2]: value for key, value in tensors.items()}
    own = model.state_dict()
    unlike = sorted(
        key for key in own.keys() | values.keys()
        if key not in own or key not in values or own[key].shape != values[key].shape
    )  # fmt: skip
    if unlike or layers[index] != plain_name(model):
        lines = zip_longest(
            layers[index].splitlines(), plain_name(model).splitlines(), fillvalue=""
        )
        there, here = next((pair for pair in lines if pair[0] != pair[1]), (unlike, "not"))
        raise ValueError(
            f"model: {file} holds another one; it has {str(there).strip()!r} where this one has "
            f"{str(here).strip()!r}; build it as it was for the training"
        )
    model.load_state_dict(values)
    return model


def _read(file: Path, start: str = "") -> tuple[dict, dict[str, Tensor]]:
    """What `save` wrote: the plain values, and the tensors whose names start so."""
    with safe_open(str(file), "pt") as opened:
        meta = json.loads((opened.metadata() or {})["aelib"])
        keys = [key for key in opened.keys() if key.startswith(start)]  # noqa: SIM118
        return meta, {key: opened.get_tensor(key) for key in keys}


@contextlib.contextmanager
def _readable(file: Path, what_to_do: str) -> Iterator[None]:
    """Inside the block, whatever goes wrong with the file is said in plain words."""
    try:
        yield
    except (SafetensorError, LookupError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(
            f"checkpoint: {file} is cut short or was not written by fit ({error}); {what_to_do}"
        ) from error


def _state(run: Run, seen: Seen) -> dict[str, Tensor]:
    """All of a training but its optimisers, whose state is empty before the first step."""
    states = random.state(run.place)
    tensors = {f"random.{name}": state for name, state in states.items()}
    for number, (net, generator) in enumerate(zip(run.nets, run.generators, strict=True)):
        tensors[f"generator.{number}"] = generator.get_state()
        for name, value in net.state_dict().items():
            tensors[f"model.{number}.{name}"] = value
    for number, total in enumerate(run.totals):
        tensors[f"total.{number}"] = total
    for name, rows in seen.rows.items():
        tensors[f"seen.{name}"] = torch.tensor(rows, dtype=torch.float64)
    tensors["seen.steps"] = torch.tensor(seen.steps)
    return tensors


def _lay_out(optimiser: torch.optim.Optimizer) -> None:
    """Give each moment the memory layout of its parameter.

    A file holds plain tensors; a fused step walks both in the order of memory, and beside a
    parameter with its channels last it would take each weight for another one.
    """
    for parameter, state in optimiser.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _optimiser_states(tensors: Mapping, plain: Mapping, count: int) -> list[dict[int, dict]]:
    """The state of each optimiser, as its `load_state_dict` wants it."""
    states: list[dict[int, dict]] = [{} for _ in range(count)]
    for key, value in [*tensors.items(), *plain.items()]:
        if key.startswith("optimiser."):
            number, index, name = key.split(".", 3)[1:]
            states[int(number)].setdefault(int(index), {})[name] = value
    return states


def _disagreement(before: Mapping, now: Mapping) -> str:
    """How the checkpoint's models, data and settings differ from these, in words; empty if not.

    A setting that only one of them has came with another version of PyTorch.
    """
    for what, came in (
        ("models", "another model"), ("images", "other images"), ("labels", "other labels")
    ):  # fmt: skip
        if before.get(what, []) != now[what]:
            return f"belongs to {came}"
    old, new = before["settings"], now["settings"]
    unlike = [f"{k} {old[k]!r}, now {new[k]!r}" for k in sorted(old.keys() & new.keys())
              if old[k] != new[k]]  # fmt: skip
    return f"was made with {'; '.join(unlike)}" if unlike else ""
