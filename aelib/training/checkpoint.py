"""A training kept in a file (safetensors), written whole or not at all, and read back exactly."""

from __future__ import annotations

import json
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from aelib import runtime
from aelib.training.history import Seen
from aelib.training.run import Run


def check(path: str | Path | None, resume: bool) -> Path | None:
    if path is None:
        if resume:
            raise ValueError("resume: there is nothing to resume without checkpoint=a file's path")
        return None
    file = Path(path)
    if file.exists() and not resume:
        raise FileExistsError(
            f"checkpoint: {file} exists; resume=True goes on from it, or give another name"
        )
    runtime.check_writable(file.parent, "a checkpoint")
    return file


def save(file: Path, run: Run, seen: Seen, about: dict) -> None:
    if run.stack is not None:
        run.stack.unstack()
    tensors: dict[str, Tensor] = {"rng": torch.get_rng_state()}
    if run.accelerator.device.type == "cuda":
        tensors["rng_device"] = torch.cuda.get_rng_state(run.accelerator.device)
    for number, (net, generator) in enumerate(zip(run.nets, run.generators, strict=True)):
        tensors[f"generator.{number}"] = generator.get_state()
        for name, value in net.state_dict().items():
            tensors[f"model.{number}.{name}"] = value
    plain: dict[str, float] = {}
    for number, (_, optimiser) in enumerate(run.parts):
        for index, state in optimiser.state_dict()["state"].items():
            for name, value in state.items():
                key = f"optimiser.{number}.{index}.{name}"
                if isinstance(value, Tensor):
                    tensors[key] = value
                elif value is not None:
                    plain[key] = value
    for name, rows in seen.rows.items():
        tensors[f"seen.{name}"] = torch.tensor(rows, dtype=torch.float64)
    tensors["seen.steps"] = torch.tensor(seen.steps)
    meta = {"step": run.step, "seconds": seen.seconds, "about": about, "optimiser": plain}
    whole = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    runtime.write_whole(file, safetensors.torch.save(whole, {"aelib": json.dumps(meta)}))


def load(file: Path, run: Run, seen: Seen, about: dict) -> None:
    try:
        with safe_open(str(file), "pt") as opened:
            meta = json.loads((opened.metadata() or {})["aelib"])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(
            f"checkpoint: {file} is cut short or was not written by fit ({error}); delete it to start anew"
        ) from error
    for what in ("models", "images", "settings"):
        if meta["about"][what] != json.loads(json.dumps(about[what])):
            came = {"models": "another model", "images": "other images"}.get(what) or (
                f"other settings {meta['about'][what]}, these are {about[what]}"
            )
            raise ValueError(
                f"checkpoint: {file} belongs to {came}; give another file's name or start anew"
            )
    missing = (
        set(seen.rows) ^ {name[5:] for name in tensors if name.startswith("seen.")} ^ {"steps"}
    )
    if missing:
        raise ValueError(
            f"watch: the checkpoint {file} watched other numbers ({', '.join(sorted(missing))})"
        )
    for number, (net, generator) in enumerate(zip(run.nets, run.generators, strict=True)):
        head = f"model.{number}."
        net.load_state_dict({n[len(head) :]: t for n, t in tensors.items() if n.startswith(head)})
        generator.set_state(tensors[f"generator.{number}"])
    if run.stack is not None:
        run.stack.restack()
    for number, (_, optimiser) in enumerate(run.parts):
        state: dict[int, dict] = {}
        for source in (tensors, meta["optimiser"]):
            for key, value in source.items():
                if key.startswith(f"optimiser.{number}."):
                    index, name = key.split(".", 3)[2:]
                    state.setdefault(int(index), {})[name] = value
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": state, "param_groups": groups})
    torch.set_rng_state(tensors["rng"])
    if "rng_device" in tensors and run.accelerator.device.type == "cuda":
        torch.cuda.set_rng_state(tensors["rng_device"], run.accelerator.device)
    seen.steps[:] = tensors["seen.steps"].tolist()
    for name, rows in seen.rows.items():
        rows[:] = tensors[f"seen.{name}"].tolist()
    seen.seconds, run.step = meta["seconds"], meta["step"]
