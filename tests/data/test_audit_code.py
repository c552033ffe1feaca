"""The code view: a corpus of notebook fragments, library calls, odd code, and this repository itself."""

import json
import re
import sys
from pathlib import Path

import pytest

from mlsys.core import ConfigError
from mlsys.data.audit_code import audit_notebooks, audit_source
from mlsys.data.audit_code_flow import MAX_STEPS
from mlsys.data.audit_code_sql import audit_derive

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from audit_code import CASES, as_notebook, measure, read_cases

HEAD = """
import pandas as pd
from sklearn.preprocessing import StandardScaler
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
df = pd.read_csv("a.csv")
"""
TUNED = list(read_cases(CASES / "tuned.md"))


def standing(text, **options):
    """The standing findings of a text, as (rule, kind)."""
    return [(finding.rule, finding.kind) for finding in audit_source(HEAD + text, **options) if finding.stands]


@pytest.mark.parametrize("case", TUNED, ids=[case[2] for case in TUNED])
def test_each_case(case):
    is_leaky, kind, _, time_ordered, cells = case
    kinds = {finding.kind for finding in audit_source(as_notebook(cells), "case.ipynb", time_ordered=time_ordered) if finding.stands}
    assert (kind in kinds) if is_leaky else not kinds


def test_cases_that_were_never_tuned_on():
    cases, figures = list(read_cases(CASES / "held_out.md")), measure(CASES / "held_out.md")
    assert sum(case[0] for case in cases) >= 14 and sum(not case[0] for case in cases) >= 14
    assert figures["recall"] >= 0.9 and figures["precision"] >= 0.9


def test_there_are_enough_cases():
    leaky = [case[0] for name in ("tuned", "held_out") for case in read_cases(CASES / f"{name}.md")]
    assert sum(leaky) >= 40 and len(leaky) - sum(leaky) >= 40


def test_a_finding_names_cell_line_code_reason_and_cure():
    cells = ["import pandas as pd\nfrom sklearn.preprocessing import StandardScaler\nfrom sklearn.model_selection import train_test_split",
             "# the data\ndf = pd.read_csv('a.csv')\n\ndf[['a']] = StandardScaler().fit_transform(df[['a']])", "train, test = train_test_split(df)"]
    found, = audit_source(as_notebook(cells), "study.ipynb")
    assert found.where == "study.ipynb:cell 1:line 4" and found.view == "code" and found.kind == "L1.2" and found.rule == "fit-before-split"
    assert "`df[['a']] = StandardScaler().fit_transform(df[['a']])`" in found.what and "study.ipynb:cell 2:line 1" in found.what
    assert "make_pipeline" in found.cure and found.evidence["code"].startswith("df[['a']]")


def test_magics_and_shell_lines_are_no_obstacle():
    cells = ["%matplotlib inline\n!pip install imblearn\nfiles = !ls\nimport pandas as pd", "%%bash\nrm -rf x", "%%time\ndf = pd.read_csv('a.csv')\ndf['a'] = df['a'].rank()\n?df",
             "from sklearn.model_selection import train_test_split\na, b = train_test_split(df)"]
    assert [finding.where for finding in audit_source(as_notebook(cells), "n.ipynb")] == ["n.ipynb:cell 2:line 3"]


def library(tmp_path):
    """A package with a helper that fits on whatever it is given."""
    package = tmp_path / "house"
    (package / "prep").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "prep" / "__init__.py").write_text("from .scale import standardise\n")
    (package / "prep" / "scale.py").write_text(
        "from sklearn.preprocessing import StandardScaler\n\n\ndef standardise(table):\n    scaler = StandardScaler()\n    return scaler.fit_transform(table), scaler\n")
    return package


@pytest.mark.parametrize("imported", ["from house.prep import standardise", "from house.prep.scale import standardise", "import house.prep.scale as hs\nstandardise = hs.standardise",
                                      "from house.prep import scale\nstandardise = scale.standardise", "from house.prep.scale import *"])
