"""Is what a net learns of all images learned before it learns its own by heart?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from aelib import data, figures, fit, models, objectives, random
from aelib.claims import Claim, above, below, between
from aelib.experiments.experiment import Experiment
from aelib.experiments.keeping import Result

CLAIM = Claim(
    id="2.7",
    statement="Two clocks run in a training: the gain on new images comes after a time that does "
    "not depend on the number n of training images, the storing of these after a time that grows "
    "with n.",
    source="Bonnaire et al. 2025 on diffusion models; here a copier and a denoiser",
    reading="copier, τ_mem",
    measure="slope of log τ_mem over log n; τ_mem: steps until images trained on have half the "
    "squared error of new ones",
    supported={
        "copier, τ_mem": above(0.25),
        "copier, τ_gen": between(-0.25, 0.25),
        "denoiser, τ_mem": above(0.25),
        "denoiser, τ_gen": between(-0.25, 0.25),
        "two halves of new images, largest lead": below(3),
    },
    conditional={
        "copier, τ_mem − τ_gen": above(0),
        "denoiser, τ_mem − τ_gen": above(0),
        "two halves of new images, largest lead": below(3),
    },
    condition="the clocks part, that of storing being the slower the more images there are, but "
    "the time of the gain depends on n, too",
    controls=("two halves of new images, largest lead", "copier, largest n that was stored"),
    also=("denoiser, largest n that was stored",),
    fails_when="There are so few images that the second clock strikes before the first, or the "
    "net is too small to store any.",
    rule_changed="2026-11-26",
    seen_before="nothing",
)

SIGMA = 0.3
LEAD = 3.0  # dB: half the squared error
NEAR = 0.5  # dB from the best gain on new images
KINDS = {"copier": objectives.copy, "denoiser": objectives.denoise(data.gaussian(SIGMA))}


def follow(
    kind: str, sets: Sequence, digits: data.Images, width: int, steps: int, logs: Sequence[int]
) -> dict[str, np.ndarray]:
    """Along a training, (nets, records): gain and lead in dB, of mean squared errors.

    The gain is that of denoising new images. The lead is that of images trained on over new ones,
    in the error of what the net is trained for. So is the lead of one half of the new images.
    """
    nets = models.replicate(
        lambda: models.MLPAutoencoder(digits.shape, width=width, depth=3), len(sets)
    )
    noise = data.gaussian(SIGMA)
    added = noise(digits.test, random.generator(100))
    found: dict[str, list] = {"gain": [], "lead": [], "halves": []}

    def error(net, images, spoilt) -> float:
        return float((net(spoilt) - images).square().mean())

    def note(now: dict) -> None:
        rows: dict[str, list] = {name: [] for name in found}
        for net, own in zip(now["models"], sets, strict=True):
            denoised = error(net, digits.test, added)
            rows["gain"].append(-10 * np.log10(denoised / SIGMA**2))
            if kind == "copier":
                pairs = (own, own), (digits.test, digits.test)
            else:
                repeated = own.repeat(-(-360 // len(own)), 1, 1, 1)
                spoilt = noise(repeated, random.generator(101))
                pairs = (repeated, spoilt), (digits.test, added)
            known, new = (error(net, *pair) for pair in pairs)
            first, second = (error(net, *(x[i::2] for x in pairs[1])) for i in range(2))
            rows["lead"].append(10 * np.log10(new / known))
            rows["halves"].append(abs(10 * np.log10(first / second)))
        for name, values in rows.items():
            found[name].append(values)

    options = {"steps": steps, "log_at": logs, "objective": KINDS[kind], "label": kind}
    fit(nets, sets, batch_size=min(64, len(sets[0])), callback=note, **options)
    return {name: np.array(values).T for name, values in found.items()}


def first_time(reached: np.ndarray, logs: Sequence[int]) -> np.ndarray:
    """The step of the first record, (nets,); the last where there is none: a lower bound."""
    return np.array(logs, dtype=float)[np.where(reached.any(1), reached.argmax(1), -1)]


def clocks(followed: Mapping[str, np.ndarray], logs: Sequence[int]) -> dict[str, np.ndarray]:
    """τ_gen and τ_mem in steps, (nets,)."""
    gain = followed["gain"]
    near = gain >= gain.max(1, keepdims=True) - NEAR
    return {"τ_gen": first_time(near, logs), "τ_mem": first_time(followed["lead"] >= LEAD, logs)}


def run(seeds: int, steps: int, width: int, counts: Sequence[int]) -> Result:
    """A copier and a denoiser of each number of digits, followed."""
    digits = data.load("digits")
    logs = sorted({1, *np.geomspace(4, steps, 30).astype(int).tolist()})
    sets = {
        n: [digits.take(n, seed=random.moved(seed)).train for seed in range(seeds)] for n in counts
    }
    readings, followed, times, halves = {}, {}, {}, []
    for kind in KINDS:
        followed[kind] = {n: follow(kind, sets[n], digits, width, steps, logs) for n in counts}
        found = [clocks(followed[kind][n], logs) for n in counts]
        times[kind] = {name: np.stack([each[name] for each in found], 1) for name in found[0]}
        slopes = {
            name: np.polyfit(np.log(counts), np.log(rows).T, 1)[0]
            for name, rows in times[kind].items()
        }
        readings |= {f"{kind}, {name}": slope for name, slope in slopes.items()}
        readings[f"{kind}, τ_mem − τ_gen"] = slopes["τ_mem"] - slopes["τ_gen"]
        stored = np.stack([(followed[kind][n]["lead"] >= LEAD).any(1) for n in counts], 1)
        readings[f"{kind}, largest n that was stored"] = (stored * np.array(counts)).max(1)
        halves += [each["halves"][:, len(logs) // 4 :].max(1) for each in followed[kind].values()]
    readings["two halves of new images, largest lead"] = np.max(halves, 0)
    show = {
        "followed": followed,
        "times": times,
        "counts": np.array(counts),
        "logs": np.array(logs),
    }
    return Result(readings, show, keep=tuple(show))


def picture(result: Result):
    """Both clocks against n, and the curves they are read from for the denoiser."""
    figure, axes = figures.canvas(2, 2, height=6.6)
    counts, logs = (np.asarray(result.show[name]) for name in ("counts", "logs"))
    for ax, (kind, times) in zip(axes, result.show["times"].items(), strict=False):
        figures.curves(
            counts,
            dict(times),
            exact={"∝ n": counts * float(np.mean(times["τ_mem"][:, 0])) / counts[0]},
            xlabel="training images n",
            ylabel="steps",
            logx=True,
            logy=True,
            legend="above",
            title=kind,
            ax=ax,
        )
    for ax, what, ylabel in (
        (axes[2], "gain", "gain on new images (dB)"),
        (axes[3], "lead", "lead of those trained on (dB)"),
    ):
        figures.curves(
            logs,
            {f"n = {n}": rows[what] for n, rows in result.show["followed"]["denoiser"].items()},
            lines={"stored": LEAD} if what == "lead" else None,
            xlabel="training steps, denoiser",
            ylabel=ylabel,
            logx=True,
            legend="above",
            ax=ax,
        )
    return figure


EXPERIMENT = Experiment(
    claims=(CLAIM,),
    run=run,
    short={"seeds": 3, "steps": 300, "width": 96, "counts": [8, 32, 128]},
    full={"seeds": 6, "steps": 3000, "width": 128, "counts": [16, 32, 64, 128, 256]},
    picture=picture,
)
