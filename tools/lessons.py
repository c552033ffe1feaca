"""Run every notebook of the library, each in a process of its own, as `nbdev_test --path NOTEBOOK` does for one.

A lesson executes the code that it exports once more. Where that code registers itself somewhere (a command, a handler), the next lesson
in the same process would meet the copy; so no two share one.
"""

import multiprocessing
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def load():
    """Import what most lessons need, once, before the processes part."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import matplotlib.pyplot
        import nbdev.test
        import pandas
        import pyarrow.parquet
        import scipy.stats
        import sklearn.ensemble
        import sklearn.pipeline

    return nbdev.test, matplotlib, pandas, pyarrow, scipy, sklearn


def run(path):
    """Run one lesson; its error, if there is one, goes to the standard error."""
    from nbdev.test import test_nb

    return path, test_nb(path, skip_flags=["notest"], basepath=ROOT)[0]


def main(folder="nbs/lib", processes=2):
    """Run the lessons below a folder, and name those that fail."""
    load()
    paths = sorted(path for path in (ROOT / folder).rglob("*.ipynb") if not any(part.startswith((".", "_")) for part in path.relative_to(ROOT).parts))
    with multiprocessing.get_context("fork").Pool(processes, maxtasksperchild=1) as pool:
        failed = [path for path, is_right in pool.imap_unordered(run, paths, chunksize=1) if not is_right]
    for path in failed:
        print(f"lessons: failed: {path.relative_to(ROOT)}; see it alone with: nbdev_test --path {path.relative_to(ROOT)}", file=sys.stderr)
    print(f"lessons: {len(paths) - len(failed)} of {len(paths)} run")
    return 1 if failed or not paths else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
