"""How many directions does the code of a wide copier use, and who lies next to whom in it?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from aelib import figures, measures, models
from aelib.claims import Claim, above, below
from aelib.experiments.digit_nets import copiers, denoisers, narrow, plain
from aelib.experiments.experiment import Experiment
from aelib.experiments.judge import digits
from aelib.experiments.keeping import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIM = Claim(
    id="5.1",
    statement="The code of an overcomplete net is low-dimensional.",
    source="what is commonly said; chapter 5",
    reading="directions, code",
    measure="principal directions that hold 95 % of the variance, of the code's 256",
    supported={"directions, code": below(32), "effective rank, code over pixels": below(0.9)},
    conditional={"directions, code": below(32), "untrained, directions": above(40)},
    controls=("pixels, directions", "untrained, directions"),
    also=("effective rank, code", "slopes above a tenth of the largest"),
    condition="So are the data: its effective rank is no lower than that of the pixels.",
    ratios=("effective rank, code over pixels",),
    fails_when="It is compared with the data: its effective rank is no lower than that of the "
    "pixels themselves.",
)


def run(seeds: int, steps: int, narrow_steps: int) -> Result:
    """Spectra and neighbours of codes: copier, untrained, code of 8, denoiser; and of pixels."""
    train, labels = digits().train, digits().train_labels
    assert labels is not None
    copier, _ = copiers(seeds, steps)
    nets = {
        "copier": copier,
        "untrained": models.replicate(plain, seeds),
        "code of 8": narrow(seeds, narrow_steps).models,
        "denoiser": denoisers(seeds, 2 * narrow_steps).models,
    }
    codes = {name: measures.codes(group, train) for name, group in nets.items()}
    spectra = {name: measures.spectrum(each) for name, each in codes.items()}
    in_pixels = measures.spectrum(train)
    rank = measures.effective_rank(spectra["copier"])
    rank_of_pixels = measures.effective_rank(in_pixels)
    slopes = measures.singular_values(copier, digits().test[:10])  # (seeds, n, d)
    readings = {
        "directions, code": measures.directions_for(spectra["copier"]),
        "effective rank, code over pixels": rank / rank_of_pixels,
        "pixels, directions": [measures.directions_for(in_pixels)] * seeds,
        "untrained, directions": measures.directions_for(spectra["untrained"]),
        "effective rank, code": rank,
        "slopes above a tenth of the largest": (slopes > 0.1 * slopes[..., :1])
        .sum(-1)
        .float()
        .mean(1),
    }
    show = {
        "models": nets,
        "spectra": spectra,
        "pixels": in_pixels,
        "rank of pixels": float(rank_of_pixels),
        "own label": {n: measures.neighbor_purity(z, labels).mean(1) for n, z in codes.items()},
        "as in pixels": {
            n: measures.shared_neighbors(list(z), train).mean(1) for n, z in codes.items()
        },
        "own label, pixels": float(measures.neighbor_purity(train, labels).mean()),
    }
    return Result(readings, show, [name for name in show if name != "models"])


def lost(spectrum: Any, most: int = 48) -> torch.Tensor:
    """Share of the variance beyond the first k directions, k from 1 to `most`."""
    row = torch.as_tensor(spectrum).double()
    return (1 - (row / row.sum(-1, keepdim=True)).cumsum(-1))[..., :most].clamp_min(1e-4)


def picture(result: Result) -> Figure:
    """Left, variance beyond the first directions; right, who are a digit's neighbours."""
    figure, (left, right) = figures.canvas(1, 2, height=3.4)
    spectra, own, shared = (result.show[name] for name in ("spectra", "own label", "as in pixels"))
    figures.curves(
        range(1, 49),
        {name: lost(spectra[name]) for name in ("copier", "untrained", "denoiser")},
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
    short={"seeds": 3, "steps": 30, "narrow_steps": 15},
    full={"seeds": 6, "steps": 3000, "narrow_steps": 1500},
    picture=picture,
)
