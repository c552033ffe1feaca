"""What counts as code, and who reaches it."""

import json
import textwrap

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from mlsys.pipeline.digest import Library, normalise, reach, stage_code

MODULES = {
    "__init__": "",
    "base": """
        LIMIT = 3
        def low(x):
            "Say something."
            return x - LIMIT
        def unused(x):
            return x
    """,
    "model": """
        from .base import low
        from demo import base
        class Parent:
            def fit(self): return low(1)
        class Child(Parent):
            def predict(self):
                from .late import late
                return late()
        TABLE = {"child": Child}
        def make(name): return TABLE[name]()
        def whole(): return vars(base)
    """,
    "late": "def late(): return 1\nprint('effect')\n",
}


@pytest.fixture
def library(tmp_path):
    folder = tmp_path / "demo"
    folder.mkdir()
    for name, text in MODULES.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
    return Library(folder, name="demo")


def test_it_follows_calls_classes_tables_and_local_imports(library):
    reached = reach([("demo.model", "make")], library)
    assert set(reached) == {
        "demo.model:make", "demo.model:TABLE", "demo.model:Child", "demo.model:Parent",
        "demo.base:low", "demo.base:LIMIT", "demo.late:late", "demo.late:",
    }  # fmt: skip


def test_a_module_used_as_a_value_is_reached_whole(library):
    assert {"demo.base:low", "demo.base:unused"} <= set(reach([("demo.model", "whole")], library))


def test_an_attribute_of_a_module_reaches_that_attribute(library, tmp_path):
    path = tmp_path / "stage.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("import demo.base as b\nb.low(1)")]), path)
    code = stage_code(path, library)
    assert "demo.base:low" in code and "demo.base:unused" not in code


def test_prose_is_not_code():
    assert normalise('def f(x):  # note\n    """Doc."""\n\n    return (x)') == normalise("def f(x): return x")
    assert normalise("def f():\n    'only a text'") == normalise("def f(): pass")
    assert normalise("x = 1") != normalise("x = 2")
    assert normalise("x = 'text'") != normalise("x = 'other'")


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("return x - LIMIT", "return x - LIMIT - 1", True),
        ("LIMIT = 3", "LIMIT = 4", True),
        ('"Say something."', '"Say something else."', False),
        ("return x - LIMIT", "return x - LIMIT  # why", False),
        ("def unused(x):\n    return x", "def unused(x):\n    return 2 * x", False),
    ],
)
def test_the_digest_changes_with_reached_code_only(library, tmp_path, old, new, changed):
    path = tmp_path / "stage.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("from demo.model import make\nmake('child').fit()")]), path)
    before = json.dumps(stage_code(path, library))
    file = library.folder / "base.py"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    after = json.dumps(stage_code(path, Library(library.folder, name="demo")))
    assert (before != after) is changed


def test_markdown_outputs_and_comments_of_a_notebook_are_not_code(library, tmp_path):
    codes = []
    for number, (prose, comment) in enumerate([("one", "# a"), ("two", "# b")]):
        path = tmp_path / f"{number}.ipynb"
        cell = new_code_cell(f"{comment}\nx = 1\n%matplotlib inline", execution_count=number)
        nbformat.write(new_notebook(cells=[new_markdown_cell(prose), cell]), path)
        codes.append(stage_code(path, library))
    assert codes[0] == codes[1]


def test_every_stage_reaches_its_package(repo):
    """The repository's own stages: a change of the metric reruns evaluate, a change of the assessment does not."""
    from mlsys.pipeline.digest import INFRASTRUCTURE

    library = Library(repo / "mlsys", ignored=INFRASTRUCTURE)
    evaluate = stage_code(repo / "nbs/stages/evaluate.ipynb", library)
    assess = stage_code(repo / "nbs/stages/assess.ipynb", library)
    assert any(name.startswith("mlsys.evaluate.scorecard:") for name in evaluate)
    assert any(name.startswith("mlsys.fairness.") for name in assess)
    assert not any(name.startswith(("mlsys.fairness.", "mlsys.pipeline.")) for name in evaluate)


@pytest.mark.parametrize(
    ("module", "notebook", "reached"),
    [
        ("from .late import late\ndef f(): return 1", "from demo.extra import f\nf()", "demo.late:"),
        ("from .base import low\n@low\ndef hidden(): return 1\ndef f(): return 2", "import demo.extra\n", "demo.extra:hidden"),
        ("def other():\n    from .late import low\n    return low\ndef low(): return 7\ndef f(): return low()", "from demo.extra import f\nf()", "demo.extra:low"),
    ],
)
def test_what_acts_on_import_is_reached(library, tmp_path, module, notebook, reached):
    (library.folder / "extra.py").write_text(module + "\n")
    path = tmp_path / "stage.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell(notebook)]), path)
    assert reached in stage_code(path, library)


def test_a_star_import_is_refused(library, tmp_path):
    from mlsys.core import ConfigError

    path = tmp_path / "stage.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("from demo.base import *")]), path)
    with pytest.raises(ConfigError, match="explicit names"):
        stage_code(path, library)


def test_two_packages_are_read_as_one(tmp_path):
    """A project's own package may use an installed one; both reach a stage."""
    for name, text in (("own/__init__.py", ""), ("own/part.py", "from shared.tool import cut\ndef mine(x): return cut(x)\ndef unused(): return 1"),
                       ("shared/__init__.py", ""), ("shared/tool.py", "def cut(x): return x[:1]\ndef other(): return 2")):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    path = tmp_path / "stage.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("from own.part import mine\nfrom shared.tool import cut\nmine([1])")]), path)
    library = Library(tmp_path / "own", "own", others=(Library(tmp_path / "shared", "shared"),))
    code = stage_code(path, library)
    assert {"own.part:mine", "shared.tool:cut"} <= set(code) and "own.part:unused" not in code and "shared.tool:other" not in code


def test_the_digest_of_an_installed_package(tmp_path, monkeypatch):
    """It changes with code that a stage can reach; it is empty where the project holds the package."""
    import mlsys.core
    from mlsys.pipeline.digest import package_digest

    package = tmp_path / "site" / "mlsys"
    for name in ("__init__.py", "data/table.py", "site/page.py", "_template/conf/x.py", "_modidx.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("a = 1\n")
    monkeypatch.setattr(mlsys.core, "__file__", str(package / "core.py"))
    (tmp_path / "project").mkdir()
    before = package_digest(tmp_path / "project")
    for name in ("site/page.py", "_template/conf/x.py", "_modidx.py"):
        (package / name).write_text("a = 2\n")
    assert package_digest(tmp_path / "project") == before and len(before) == 16
    (package / "data/table.py").write_text("a = 2\n")
    assert package_digest(tmp_path / "project") != before
    assert package_digest(tmp_path / "site") == ""
