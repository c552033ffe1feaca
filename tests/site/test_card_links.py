"""From a figure in the card to its cell on the site, and long values folded."""

import json

import pytest
from nbformat import write
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from mlsys.registry.page import card_page
from mlsys.site.card import card_file, card_text, cell_address
from mlsys.site.layout import Page
from mlsys.site.link import LinkMap, page_files
from mlsys.site.stage import LONG, parameters_table


@pytest.fixture
def root(tmp_path):
    """A project with a stage as written, and another that ran at a point of a grid."""
    written, ran = "cards = measure()\n", "cards = measure()"
    for name, source, cell in (("nbs/stages/evaluate.ipynb", written, "was-written"), ("reports/notebooks/privatize/target_epsilon=1.0,model=linear.ipynb", ran, "has-run"), ("nbs/stages/privatize.ipynb", written, "as-written")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write(new_notebook(cells=[new_markdown_cell("# stage"), new_code_cell(source, id=cell), new_code_cell("write_json(stage.output('scorecard.json'), cards)", id="out")]), path)
    return tmp_path


GRID = "../../reports/notebooks/privatize/target_epsilon=1.0,model=linear.ipynb#scorecard.json"


def test_a_figure_leads_to_the_cell_that_made_it(root):
    assert cell_address(root, "../../nbs/stages/evaluate.ipynb#scorecard.json") == "pipeline/evaluate.html#cell-pipeline-evaluate-was-written"
    assert cell_address(root, GRID, "../") == "../pipeline/privatize/target-epsilon-1-0-model-linear.html#cell-pipeline-privatize-target-epsilon-1-0-model-linear-has-run"
    assert cell_address(root, "../../nbs/stages/evaluate.ipynb#nobody-writes.json") == "pipeline/evaluate.html", "to the page at least"
    assert cell_address(root, "../../nbs/stages/gone.ipynb#a.json") == "" and cell_address(root, "#part-1") == "#part-1"


def test_the_site_finds_the_same_cell_for_the_same_link(root):
    pages = [Page("pipeline/evaluate", "nbs/stages/evaluate.ipynb", "e"), Page("pipeline/privatize/target-epsilon-1-0-model-linear", GRID[6:].partition("#")[0], "p"), Page("model-card", "artifacts/select/card.md", "c")]
    links = LinkMap(root, page_files(pages), {})
    for target in ("../../nbs/stages/evaluate.ipynb#scorecard.json", GRID):
        assert links.rewrite(f"[0.7]({target})", pages[2]) == f"[0.7](#{cell_address(root, target).partition('#')[2]})"
    assert links.rewrite("[0.7](../../nbs/stages/evaluate.ipynb#nobody-writes.json)", pages[2]) == "[0.7](pipeline/evaluate.ipynb)"


def test_a_stage_that_has_not_run_here_is_linked_as_it_is_written(root):
    (root / GRID[6:].partition("#")[0]).unlink()
    pages = [Page("pipeline/privatize", "nbs/stages/privatize.ipynb", "p"), Page("model-card", "artifacts/select/card.md", "c")]
    assert LinkMap(root, page_files(pages), {}).rewrite(f"[0.7]({GRID})", pages[1]) == "[0.7](#cell-pipeline-privatize-as-written)"
    assert cell_address(root, GRID) == "pipeline/privatize.html#cell-pipeline-privatize-as-written"


def test_home_leads_to_the_card_and_says_whether_it_decides(root):
    assert card_text(root) == "" and card_file(root) == b""
    folder = root / "artifacts" / "select"
    folder.mkdir(parents=True)
    (folder / "card.md").write_text(f"# Model card: rule\n\n[0.7]({GRID})\n")
    (folder / "model.json").write_text(json.dumps({"name": "rule", "version": "a1b2c3d4e5f6"}))
    assert "(/model-card)" in card_text(root) and "nobody has promoted a model yet" in card_text(root)
    assert b'href="pipeline/privatize/target-epsilon-1-0-model-linear.html#cell-' in card_file(root) and b'href=""' not in card_page("[a](b)", lambda target: "").encode()


@pytest.mark.parametrize("value", ["x" * LONG, ["amount|mean"] * 30, {"sql": "SELECT `a` FROM b WHERE c < 1 AND d > '$' " * 5}])
def test_a_long_parameter_is_folded_and_cannot_break_its_table(value):
    cells = [new_code_cell("short: int = 3  # a number\nlong: str = ''  # a wall", metadata={"tags": ["parameters"]}), new_code_cell(f"# Parameters\nshort = 4\nlong = {value!r}", metadata={"tags": ["injected-parameters"]})]
    rows = parameters_table(cells, "x.ipynb").splitlines()
    assert len(rows) == 4 and all(row.count("|") == 4 for row in rows) and rows[2] == "| `short` | `4` | a number |"
    assert "<details><summary>" in rows[3] and "`" not in rows[3].partition("<code>")[2] and rows[3].endswith("</details> | a wall |")
