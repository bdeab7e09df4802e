"""Does a copier clean a photograph that is large enough to look at, and better than a blur does?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from aelib import checks, data, figures, fit, measures, models, objectives, random
from aelib.claims import Claim, above, below
from aelib.experiments.copier_and_denoiser import (
    STRENGTHS,
    WHITE,
    as_sharp,
    break_even,
    gains,
    over_strengths,
)
from aelib.experiments.experiment import Experiment, full_result
from aelib.experiments.keeping import Result, halved
from aelib.experiments.pictures import on_screen

CLAIM = Claim(
    id="3.17",
    statement="At 64 pixels too, a convolutional copier removes noise above its break-even, and "
    "no more than a blur as accurate on clean images does.",
    source="Badger's page, section 3; this chapter",
    reading="G at 0.2",
    measure="gain of the copier, of all crops' energies together, for white noise of deviation "
    "0.2, 64 colour crops of a held-out photograph",
    unit="dB",
    units="photographs held out, a net for each",
    supported={
        "G at 0.2": above(1),
        "G at 0.01": below(0),
        "G at twice σ*": above(0),
        "net − blur as accurate": below(0),
        "net − blur as accurate, at 0.1": below(0),
    },
    conditional={
        "G at 0.2": above(1),
        "G at 0.01": below(0),
        "G at twice σ*": above(0),
        "net − blur as accurate": below(0),
    },
    condition="the noise is as strong as 0.2; for noise of half that the blur was not shown to "
    "give as much",
    controls=("blur as accurate", "blur as sharp", "mean image, G at 0.2", "untrained, G at 0.2"),
    also=(
        "net − blur as sharp",
        "G at σ*",
        "σ*",
        "clean PSNR",
        "sharpness, net",
        "sharpness, blur as accurate",
    ),
    ratios=("sharpness, net", "sharpness, blur as accurate"),
    fails_when="The noise is weaker than the net's own error. A blur truly as sharp as the net is "
    "another comparison.",
    rule_changed="2026-11-26",
    seen_before="prototype",
)

# Of all eight, a landscape, a plant, an animal, a thing and a person: large enough to look at.
PICTURED = ("china", "flower", "chelsea", "coffee", "grace_hopper")
LESSON = 5  # chelsea: the photograph that the lessons' four nets have never seen
RECIPE = {"batch_size": 4, "lr": 2e-3, "schedule": "cosine"}


class Kind(NamedTuple):
    """What sets a net apart from the copier."""

    skips: str = "none"
    norm: str = "none"
    objective: objectives.Objective = objectives.copy


KINDS = {
    "copier": Kind(),
    "skips": Kind(skips="concat"),
    "batch": Kind(norm="batch"),
    "denoiser": Kind(objective=objectives.denoise(WHITE)),
}


def photographs(holdout: int, crops: int, test: int) -> data.Images:
    """Colour crops of 64 × 64 pixels; those for testing are of one photograph."""
    return data.load("photos", size=64, channels=3, train=crops, test=test, holdout=holdout)


def build(kind: str, width: int) -> nn.Module:
    """A net of this kind; 16 wide its code has 32,768 numbers for the 12,288 of an image."""
    options = KINDS[checks.choice(kind, "kind", KINDS)]
    return models.UNet((3, 64, 64), width, downs=1, skips=options.skips, norm=options.norm)


def trained(kind: str, photos: data.Images, width: int, steps: int, seed: int) -> nn.Module:
    """A net of this kind, trained on these crops."""
    (model,) = models.replicate(lambda: build(kind, width), seeds=1, first=seed)
    objective = KINDS[kind].objective
    fit(model, photos.train, objective=objective, steps=steps, seed=seed, label=kind, **RECIPE)
    return model


def net(kind: str, result: Result | None = None) -> nn.Module:
    """A kept net, in evaluation mode: "copier", "skips", "batch" or "denoiser".

    All four are of one size and were trained as long, on seven photographs without chelsea.

    Args:
        kind: without skips; with skips; without, with batch normalisation; without, taught to take
            noise of deviation 0.2 away.
        result: of a run of this experiment; the kept full one if None.

    Raises:
        ValueError: for an unknown kind.
        FileNotFoundError: where no full run is kept.
    """
    checks.choice(kind, "kind", KINDS)
    nets = (full_result(CLAIM.id) if result is None else result).show["nets"]
    weights = {name: torch.as_tensor(value) for name, value in nets[kind].items()}
    model = build(kind, width=weights["last.weight"].shape[1])
    model.load_state_dict(weights)  # as float32, whatever they were kept in
    return model.eval()


def of_lessons(nets: Mapping[str, nn.Module], images: Tensor) -> dict[str, dict[str, float]]:
    """What the lessons' nets do on held-out crops, and what half precision changes in them."""
    noisy = WHITE(images, random.generator(0))
    found = {}
    for kind, model in nets.items():
        again = net(kind, Result({}, {"nets": {kind: halved(model)}}))
        change = measures.outputs(again, noisy) - measures.outputs(model, noisy)
        found[kind] = {
            "G at 0.2": float(gains([model], images)[0]),
            "B": float(measures.clean_error(model, images).mean()),
            "κ": float(measures.copy_coefficient(model, images, sigma=0.1).mean()),
            "half precision": float(change.abs().max()),
        }
    return found


