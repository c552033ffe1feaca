"""What the code view finds, and what it says of code that is right.

    python benchmarks/audit_code.py [--peers] [--missed]

Every case of tests/data/code_cases is audited: notebook fragments that leak, and look-alikes that do not. The held-out cases were written before the audit was tuned.
Recall is the share of leaky cases with a standing finding of their kind, precision the share of standing findings' cases that are leaky. With --peers, the static checkers of
leaklens-ml and waldean, installed into an environment of their own, see the same cases.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mlsys.data.audit_code import audit_source

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


def measure(path, audit=None):
    """Return recall and precision over the cases of a file, and the names of missed and falsely accused ones."""
    audit = audit or (lambda cells, time_ordered: {finding.kind for finding in audit_source(as_notebook(cells), "case.ipynb", time_ordered=time_ordered) if finding.stands})
    found, missed, accused, leaky = 0, [], [], 0
    for is_leaky, kind, name, time_ordered, cells in read_cases(path):
        kinds = audit(cells, time_ordered)
        leaky += is_leaky
        if is_leaky and (kind in kinds or "any" in kinds):
            found += 1
        elif is_leaky:
            missed.append(name)
        elif kinds:
            accused.append(name)
    return {"leaky": leaky, "found": found, "recall": found / leaky, "accused": accused, "precision": found / max(found + len(accused), 1), "missed": missed}


def install(folder, *packages):
    """Make an environment for the peers and return its folder of programs."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    subprocess.run([str(folder / "bin" / "pip"), "install", "--quiet", *packages], check=True, stderr=subprocess.DEVNULL)
    return folder / "bin"


def peer(command, accuses):
    """Show a peer all cases of a file in one call; return an audit that knows what it said of each. Its kind of leakage is not asked for."""

    def prepare(path):
        with tempfile.TemporaryDirectory() as name:
            names = {}
            for number, case in enumerate(read_cases(path)):
                names["\n".join(case[4])] = f"case{number:03}.ipynb"
                (Path(name) / f"case{number:03}.ipynb").write_text(as_notebook(case[4]), encoding="utf-8")
            done = subprocess.run([*command, name], capture_output=True, text=True, timeout=600, cwd=name)
            accused = accuses(done.stdout + done.stderr)
        return lambda cells, time_ordered: {"any"} if names["\n".join(cells)] in accused else set()

    return prepare


def by_line(text):
    """Return the cases that leaklens calls HIGH or MEDIUM, a line for each finding."""
    return {found for line in text.splitlines() if "[HIGH]" in line or "[MEDIUM]" in line for found in re.findall(r"case\d+\.ipynb", line)}


def by_section(text):
    """Return the cases in whose section waldean flags leakage, before it lists what it found clean."""
    sections = re.split(r"^# Waldean report", text, flags=re.M)[1:]
    return {re.search(r"case\d+\.ipynb", section)[0] for section in sections if "leakage-" in section.split("## CLEAN")[0]}


def main():
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", action="store_true", help="install leaklens-ml and waldean into an environment of their own and show them the same cases")
    parser.add_argument("--missed", action="store_true", help="name the tuned cases that are missed or falsely accused")
    options = parser.parse_args()
    audits = {"mlsys": None}
    with tempfile.TemporaryDirectory() as name:
        os.environ.pop("PYTHONPATH", None)
        if options.peers:
            programs = install(Path(name) / "peers", "leaklens-ml", "waldean")
            audits["leaklens-ml"] = peer([str(programs / "leaklens"), "--scan"], by_line)
            audits["waldean"] = peer([str(programs / "waldean"), "check"], by_section)
        table = Table("tool", "cases", "leaky", "found", "recall", "right, yet accused", "precision", "seconds")
        for tool, audit in audits.items():
            for path in sorted(CASES.glob("*.md")):
                begun = time.perf_counter()
                figures = measure(path, audit and audit(path))
                table.add_row(tool, path.stem, str(figures["leaky"]), str(figures["found"]), f"{figures['recall']:.3f}", str(len(figures["accused"])), f"{figures['precision']:.3f}",
                              f"{time.perf_counter() - begun:.1f}")
                if options.missed and path.stem == "tuned":
                    print(tool, "misses", figures["missed"], "accuses", figures["accused"])
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
