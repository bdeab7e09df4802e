"""`python -m aelib …`: invert, layers, claims, measure, doctor. No logic here."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

from aelib import __version__, checks, experiments, figures, inversion, models, runtime
from aelib.inversion.chunks import Chunk
from aelib.training.distributed import place


def _claims(options: argparse.Namespace) -> int:
    records = experiments.ledger()
    if options.json:
        print(json.dumps(records, indent=1))
        return 0
    for record in records:
        unit = f" {record['unit']}" if record["unit"] else ""
        units = f"{record['n']} {record['units']}" if record["n"] else record["kind"]
        print(f"{record['id']:>4}  {record['verdict']:<11}  {record['statement']}")
        print(f"{'':19}{record['quantity']}: {_number(record)}{unit}, {units}")
        if record["condition"]:
            print(f"{'':19}{record['verdict']}: {record['condition']}")
        for name, control in record["controls"].items():
            print(f"{'':19}control, {name}: {_number(control)}")
    return 0


def _number(reading: dict) -> str:
    return f"{reading['value']:.3g} [{reading['low']:.3g}, {reading['high']:.3g}]"


def _measure(options: argparse.Namespace) -> int:
    if options.short and (options.stale or options.resume or options.out):
        raise ValueError("--short: keeps nothing, so --stale, --resume, --out say nothing to it")
    if options.stability and (options.stale or options.resume):
        raise ValueError("--stability: varies what is kept; leave out --stale and --resume")
    ids = options.id or (experiments.each() if options.all else [])
    if not ids:
        raise ValueError("id: expected one or more, or --all for every experiment")
    checks.whole(options.jobs, "--jobs", least=1)
    # An unknown claim is refused before the first word. One run decides all of an experiment.
    runs: dict[str, str] = {}
    for id in ids:
        runs.setdefault(experiments.find(id).claims[0].id, id)
    for id in runs.values():
        if options.short:
            print(_live(id))
        elif options.stability:
            paths = experiments.vary(id, options.out, options.jobs)
            print(f"claim {id}: kept in {', '.join(map(str, paths))}", flush=True)
        elif options.stale and not (why := _stale(id, options.out)):
            print(f"claim {id}: its kept run speaks for today's code")
        else:
            if options.stale:
                print(f"claim {id}: {why}", file=sys.stderr)
            _measure_one(id, options)
    return 0


def _measure_one(id: str, options: argparse.Namespace) -> None:
    began = time.perf_counter()
    print(
        f"measuring claim {id} at full length; each training draws its bar, Ctrl-C stops and "
        "keeps what was kept before",
        file=sys.stderr,
    )
    paths = experiments.measure(id, options.out, options.resume, options.jobs)
    print(f"kept in {', '.join(map(str, paths))} after {time.perf_counter() - began:.0f} s")


def _stale(id: str, out: str | None) -> str:
    """Why the experiment of claim `id` has to be measured; "" where it has not."""
    live = experiments.short(id)
    for claim in experiments.find(id).claims:
        if experiments.kept(claim.id, out) is None:
            return f"no full run of claim {claim.id} is kept"
        today = claim.read(live.readings)
        if wrong := experiments.stale(claim.id, today, out):
            return wrong[0]
    return ""


def _live(id: str) -> str:
    """The short run of the experiment of claim `id`, in lines."""
    live, lines = experiments.short(id), []
    for claim in experiments.find(id).claims:
        card = experiments.card(claim.id, live)
        says = f"; the short run {card.agreement}" if card.agreement else ", by a short run alone"
        lines.append(f"{claim.id:>4}  {card.verdict}{says}")
        lines += [
            f"{'':6}{name}: {reading.value:.3g} [{reading.low:.3g}, {reading.high:.3g}]"
            for name, reading in claim.read(live.readings).items()
        ]
    return "\n".join(lines)


def _until(text: str) -> float | str:
    """A number, or the word for a plateau; `invert` looks at both."""
    try:
        return float(text)
    except ValueError:
        return text


def _model(options: argparse.Namespace):
    """The model asked for, on its device, and how images go through it."""
    model = models.classifier(options.model, options.weights, size=options.size)
    forward = models.normalization(options.model, options.weights) if options.weights else None
    return model.to(runtime.device(options.device)), forward


def _layers(options: argparse.Namespace) -> int:
    model, forward = _model(options)
    first = next(model.parameters())
    grey = first.detach().new_full((1, 3, options.size, options.size), 0.5)
    found = inversion.layers(model, grey, forward)
    print(json.dumps([one._asdict() for one in found], indent=1) if options.json else found)
    return 0


def _invert(options: argparse.Namespace) -> int:
    stems = [Path(path).stem for path in options.image or []]
    if len(set(stems)) < len(stems):
        raise ValueError(f"image: expected files of different names, got {', '.join(stems)}")
    if options.until is not None and len(options.until) == 1:
        (options.until,) = options.until
    here = place(options.device, "no")  # before the model finds its device
    model, forward = _model(options)
    told = ("recipe", "steps", "until", "precision", "batch_size")
    found = inversion.invert_folder(
        model,
        options.image or options.images,
        options.layers,
        out=options.out,
        size=options.size,
        chunk=len(stems) or options.chunk,
        seeds=options.seeds,
        forward=forward,
        about={"model": options.model, "weights": options.weights},
        label=f"inverting {options.model}",
        **{name: getattr(options, name) for name in told},
    )
    if here.rank == 0:
        chunks = [found.under_way] if found.under_way else found.chunks()
        for chunk in chunks if stems else ():
            _pictures(found.out, chunk, options, found.interrupted)
            if not options.json:
                print(f"{chunk.inversion}\npictures written to {found.out}")
        kept = found.out / ("result.json" if stems else "run.json")
        print(kept.read_text().strip() if options.json and kept.exists() else found)
    return 130 if found.interrupted else 0


def _pictures(out: Path, chunk: Chunk, options: argparse.Namespace, interrupted: bool) -> None:
    """The few images of `--image`, one by one, and their numbers in one file."""
    found = chunk.inversion
    if found is None:
        return
    asked = ("model", "weights", "size", "recipe", "steps", "until", "precision", "image")
    result = {
        **{name: getattr(options, name) for name in asked},
        "machine": runtime.machine(),
        "versions": runtime.versions(),
        **found.numbers(),
    }
    runtime.write_whole(out / "result.json", (json.dumps(result, indent=1) + "\n").encode())
    for layer, read in found.results.items():
        for seed, row in zip(found.seeds, read.images, strict=True):
            for file, image in zip(chunk.files, row, strict=True):
                name = f"{layer}_{Path(file).stem}_seed{seed}.png"
                runtime.write_whole(out / name, figures.pixels_png(image))
    if interrupted and found.layers:
        runtime.write_whole(out / "grid.png", figures.png(found.figure()))


def _doctor(options: argparse.Namespace) -> int:
    print(runtime.header())
    print(f"machine: {runtime.machine()}")
    print(f"cache for downloads: {runtime.cache_folder()}")
    print("versions: " + ", ".join(" ".join(one) for one in runtime.versions().items()))
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Parse `arguments`, do as told and return the exit status; errors in plain words on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m aelib", description="Autoencoders: Learning by Copying"
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, function, text: str) -> argparse.ArgumentParser:
        found = commands.add_parser(name, help=text, description=text)
        found.set_defaults(function=function)
        return found

    parser.add_argument("--version", action="version", version=f"aelib {__version__}")
    ledger = command("claims", _claims, "Print the ledger: every claim, as its kept run judges it.")
    ledger.add_argument("--json", action="store_true", help="print a list of records for programs")
    measure = command(
        "measure", _measure, "Run a claim's experiment at full length and keep the result."
    )
    measure.add_argument("id", nargs="*", help="claims' ids, such as 2.5")
    measure.add_argument("--all", action="store_true", help="every experiment of the book")
    length = measure.add_mutually_exclusive_group()
    length.add_argument("--full", action="store_true", help="at full length, and keep it (default)")
    length.add_argument("--short", action="store_true", help="in seconds, print and keep nothing")
    measure.add_argument(
        "--stale", action="store_true", help="only where the kept run is missing or no longer holds"
    )
    measure.add_argument(
        "--resume", action="store_true", help="go on with what Ctrl-C or a kill cut short"
    )
    length.add_argument(
        "--stability",
        action="store_true",
        help="vary seeds, threads and kernels of what is kept, and keep those verdicts beside it",
    )
    measure.add_argument(
        "--jobs",
        type=int,
        default=1,
        help="processes at a time: chunks of a full run, or variations (default: 1)",
    )
    measure.add_argument("--out", help="the folder to keep it in (default: the package's own)")
    invert = command("invert", _invert, "Rebuild images from what layers of a model know of them.")
    source = invert.add_mutually_exclusive_group(required=True)
    source.add_argument("--image", nargs="+", help="image files, to be written as pictures too")
    source.add_argument("--images", help="a folder of image files; stopped or killed, it goes on")
    invert.add_argument(
        "--layers", nargs="+", required=True, help="node names; the layers command lists them"
    )
    invert.add_argument("--out", required=True, help="the folder to write to")
    invert.add_argument("--seeds", type=int, default=1, help="how many starts (default: 1)")
    invert.add_argument(
        "--recipe", default="default", help=f"one of {', '.join(inversion.RECIPES)}"
    )
    invert.add_argument("--steps", type=int, help="iterations (default: the recipe's)")
    invert.add_argument(
        "--until",
        nargs="+",
        type=_until,
        help='stop where m_g is this many times m_r or less, or at "levelled off"; or one of each',
    )
    invert.add_argument(
        "--precision", default="no", help="no, or bf16 for autocast in the net (default: no)"
    )
    invert.add_argument("--batch-size", type=int, help="runs side by side (default: what fits)")
    invert.add_argument(
        "--chunk", type=int, default=16, help="images read and kept together (default: 16)"
    )
    invert.add_argument("--json", action="store_true", help="print the numbers for programs")
    layers = command("layers", _layers, "List a model's layers with shapes and sizes.")
    layers.add_argument("--json", action="store_true", help="print a list for programs")
    for one in (invert, layers):
        one.add_argument(
            "--model",
            required=True,
            help="torchvision's name, such as resnet50; efficientnet_lite0; or timm/ and timm's",
        )
        one.add_argument(
            "--weights",
            help="a file, or a name such as imagenet (default: random weights); images are then "
            "normalised as those the weights were trained on",
        )
        one.add_argument("--size", type=int, default=224, help="pixels a side (default: 224)")
        one.add_argument("--device", help="where to run (default: a GPU if there is one)")
    command("doctor", _doctor, "Print what the numbers of this machine depend on.")

    options = parser.parse_args(arguments)
    try:
        status = options.function(options)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("aelib: stopped; what was kept before is untouched", file=sys.stderr)
        return 130
    except Exception as error:  # the chapter's own code may raise anything; say it plainly
        told = isinstance(error, ValueError | OSError)
        print(f"aelib: {'' if told else type(error).__name__ + ': '}{error}", file=sys.stderr)
        return 2
    return status


if __name__ == "__main__":
    sys.exit(main())
