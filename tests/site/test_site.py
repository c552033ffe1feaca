"""The site: built once from this repository, then looked at; and small projects that are broken on purpose."""

import fcntl
import html
import json
import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from mlsys.site.check import Site, check_links, external_resources
from mlsys.site.layout import library_pages, stage_pages
from mlsys.site.page import anchor
from mlsys.site.readme import render_readme

BUILD = "import sys; from mlsys.site.build import build_site; build_site(sys.argv[1], sys.argv[2])"


def build(root, output):
    """Build a site in a process of its own; return the finished process."""
    return subprocess.run(
        [sys.executable, "-c", BUILD, str(root), str(output)], cwd=root, capture_output=True, text=True, timeout=600, env={**os.environ}
    )


@pytest.fixture(scope="session")
def site(repo, tmp_path_factory):
    """This repository's site, built once however many workers run the tests."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    folder, log = shared / "site", shared / "site.log"
    with open(shared / "site.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not log.exists():
            done = build(repo, folder)
            log.write_text(f"{done.returncode}\n{done.stdout}{done.stderr}")
    code, _, words = log.read_text().partition("\n")
    assert code == "0", words
    return Site(folder)


def test_no_link_is_broken(site):
    assert check_links(site) == []


def test_nothing_comes_from_another_server(site):
    assert external_resources(site) == []
    assert not [(name, link) for name, page in site.pages.items() for link in page.resources if "mathjax" in link.lower()]


def test_every_module_has_a_page_with_all_that_it_exports(site, repo):
    pages = library_pages(repo)
    assert {page.source for page in pages} == {path.relative_to(repo).as_posix() for path in (repo / "nbs" / "lib").rglob("*.ipynb")
                                               if ".ipynb_checkpoints" not in path.parts}
    for page in pages:
        module = "mlsys." + page.name.removeprefix("library/").replace("/", ".")
        shown = site.pages[f"{page.name}.html"]
        cells = json.loads((repo / page.source).read_text())["cells"]
        source = "\n".join("".join(cell["source"]) for cell in cells if "".join(cell["source"]).startswith("#| export"))
        for name in re.findall(r"^(?:def|class) ([A-Za-z]\w*)", source, re.MULTILINE):
            assert anchor(module, name) in shown.anchors, f"{page.name} does not document {name}"


def test_a_table_that_a_cell_shows_as_markdown_is_a_table(site):
    page = next(page for name, page in site.pages.items() if name.endswith("stages/select.html") or name.endswith("pipeline/select.html"))
    if "has not run in this checkout" not in page.html:
        assert re.search(r"<th[^>]*>\s*<p>way to decide", page.html) and "| --- |" not in page.html and "| — |" not in page.html


def test_every_stage_has_a_page(site, repo):
    pages = stage_pages(repo)
    assert {page.name.split("/")[1] for page in pages} == {path.stem for path in (repo / "nbs" / "stages").glob("*.ipynb")}
    for page in pages:
        text = site.pages[f"{page.name}.html"].html
        assert ("has not run in this checkout" in text) == bool(page.note), page.name
        assert ("value in this run" in text) or page.note, page.name


def test_every_guide_was_run(site, repo):
    for path in sorted((repo / "nbs" / "guides").rglob("*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        assert not any(cell.get("outputs") for cell in cells), f"{path.name} has outputs; guides are committed without them"
        page = site.pages[path.relative_to(repo / "nbs").with_suffix(".html").as_posix()].html
        assert "cell_output" in page, f"{path.name} shows no output"


def test_search_knows_the_pages(site):
    index = (site.folder / "searchindex.js").read_text()
    assert "library/objective/cost" in index and "guides/tutorials/first-run" in index


def test_no_directive_is_left_on_a_page(site):
    for name, page in site.pages.items():
        text = html.unescape(re.sub(r"<pre>.*?</pre>|<code.*?</code>", "", page.html, flags=re.DOTALL))
        assert "#| " not in text, name


def test_readme_is_fresh(repo):
    assert (repo / "README.md").read_text() == render_readme(repo), "run `make readme` and commit README.md"


def test_readme_links_lead_somewhere(repo):
    for target in re.findall(r"\]\(([^)#\s]+)", (repo / "README.md").read_text()):
        assert re.match(r"https?:", target) or (repo / target).exists(), target


class Shop:
    """A project of a few pages."""

    def __init__(self, root, repo):
        self.root = root
        (root / "conf").mkdir(parents=True)
        (root / "mlsys").mkdir()
        (root / "dvc.yaml").write_text("stages: {}\n")
        shutil.copy(repo / "settings.ini", root)
        self.put("nbs/index.ipynb", "# shop\n> Sells things.\n\nSee [prices](lib/data/price.ipynb).")
        self.put("nbs/lib/data/price.ipynb", "#| default_exp data.price", "# data.price\n> What it costs.",
                 '#| export\ndef half_of(\n    x: float,  # euros\n) -> float:\n    "Return half."\n    return x / 2')
        self.put("nbs/stages/sell.ipynb", "# sell\n> Who buys?", ("rows: int = 5  # rows shown", "parameters"))

    def put(self, name, *cells):
        """Write a notebook: text that begins with `#` and a blank is prose, a pair is code with a tag."""
        made = []
        for cell in cells:
            source, *tags = (cell,) if isinstance(cell, str) else cell
            prose = source.startswith("# ") and not tags
            made.append(new_markdown_cell(source) if prose else new_code_cell(source, metadata={"tags": tags} if tags else {}))
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(new_notebook(cells=made), path)
        return path

    def build(self):
        """Build its site."""
        return build(self.root, "_docs")

    def page(self, name):
        """Return the text of a page."""
        return (self.root / "_docs" / f"{name}.html").read_text()


@pytest.fixture
def shop(tmp_path, repo):
    return Shop(tmp_path / "shop", repo)


def test_a_change_reaches_every_page_that_shows_it(shop):
    """Navigation on other pages, a stage that has now run, a module that is gone."""
    first = shop.build()
    assert first.returncode == 0, first.stderr
    assert first.stdout.strip().endswith("home page: _docs/index.html")
    assert "has not run in this checkout" in shop.page("pipeline/sell")
    shop.put("nbs/lib/data/price.ipynb", "#| default_exp data.price", "# data.price, renamed\n> What it costs.")
    ran = shop.put("reports/notebooks/sell.ipynb", "# sell\n> Who buys?", ("rows: int = 5  # rows shown", "parameters"),
                   ("# Parameters\nrows = 77", "injected-parameters"), ("'everybody'", "shown"))
    notebook = nbformat.read(ran, 4)
    notebook.cells[-1].outputs = [new_output("execute_result", {"text/plain": "'everybody'"})]
    nbformat.write(notebook, ran)
    second = shop.build()
    assert second.returncode == 0, second.stderr
    assert "renamed" in shop.page("library/data/index") and "half_of" not in shop.page("library/data/price")
    assert "has not run" not in shop.page("pipeline/sell") and "77" in shop.page("pipeline/sell")


def test_a_warning_stops_the_build_and_stays(shop):
    """A fault in a page is named, is not forgotten by the next build, and leaves the old site."""
    assert shop.build().returncode == 0
    before = shop.page("index")
    shop.put("nbs/index.ipynb", "# shop\n> Sells things.\n\nSee {ref}`nowhere`.")
    for _ in range(2):
        done = shop.build()
        assert done.returncode != 0 and "nowhere" in done.stderr and "index.ipynb" in done.stderr
        assert shop.page("index") == before


def test_a_missing_anchor_and_a_remote_picture_stop_the_build(shop):
    shop.put("nbs/index.ipynb", "# shop\n> Sells things.\n\n<a href='pipeline/index.html#nothing'>a</a>\n\n<img src='https://example.org/a.png'>")
    done = shop.build()
    assert done.returncode != 0 and not (shop.root / "_docs").exists()
    assert "no anchor 'nothing'" in done.stderr and "https://example.org/a.png is on another server" in done.stderr


def test_code_that_does_not_run_is_named(shop):
    shop.put("nbs/lib/data/price.ipynb", "#| default_exp data.price", "# data.price\n> What it costs.", "#| export\nx = 1 / 0")
    done = shop.build()
    assert done.returncode != 0 and "ZeroDivisionError" in done.stderr and "1 / 0" in done.stderr


def test_new_prose_stands_around_old_outputs(repo):
    """Prose reruns nothing, so the page takes it from the notebook; changed code stays as it was run."""
    from nbformat.v4 import new_code_cell, new_markdown_cell

    from mlsys.site.stage import renew_prose

    parameters = new_code_cell("seed: int = 0  # of the draw", metadata={"tags": ["parameters"]})
    injected = new_code_cell("# Parameters\nseed = 7", metadata={"tags": ["injected-parameters"]})
    ran = [new_markdown_cell("old"), parameters, injected, new_code_cell("1 + 1", execution_count=3)]
    now = [new_markdown_cell("new"), parameters, new_code_cell("1  +  1  # a sum"), new_markdown_cell("more")]
    assert [cell.source for cell in renew_prose(ran, now)] == ["new", parameters.source, injected.source, "1 + 1", "more"]
    assert renew_prose(ran, now)[3].execution_count == 3
    assert renew_prose(ran, [*now, new_code_cell("2")]) is ran
