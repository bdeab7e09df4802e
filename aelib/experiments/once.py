"""`python -m aelib.experiments.once ID full|short`: the readings of one run, as a line of JSON."""

from __future__ import annotations

import json
import sys

from aelib.claims import label
from aelib.experiments.experiment import full, short


def main() -> None:
    id, length = sys.argv[1:]
    result = {"full": full, "short": short}[length](id)
    print(json.dumps({label(key): row.tolist() for key, row in result.readings.items()}))


if __name__ == "__main__":
    main()