def measured(
    model: nn.Module, photos: data.Images, width: int
) -> tuple[dict[str, float], dict[str, Any]]:
    """The readings of one held-out photograph, and the maps they are of."""
    clean = photos.test
    error = float(measures.clean_error(model, clean).mean())
    (star,) = break_even([model], clean, [error])
    copies = measures.outputs(model, clean)
    maps = {
        "copier": model,
        "blur, as accurate": measures.matched_blur(clean, error),
        "blur, as sharp": as_sharp(clean, copies),
        "mean image": measures.mean_image(photos.train),
        "untrained": models.replicate(lambda: build("copier", width), seeds=1)[0],
    }
    curves = {name: over_strengths([each], clean)[0] for name, each in maps.items()}
    at = STRENGTHS.index(0.2)
    ahead = curves["copier"] - curves["blur, as accurate"]

    def at_share(share: float) -> float:
        return float(gains([model], clean, data.gaussian(share * star))[0])

    def sharpness(name: str) -> float:
        return float(measures.relative_sharpness(measures.outputs(maps[name], clean), clean))

    readings = {
        "G at 0.2": float(curves["copier"][at]),
        "G at 0.01": float(gains([model], clean, data.gaussian(0.01))[0]),
        "G at σ*": at_share(1.0),
        "G at twice σ*": at_share(2.0),
        "σ*": star,
        "net − blur as accurate": float(ahead[at]),
        "net − blur as accurate, at 0.1": float(ahead[STRENGTHS.index(0.1)]),
        "net − blur as sharp": float((curves["copier"] - curves["blur, as sharp"])[at]),
        "blur as accurate": float(curves["blur, as accurate"][at]),
        "blur as sharp": float(curves["blur, as sharp"][at]),
        "mean image, G at 0.2": float(curves["mean image"][at]),
        "untrained, G at 0.2": float(curves["untrained"][at]),
        "clean PSNR": float(-10 * torch.tensor(error).log10()),
        "sharpness, net": sharpness("copier"),
        "sharpness, blur as accurate": sharpness("blur, as accurate"),
    }
    return readings, {"maps": maps, "curves": curves}


def run(holdouts: Sequence[int], steps: int, crops: int, test: int, width: int) -> Result:
    """A copier for each photograph held out, the filters beside it; four nets for the lessons."""
    readings: dict[str, list[float]] = {}
    curves: dict[str, list[Tensor]] = {}
    rows: dict[str, list[Tensor]] = {}
    nets: dict[str, nn.Module] = {}
    lessons: dict[str, dict[str, float]] = {}
    names = []
    for seed, holdout in enumerate(holdouts):
        photos = photographs(holdout, crops, test)
        copier = trained("copier", photos, width, steps, seed)
        found, seen = measured(copier, photos, width)
        for name, value in found.items():
            readings.setdefault(name, []).append(value)
        for name, curve in seen["curves"].items():
            curves.setdefault(name, []).append(curve)
        vivid = photos.test.flatten(1).std(1).argmax()
        clean = photos.test[vivid : vivid + 1]
        noisy = WHITE(clean, random.generator(holdout))
        shown = {"photograph": clean, "noisy": noisy}
        for name in ("copier", "blur, as accurate", "blur, as sharp"):
            shown[name] = measures.outputs(seen["maps"][name], noisy)
        for name, image in shown.items():
            rows.setdefault(name, []).append(on_screen(image))
        names.append(photos.test_sources[0])
        if holdout == LESSON:
            nets = {"copier": copier}
            for kind in list(KINDS)[1:]:
                nets[kind] = trained(kind, photos, width, steps, seed)
            lessons = of_lessons(nets, photos.test)
    show = {
        "rows": {name: torch.cat(images) for name, images in rows.items()},
        "names": np.array(names),
        "strengths": np.array(STRENGTHS),
        "curves": {name: torch.stack(each) for name, each in curves.items()},
        "nets": {kind: halved(model) for kind, model in nets.items()},
        "lessons": lessons,
    }
    return Result(readings, {**show, "models": nets}, keep=tuple(show))


def picture(result: Result, photographs: Sequence[str] = PICTURED) -> Figure:
    """A crop of each of these photographs: clean, noisy, copied, and blurred as accurately."""
    names = result.show["names"].tolist()
    known = [names.index(checks.choice(name, "photographs", names)) for name in photographs]
    rows = {name: torch.as_tensor(images)[known] for name, images in result.show["rows"].items()}
    labels = {
        "photograph": "photograph",
        "noisy": "noisy",
        "copier": "copier",
        "blur, as accurate": "blur, as\naccurate",
    }
    return figures.grid([rows[name] for name in labels], labels=list(labels.values()))


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"holdouts": [1, 3, 7], "steps": 120, "crops": 128, "test": 12, "width": 16},
    full={"holdouts": list(range(8)), "steps": 400, "crops": 2048, "test": 64, "width": 16},
    picture=picture,
)