def test_a_leak_inside_the_library_is_found_at_the_call_and_named_at_its_place(tmp_path, imported):
    text = f"{imported}\nX, scaler = standardise(df.drop(columns='y'))\nX_train, X_test = train_test_split(X)"
    found, = audit_source(HEAD + text, "study.py", library_folder=library(tmp_path))
    assert found.where.startswith("study.py:line ") and "scale.py:line 6" in found.what and "standardise(df" in found.evidence["code"]


def test_the_same_helper_is_right_for_training_rows(tmp_path):
    text = "from house.prep import standardise\nX_train, X_test = train_test_split(df)\nA, scaler = standardise(X_train)\nB = scaler.transform(X_test)"
    assert not audit_source(HEAD + text, library_folder=library(tmp_path))


def test_a_library_function_that_fits_and_then_splits_is_found_on_its_own(tmp_path):
    path = tmp_path / "pipeline.py"
    path.write_text("from sklearn.preprocessing import StandardScaler\nfrom sklearn.model_selection import train_test_split\n\n\n"
                    "def split(df, y):\n    X = StandardScaler().fit_transform(df)\n    return train_test_split(X, y)\n")
    assert [(finding.rule, finding.where.rpartition(":")[2]) for finding in audit_notebooks(path)] == [("fit-before-split", "line 6")]


def test_kinds_of_leakage_have_kinds_of_findings():
    assert standing("X = df[['a']]\nX = StandardScaler().fit_transform(X)\ntrain, test = train_test_split(X)") == [("fit-before-split", "L1.2")]
    assert standing("a, b, c, d = train_test_split(df, df.y)\nm = LogisticRegression().fit(b, d)\nm.score(b, d)") == [("trained-on-test", "L1.1")]
    assert standing("df['a'] = df.groupby('g')['y'].transform('mean')\na, b, c, d = train_test_split(df.drop(columns='y'), df['y'])") == [("target-encoded-before-split", "L1.2")]
    assert standing("from imblearn.over_sampling import SMOTE\na, b, c, d = train_test_split(df, df.y)\nb, d = SMOTE().fit_resample(b, d)\nLogisticRegression().fit(a, c).score(b, d)") == [
        ("resampled-test", "L3.3")]


def test_doubts_are_notes_with_a_reason():
    text = "df = pd.get_dummies(df)\ndf = df[df.a < df.a.quantile(.99)]\na, b, c, d = train_test_split(df, df.y)\nm = LogisticRegression().fit(a, c)"
    notes = audit_source(HEAD + text)
    assert notes and not any(finding.stands for finding in notes) and all("A note, because" in finding.what for finding in notes)
    assert not standing("a, b, c, d = train_test_split(df, df.y)\nm.fit(a, c, eval_set=[(b, d)])\nm.score(b, d)")  # watched, nothing stops by it


def test_a_note_where_only_the_choice_among_settings_is_flattered():
    text = ("from sklearn.model_selection import GridSearchCV\na, b, c, d = train_test_split(df, df.y)\ns = StandardScaler().fit(a)\n"
            "g = GridSearchCV(LogisticRegression(), {'C': [1, 2]}).fit(s.transform(a), c)\nprint(g.score(s.transform(b), d))")
    found, = audit_source(HEAD + text)
    assert not found.stands and "settings" in found.what


@pytest.mark.parametrize("time_ordered", [False, True])
def test_order_in_time_can_be_told(time_ordered):
    assert bool(standing("a, b = train_test_split(df)", time_ordered=time_ordered)) == time_ordered
    assert not standing("a, b = train_test_split(df, shuffle=False)", time_ordered=time_ordered)


