"""How many directions does the code of a wide copier use, and who lies next to whom in it?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from aelib import figures, measures, models
from aelib.claims import Claim, above, below
from aelib.experiments.digit_nets import WIDTH, copiers, denoisers, digits, narrow, plain
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = Claim(
    id="5.1",
    statement="The code of an overcomplete net is low-dimensional, lower than the data.",
    source="what is commonly said; chapter 5",
    reading="directions, code ÷ pixels",
    measure="principal directions that hold 95 % of the variance of the code's 1,024 numbers, over "
    "those that hold 95 % of the 784 pixels'",
    supported={
        "directions, code ÷ pixels": below(0.8),
        "effective rank, code ÷ pixels": below(0.8),
    },
    conditional={
        "directions, code ÷ pixels": below(1),
        "directions, share of the code": below(0.25),
        "directions, code ÷ untrained": below(1),
    },
    condition="It needs fewer directions than the pixels do, but not by a fifth.",
    refuted={"directions, code ÷ pixels": above(1)},
    controls=("pixels, directions", "untrained, directions"),
    also=("directions, code", "effective rank, code", "slopes above a tenth of the largest"),
    ratios=(
        "directions, code ÷ pixels",
        "effective rank, code ÷ pixels",
        "directions, code ÷ untrained",
    ),
    fails_when="It is compared with the data: digits are low-dimensional before any net has seen "
    "them.",
    rule_changed="2026-11-27",
    seen_before="first run",
)


def run(seeds: int, steps: int, n: int) -> Result:
    """Spectra and neighbours of codes: copier, untrained, narrow code, denoiser; and of pixels."""
    known = digits().train_labels
    assert known is not None
    train, labels = digits().train[:n], known[:n]
    copier = copiers(seeds, steps)
    nets = {
        "copier": copier,
        "untrained": models.replicate(plain, seeds),
        "narrow code": narrow(seeds, steps),
        "denoiser": denoisers(seeds, steps),
    }
    codes = {name: measures.codes(group, train) for name, group in nets.items()}
    spectra = {name: measures.spectrum(each) for name, each in codes.items()}
    in_pixels = measures.spectrum(train)
    ranks, rank_of_pixels = (
        torch.as_tensor(measures.effective_rank(spectrum))
        for spectrum in (spectra["copier"], in_pixels)
    )
    used, of_pixels, untrained = (
        torch.as_tensor(measures.directions_for(spectrum)).float().expand(seeds)
        for spectrum in (spectra["copier"], in_pixels, spectra["untrained"])
    )
    slopes = measures.singular_values(copier, digits().test[:1])  # (seeds, n, d)
    readings = {
        "directions, code ÷ pixels": used / of_pixels,
        "directions, code ÷ untrained": used / untrained,
        "directions, share of the code": used / WIDTH,
        "effective rank, code ÷ pixels": ranks / rank_of_pixels,
        "directions, code": used,
        "pixels, directions": of_pixels,
        "untrained, directions": untrained,
        "effective rank, code": ranks,
        "slopes above a tenth of the largest": (slopes > 0.1 * slopes[..., :1])
        .sum(-1)
        .float()
        .mean(1),
    }
    show = {
        "spectra": {name: torch.as_tensor(each)[..., :300] for name, each in spectra.items()},
        "total": {name: torch.as_tensor(each).sum(-1) for name, each in spectra.items()},
        "pixels": in_pixels / in_pixels.sum(),
        "rank of pixels": float(rank_of_pixels),
        "own label": {n: measures.neighbor_purity(z, labels).mean(1) for n, z in codes.items()},
        "as in pixels": {
            n: measures.shared_neighbors(list(z), train).mean(1) for n, z in codes.items()
        },
        "own label, pixels": float(measures.neighbor_purity(train, labels).mean()),
    }
    return Result(readings, {**show, "models": nets}, tuple(show))


def lost(spectrum: Any, total: Any = 1.0, most: int = 256) -> torch.Tensor:
    """Share of the variance beyond the first k directions, k from 1 to `most`."""
    row = torch.as_tensor(spectrum).double()
    total = torch.as_tensor(total).double()[..., None]
    return (1 - (row / total).cumsum(-1))[..., :most].clamp_min(1e-4)


def picture(result: Result) -> Figure:
    """Left, variance beyond the first directions; right, who are a digit's neighbours."""
    figure, (left, right) = figures.canvas(1, 2, height=2.9)
    spectra, total = result.show["spectra"], result.show["total"]
    own, shared = (result.show[name] for name in ("own label", "as in pixels"))
    figures.curves(
        range(1, 257),
        {name: lost(spectra[name], total[name]) for name in ("copier", "untrained", "denoiser")},
        exact={"pixels": lost(result.show["pixels"])},
        lines={"5 %": 0.05},
        xlabel="principal directions kept",
        ylabel="share of the variance left over",
        logy=True,
        legend="above",
        ax=left,
    )
    figures.grouped_bars(
        {name: {"as in pixels": shared[name], "of one's own label": own[name]} for name in own},
        xlabel="share of ten nearest neighbours",
        ax=right,
    )
    return figure


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 1, "n": 60},
    full={"seeds": 6, "steps": 6000, "n": 4000},
    picture=picture,
)
