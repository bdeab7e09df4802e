"""`python -m aelib …`: the ledger, long measurements, a look at the installation. No logic here."""

from __future__ import annotations

import argparse
import json
import sys

from aelib import claims, runtime


def _claims(options: argparse.Namespace) -> int:
    records, wrong = claims.ledger(options.folder), claims.disagreements(options.folder)
    if options.json:
        print(json.dumps(records, indent=1))
    else:
        for record in records:
            unit = f" {record['unit']}" if record["unit"] else ""
            print(f"{record['id']:>4}  {record['verdict']:<11}  {record['statement']}")
            print(f"{'':19}{record['quantity']}: {record['value']:.3g}{unit} "
                  f"[{record['low']:.3g}, {record['high']:.3g}], "
                  + (f"{record['seeds']} seeds" if record["seeds"] else record["kind"]))  # fmt: skip
            for name, control in record["controls"].items():
                print(
                    f"{'':19}control, {name}: {control['value']:.3g} [{control['low']:.3g}, {control['high']:.3g}]"
                )
    for line in wrong:
        print(f"does not agree: {line}", file=sys.stderr)
    if not records:
        print("no claims in the notebooks' stored outputs; run `make book` first", file=sys.stderr)
    return 1 if wrong or not records else 0


def _measure(options: argparse.Namespace) -> int:
    print(f"measuring claim {options.id} at full length", file=sys.stderr)
    print(f"kept in {claims.measure(options.id, options.folder, options.out)}")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    print(runtime.header())
    print(f"machine: {runtime.machine()}")
    print(f"cache for downloads: {runtime.cache_folder()}")
    print(
        "versions: " + ", ".join(f"{name} {number}" for name, number in runtime.versions().items())
    )
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

    ledger = command(
        "claims", _claims, "Print the ledger; exit 1 if a verdict is not what the prose says."
    )
    ledger.add_argument(
        "folder", nargs="?", help="the folder of the book's notebooks (default: chapters)"
    )
    ledger.add_argument("--json", action="store_true", help="print a list of records for programs")
    measure = command(
        "measure", _measure, "Run a claim's experiment at full length and keep the result."
    )
    measure.add_argument("id", help="the claim's id, such as 2.5")
    measure.add_argument("--folder", help="the folder of the book's notebooks (default: chapters)")
    measure.add_argument(
        "--out", help="where to keep the result (default: measured/ beside the chapter)"
    )
    command("doctor", _doctor, "Print what the numbers of this machine depend on.")

    options = parser.parse_args(arguments)
    try:
        return options.function(options)
    except (ValueError, OSError) as error:
        print(f"aelib: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("aelib: stopped; what was kept before is untouched", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