@pytest.mark.parametrize("text", [
    "", "\n", "# nothing", "def f(x):\n    return f(x)\nf(df)", "class A(A):\n    pass\nA().b.c()", "from nowhere import *\nfrom . import x", "(y := df)['a'] = y.a.mean()",
    "async def f():\n    async with a as b:\n        async for c in b:\n            await c\n", "match df:\n    case {'a': b, **r}:\n        pass\n    case [c, *d]:\n        pass",
    "try:\n    pass\nexcept* ValueError as e:\n    print(e)", "while True:\n    df = df.merge(df)\n", "x = lambda *a, **k: x(*a, **k)\nx(df)", "for a, (b, *c) in d:\n    e[a][b].c = f'{c!r:>{a}}'",
    "[a for b in c for a in b if a]", "global q\ndel df", "a = b = [*c, *d]\na[0] += 1", "def g(n):\n    return h(n)\ndef h(n):\n    return g(n)\ng(df)", "x: int\nprint(x)",
    "class T:\n    def fit(self, X):\n        return self.fit(X)\nT().fit(df)", "df = df.assign(**{c: df[c].mean() for c in df})", "type X = int" if sys.version_info >= (3, 12) else "x = 1",
    "d = {}\nd['self'] = d\nprint(d)\nd.get(d)\ntrain_test_split(d)", "l = []\nl.append(l)\ntrain_test_split(l)",
])  # fmt: skip
def test_odd_code_is_no_obstacle(text):
    assert all(finding.rule != "not-read" for finding in audit_source(text))
    audit_source(HEAD + text + "\na, b = train_test_split(df)", library_folder=None)


@pytest.mark.parametrize("text", ["def f(:", "print 'a'", "x = " + "(" * 300 + "1" + ")" * 300, "x = " + "+".join(["1"] * 20_000), "\x00"])
def test_what_cannot_be_read_is_a_note(text):
    found, = audit_source(text)
    assert found.rule == "not-read" and not found.stands


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"cells": 3}', '{"cells": [{"cell_type": "code", "source": null}]}', "not json"])
def test_a_broken_notebook_is_a_note(text):
    assert [finding.rule for finding in audit_source(text, "broken.ipynb")] == ["not-read"]
    assert not audit_source('{"cells": []}', "empty.ipynb")


def test_a_cell_that_cannot_be_read_does_not_hide_the_others():
    cells = ["import pandas as pd\nfrom sklearn.model_selection import train_test_split", "def (", "df = pd.read_csv('a.csv')\ndf['a'] = df.a.fillna(df.a.mean())\na, b = train_test_split(df)"]
    assert {finding.rule: finding.stands for finding in audit_source(as_notebook(cells), "n.ipynb")} == {"not-read": False, "fit-before-split": True}


def test_a_huge_notebook_is_read_within_its_bound():
    chain = "\n".join(f"def f{n}(x):\n    return f{n + 1}(x) + f{n + 1}(x.a) + f{n + 1}(x.b)" for n in range(40)) + "\ndef f40(x):\n    return x\nf0(df)"
    cells = [HEAD, *[chain] * 30, "df['a'] = df.a.fillna(df.a.mean())\na, b = train_test_split(df)"]
    rules = {finding.rule for finding in audit_source(as_notebook(cells), "huge.ipynb")}
    assert rules == {"not-read"} or "fit-before-split" in rules
    assert MAX_STEPS < 10**6


def test_the_code_is_never_run(tmp_path):
    marker = tmp_path / "ran"
    audit_source(f"open({str(marker)!r}, 'w')\nimport os\nos.system('touch {marker}')\n__import__('antigravity')")
    assert not marker.exists() and "antigravity" not in sys.modules


