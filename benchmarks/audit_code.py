"""What the code view finds, and what it says of code that is right.

    python benchmarks/audit_code.py [--peers] [--missed]

Every case of tests/data/code_cases is audited: notebook fragments that leak, and look-alikes that do not. The held-out cases were written before the audit was tuned.
Recall is the share of leaky cases with a standing finding of their kind, precision the share of standing findings' cases that are leaky. With --peers, the static checkers of
leaklens-ml and waldean, installed into an environment of their own, see the same cases.
"""

import json
import re
from pathlib import Path

CASES = Path(__file__).resolve().parents[1] / "tests" / "data" / "code_cases"
PATTERN = re.compile(r"^## (leaky|clean)(?: (L[0-9.]+))? (.+?)\n```python\n(.*?)^```", re.M | re.S)


def read_cases(path):
    """Give (is_leaky, kind, name, time_ordered, cells) for each case of a file."""
    for kind, leakage, name, code in PATTERN.findall(path.read_text(encoding="utf-8")):
        cells = [cell for cell in re.split(r"^# %%.*\n", code, flags=re.M) if cell.strip()]
        yield kind == "leaky", leakage, name.removesuffix(" (time)"), name.endswith("(time)"), cells


def as_notebook(cells):
    """Write cells as the JSON of a notebook."""
    body = [{"cell_type": "code", "source": cell, "metadata": {}, "outputs": [], "execution_count": None, "id": f"c{n}"} for n, cell in enumerate(cells)]
    return json.dumps({"cells": body, "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}, "nbformat": 4, "nbformat_minor": 5})
