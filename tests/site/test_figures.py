"""No result is typed by hand: a figure in prose would go on saying what is no longer true."""

import json
import re

import pytest

NUMBER = re.compile(r"(?<![\w.#/=:-])[+-]?\d[\d,]*(?:\.\d+)*(?:e[+-]?\d+)?(?:\s?%)?(?![\w/])")
PLACES = re.compile(r"(section|chapter|equations?|algorithm|theorem|definition|proposition|table|figure|ISO|Python|release|Apache|(?<=\w)\*)[\s,]*$", re.IGNORECASE)  # the part of a work, or a version, by its number
CONVENTIONS = {"95 %", "0 %", "50 %", "100 %"}

# Numbers that are no results: values of an example, limits of the code, settings. By file: {the number: why it may stand there}.
KNOWN = {
    "CHANGELOG.md": {"256": "MiB, a limit of the code", "40": "million, a limit of the code", "0.1.0": "a version"},
    "nbs/stages/baseline.ipynb": {"0.1": "an example of a score"},
    "nbs/stages/prepare.ipynb": {"999": "an example of a code for missing"},
    "nbs/stages/privatize.ipynb": {"0.5": "the area that guessing has, by definition"},
    "nbs/guides/explanations/privacy-budget.ipynb": {"32,000": "set in the cell below", "8,192": "set in the cell below"},
    "nbs/guides/how-to/keep-features-fresh.ipynb": {"6,000": "set in the cell below", "90": "days, the window that is declared"},
    "nbs/guides/how-to/predict-a-number-or-a-class.ipynb": {"0.75": "the quantile that the costs of the example ask for"},
    "nbs/lib/data/audit_strength.ipynb": {"0.875": "a limit of the code"},
    "nbs/lib/data/oddity.ipynb": {"999": "an example of a code for missing"},
    "nbs/lib/data/profile.ipynb": {"9,950": "an example of what is printed"},
    "nbs/lib/fairness/shift.ipynb": {"-137": "an example to reckon with", "111": "an example to reckon with"},
    "nbs/guides/how-to/test-a-models-behaviour.ipynb": {"5 %": "an example to reckon with"},
    "nbs/lib/fairness/feedback.ipynb": {"899": "an example to reckon with"},
    "nbs/lib/labels/pattern.ipynb": {"59,049": "three to the tenth", "2,187": "three to the seventh"},
}


def prose(text):
    """Markdown without code, formulas and the targets of links."""
    text = re.sub(r"(?ms)^[ \t]*(```+|~~~+).*?^[ \t]*\1[ \t]*$", "", text)
    return re.sub(r"`[^`\n]*`|(?<=\])\([^)]*\)|\$[^$\n]*\$", "", text)


def digits(number):
    """How many digits of a number say something: 120 has two, 0.794 has three."""
    return len(number.strip("+-% ").replace(",", "").replace(".", "").strip("0"))


def looks_measured(number, before, strict):
    """Whether a number may be a result: a fraction, a share, a count that is not round. In lessons, only with three digits or more."""
    plain = " ".join(number.replace("%", " %").split()).rstrip(",")
    if plain in CONVENTIONS or PLACES.search(before):
        return False
    value = plain.strip("+-% ").replace(",", "")
    if re.fullmatch(r"(19|20)\d\d", value) or re.fullmatch(r"10*", value):
        return False  # a year, a power of ten
    if not strict:
        return digits(plain) >= 3
    return "%" in plain or "." in value or float(value) > 31


def typed_figures(text, strict=True):
    """Numbers in prose that look like results, each with its sentence."""
    text = prose(text)
    return [(match[0].strip().rstrip(","), " ".join(text[max(0, match.start() - 60) : match.end() + 20].split()))
            for match in NUMBER.finditer(text) if looks_measured(match[0], text[max(0, match.start() - 30) : match.start()], strict)]  # fmt: skip


def texts(path):
    """The prose of a file, cell by cell, and what else the notebook holds: code and outputs."""
    if path.suffix != ".ipynb":
        return [path.read_text()], ""
    cells = json.loads(path.read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"], json.dumps([cell for cell in cells if cell["cell_type"] == "code"])


def pages(repo):
    """Every page that people write: (path, whether any figure is too many)."""
    for pattern in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "nbs/index.ipynb", "nbs/stages/*.ipynb", "nbs/guides/**/*.ipynb", "template/own/nbs/index.ipynb"):
        yield from ((path, True) for path in sorted(repo.glob(pattern)) if ".ipynb_checkpoints" not in path.parts)
    yield from ((path, False) for path in sorted(repo.glob("nbs/lib/**/*.ipynb")) if ".ipynb_checkpoints" not in path.parts)


def test_no_figure_is_typed_by_hand(repo):
    found = []
    for path, strict in pages(repo):
        name = path.relative_to(repo).as_posix()
        written, made = texts(path)
        for text in written:
            for number, sentence in typed_figures(text, strict):
                shown = not strict and number.replace(",", "").strip("+-% ") in made.replace(",", "")
                if number not in KNOWN.get(name, {}) and not shown:
                    found.append(f"{name}: {number} in '{sentence}'")
    assert not found, "let a cell say it, or add it to KNOWN with the reason why it is no result:\n" + "\n".join(found)


def test_what_is_known_is_still_there(repo):
    for name, numbers in KNOWN.items():
        written, _ = texts(repo / name)
        assert all(any(number in prose(text) for text in written) for number in numbers), name


@pytest.mark.parametrize("text", ["The AUC is 0.794.", "It costs -208,880 a thousand.", "It is 12 % cheaper.", "An AUC of .. 0.8025 (0.787 to 0.816)", "four times 3.6", "| logistic | 208,900 |", "a saving of **1,910,000** EUR", "in 43 ms"])
def test_a_result_in_prose_is_found(text):
    assert typed_figures(text)


@pytest.mark.parametrize("text", ["`auc_roc >= 0.70` is a gate.", "A 95 % interval.", "What 1,000 decisions cost.", "Kapoor and Narayanan (2023), section 3.2", "```\n0.794\n```", "[a](b/0.794.md)", "1. First", "Python 3.11", "exit code 2"])
def test_what_is_no_result_is_left_alone(text):
    assert not typed_figures(text)
