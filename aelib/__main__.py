"""`python -m aelib …`: the ledger, long measurements, a look at the installation. No logic here."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time

from aelib import claims, runtime


def _claims(options: argparse.Namespace) -> int:
    records, wrong = claims.ledger(options.folder), claims.disagreements(options.folder)
    if options.json:
        print(json.dumps(records, indent=1))
    else:
        for record in records:
            unit = f" {record['unit']}" if record["unit"] else ""
            seeds = f"{record['seeds']} seeds" if record["seeds"] else record["kind"]
            print(f"{record['id']:>4}  {record['verdict']:<11}  {record['statement']}")
            print(f"{'':19}{record['quantity']}: {_number(record)}{unit}, {seeds}")
            for name, control in record["controls"].items():
                print(f"{'':19}control, {name}: {_number(control)}")
    for line in wrong:
        print(f"does not agree: {line}", file=sys.stderr)
    if not records:
        print("no claims in the notebooks' stored outputs; run `make book` first", file=sys.stderr)
    return 1 if wrong or not records else 0


def _number(reading: dict) -> str:
    return f"{reading['value']:.3g} [{reading['low']:.3g}, {reading['high']:.3g}]"


def _measure(options: argparse.Namespace) -> int:
    began = time.perf_counter()
    claims.current(options.id, options.folder)  # an unknown claim is refused before the first word
    print(
        f"measuring claim {options.id} at full length; each training draws its bar, "
        "Ctrl-C stops and keeps what was kept before",
        file=sys.stderr,
    )
    path = claims.measure(options.id, options.folder, options.out)
    print(f"kept in {path} after {time.perf_counter() - began:.0f} s")
    return 0


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

    folder = "the folder of the book's notebooks (default: chapters)"
    ledger = command(
        "claims", _claims, "Print the ledger; exit 1 if a verdict is not what the prose says."
    )
    ledger.add_argument("folder", nargs="?", help=folder)
    ledger.add_argument("--json", action="store_true", help="print a list of records for programs")
    measure = command(
        "measure", _measure, "Run a claim's experiment at full length and keep the result."
    )
    measure.add_argument("id", help="the claim's id, such as 2.5")
    measure.add_argument("--folder", help=folder)
    measure.add_argument(
        "--out", help="where to keep the result (default: measured/ beside the chapter)"
    )
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