def test_paths_folders_and_their_errors(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.py").write_text(HEAD + "df = df.fillna(df.mean())\na, b = train_test_split(df)")
    (tmp_path / "a" / "two.ipynb").write_text(as_notebook(["x = 1"]))
    (tmp_path / "a" / "notes.txt").write_text("df.fillna(df.mean())")
    (tmp_path / "a" / ".ipynb_checkpoints").mkdir()
    (tmp_path / "a" / ".ipynb_checkpoints" / "old.py").write_text((tmp_path / "a" / "one.py").read_text())
    assert len(audit_notebooks(tmp_path)) == 1 and len(audit_notebooks([tmp_path, str(tmp_path / "a" / "one.py")])) == 1
    with pytest.raises(ConfigError, match="notebook"):
        audit_notebooks(tmp_path / "missing.ipynb")
    with pytest.raises(ConfigError, match="library_folder"):
        audit_notebooks(tmp_path, library_folder=tmp_path / "none")


def test_names_are_stable_and_findings_sorted():
    text = HEAD + "df['a'] = df.a.rank()\ndf['b'] = df.b.fillna(df.b.mean())\na, b = train_test_split(df)"
    first, again = audit_source(text), audit_source(text)
    assert [finding.name for finding in first] == [finding.name for finding in again] == ["fit-before-split:source.py:line 7", "fit-before-split:source.py:line 8"]


def test_this_repository_has_no_standing_finding(repo):
    found = audit_notebooks([repo / "nbs" / "stages", repo / "mlsys"], repo / "mlsys")
    assert not [finding.name for finding in found if finding.stands]


def test_a_leak_planted_in_a_stage_is_found(repo):
    """The same stage notebook with one line more: the table is scaled before it is split."""
    content = json.loads((repo / "nbs" / "stages" / "split.ipynb").read_text())
    cell = next(cell for cell in content["cells"] if "split_table(table" in "".join(cell["source"]))
    cell["source"] = ["table[roles.numeric] = (table[roles.numeric] - table[roles.numeric].mean()) / table[roles.numeric].std()\n", *cell["source"]]
    found = audit_source(json.dumps(content), "split.ipynb", library_folder=repo / "mlsys")
    assert any(finding.stands and finding.kind == "L1.2" and re.match(r"split.ipynb:cell \d+:line 1$", finding.where) for finding in found)


@pytest.mark.parametrize(("line", "rule"), [
    ("age_group = age // 20", None), ("z = income - avg(income) OVER ()", "fit-before-split"), ("z = avg(income) OVER (PARTITION BY city)", "fit-before-split"),
    ("before = avg(income) OVER (PARTITION BY city ORDER BY t ROWS BETWEEN 5 PRECEDING AND 1 PRECEDING)", None), ("last = lag(x) OVER (ORDER BY t)", None),
    ("next = lead(x) OVER (ORDER BY t)", "looks-ahead"), ("next = lag(x) OVER (ORDER BY t DESC)", "looks-ahead"), ("next = lag(x, -1) OVER (ORDER BY t)", "looks-ahead"),
    ("ahead = sum(x) OVER (ORDER BY t ROWS BETWEEN CURRENT ROW AND 7 FOLLOWING)", "looks-ahead"), ("band = ntile(5) OVER (ORDER BY income)", "fit-before-split"),
    ("share = income / (SELECT sum(income) FROM source)", "fit-before-split"), ("rate = avg(y) OVER (PARTITION BY city)", "target-encoded-before-split"),
    ("y = lead(price) OVER (ORDER BY t) > price", None), ("number = row_number() OVER (ORDER BY t)", None), ("text = 'avg(x) OVER ()'", None),
])  # fmt: skip
def test_derived_columns(line, rule):
    found = audit_derive([line], target="y", time="t")
    assert [finding.rule for finding in found if finding.stands] == ([rule] if rule else [])
    assert all(finding.where == f"data.derive:{line.split(' ')[0]}" for finding in found)


def test_derived_columns_that_cannot_be_judged():
    assert [(finding.rule, finding.stands) for finding in audit_derive(["x = foo(("])] == [("not-read", False)]
    note, = audit_derive(["x = (SELECT avg(s.y) FROM source s WHERE s.t < source.t)"], time="t")
    assert not note.stands and "earlier rows" in note.what
    with pytest.raises(ConfigError, match="name = SQL expression"):
        audit_derive(["x"])


def test_the_derived_columns_of_the_bundled_configurations_are_fine(repo):
    from omegaconf import OmegaConf

    for path in sorted((repo / "conf" / "data").glob("*.yaml")):
        assert not audit_derive(list(OmegaConf.load(path).get("derive", [])))


SPLIT = "\na, b, c, d = train_test_split(df.drop(columns='y'), df['y'])\n"


@pytest.mark.parametrize(("text", "verdict"), [
    ("from sklearn.preprocessing import OneHotEncoder\nX = OneHotEncoder().fit_transform(df[['a']])\na, b = train_test_split(X)", "stands"),
    ("df = pd.get_dummies(df)" + SPLIT, "note"), ("df = df[df.x < df.x.quantile(.99)]" + SPLIT, "note"),
    ("from sklearn.preprocessing import LabelEncoder\ndf['y'] = LabelEncoder().fit_transform(df['y'])" + SPLIT, "nothing"),
    (SPLIT + "from sklearn.model_selection import GridSearchCV\na = StandardScaler().fit_transform(a)\nGridSearchCV(LogisticRegression(), {}).fit(a, c)", "note"),
    (SPLIT + "from sklearn.model_selection import cross_val_score\nfrom imblearn.over_sampling import SMOTE\na, c = SMOTE().fit_resample(a, c)\ncross_val_score(LogisticRegression(), a, c)",
     "stands"),
    (SPLIT + "import xgboost\nm = xgboost.XGBClassifier().fit(a, c, eval_set=[(b, d)])\nm.score(b, d)", "note"),
    (SPLIT + "import xgboost\nm = xgboost.XGBClassifier(early_stopping_rounds=5).fit(a, c, eval_set=[(b, d)])\nm.score(b, d)", "stands"),
    ("from imblearn.under_sampling import RandomUnderSampler\nX, y = RandomUnderSampler().fit_resample(df.drop(columns='y'), df['y'])\na, b, c, d = train_test_split(X, y)", "note"),
    ("df = df.sort_values('order_date')" + SPLIT, "stands"), ("df['when'] = pd.to_datetime(df['when'])" + SPLIT, "note"), (SPLIT, "nothing"),
])  # fmt: skip
def test_the_verdicts_that_the_guide_tells(text, verdict):
    found = audit_source(HEAD + text)
    assert verdict == ("nothing" if not found else "stands" if any(finding.stands for finding in found) else "note"), found


@pytest.mark.parametrize(("text", "rules"), [
    ("X_train, X_test = df[::2], df[1::2]\ny_train, y_test = df.y[::2], df.y[1::2]\nm = LogisticRegression().fit(X_train, y_train)\nm.score(X_test, y_test)", []),
    ("def check(X, y, X_test):\n    scaler = StandardScaler().fit(X)\n    return scaler.transform(X_test)", []),
    ("df['y'] = (df['income'] > df['income'].median()).astype(int)\na, b, c, d = train_test_split(df[['age']], df['y'])\nLogisticRegression().fit(a, c)", []),
    ("from somewhere import Cleaner\nX = Cleaner().fit_transform(df)\na, b = train_test_split(X)", ["fit-before-split"]),
    ("latest = df[df.date == df.date.max()]\ntest_size = 0.2\na, b = train_test_split(df, test_size=test_size)", []),
    ("test_dates = df['date']\ndf['a'] = df['a'].fillna(df['a'].mean())\na, b = train_test_split(df)", ["fit-before-split"]),
])  # fmt: skip
def test_code_as_it_is_found_in_the_wild(text, rules):
    assert [rule for rule, _ in standing(text)] == rules


def test_a_test_set_that_is_read_for_each_setting_is_noted():
    text = ("a, b, c, d = train_test_split(df.drop(columns='y'), df['y'])\nfor strength in [0.1, 1, 10]:\n    m = LogisticRegression(C=strength).fit(a, c)\n    print(m.score(b, d))")
    note, = audit_source(HEAD + text)
    assert not note.stands and note.rule == "tuned-on-test" and "each setting" in note.what
    assert not audit_source(HEAD + text.replace("C=strength", "C=1"))


def test_files_that_one_expression_reads_are_parts_of_their_own():
    text = "validation, test = (pd.read_parquet(f'{part}.parquet') for part in ('validation', 'test'))\n"
    text += "rule = LogisticRegression().fit(validation[['a']], validation.y)\nfinal = SVC().fit(rule.predict(validation[['a']]), validation.y)\nfinal.score(test[['a']], test.y)"
    assert not standing(text)
    assert standing(text.replace("final.score(test[['a']], test.y)", "SVC().fit(test[['a']], test.y).score(test[['a']], test.y)"))
