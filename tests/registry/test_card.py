"""The card: every section of the paper, every figure from a file and with the way back to its cell, in Markdown and in one HTML file."""

import html.parser
import json
import re

import numpy as np
import pandas as pd
import pytest

from mlsys.core import write_json
from mlsys.data.roles import Roles
from mlsys.registry.candidate import gather, pick
from mlsys.registry.card import CardFacts, cautions, history_section, model_card, without_links
from mlsys.registry.facts import groups_of, lineage_files, privacy_of, row_facts
from mlsys.registry.log import Entry
from mlsys.registry.page import card_page
from mlsys.registry.show import cell_text, group_table, show
from mlsys.registry.trace import maker_cell, maker_link

SECTIONS = ["Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data", "Quantitative analyses", "Ethical considerations", "Caveats and limits"]


def entry(value, width=0.01):
    """A measurement with its interval."""
    return {"value": value, "low": value - width, "high": value + width}


@pytest.fixture
def folders(tmp_path):
    """What the stages leave about two models, one of them private, with a group whose name would break a table."""
    made = {name: tmp_path / "artifacts" / name for name in ("baseline", "train", "privatize/target_epsilon=2.0", "evaluate", "assess", "audit")}
    for name, model in (("baseline", "logistic"), ("privatize/target_epsilon=2.0", "private, epsilon 2")):
        write_json(made[name] / "models.json", {model: {"file": "model.skops", "sha256": "0" * 63 + str(len(name) % 10), "description": f"a {model}"}})
    private = made["privatize/target_epsilon=2.0"]
    write_json(private / "scorecard.json", {"auc_roc": entry(0.7234), "cost_per_1000": entry(-700.0, 50)})
    write_json(private / "privacy.json", {"epsilon": 1.987, "delta": 1e-5, "statement": "Epsilon 1.987 for one row.", "unit": "row"})
    group = {"feature": "sex", "group": "f|m <i>", "metric": "accuracy", "count": 41, **entry(0.8125, 0.09)}
    write_json(private / "groups.json", {"gaps": {"accuracy_difference:sex": entry(0.0321)}, "groups": [group]})
    write_json(made["evaluate"] / "scorecards.json", {"logistic": {"auc_roc": entry(0.7891), "cost_per_1000": entry(-812.5, 40)}})
    write_json(made["evaluate"] / "latency.json", {"logistic": {"p99_us": 812.0, "bytes": 4321}})
    write_json(made["evaluate"] / "measured.json", {"logistic": {"behaviour_failures": entry(0, 0), "slice_excess_cost": entry(33.3, 5)}})
    write_json(made["assess"] / "groups.json", {"logistic": [group | {"group": name, "value": None, "low": None, "high": None} for name in ("nobody",)] + [group]})
    write_json(made["assess"] / "gaps.json", {"logistic": {"accuracy_difference:sex": entry(0.0456)}})
    write_json(made["assess"] / "measured.json", {"logistic": {"upheld_complaints_difference:sex": entry(0.002, 0.001)}})
    write_json(made["audit"] / "findings.json", {"findings": [{"stands": True, "accepted": False, "name": "a", "reason": ""}]})
    return made


def card_of(folders, name, **facts):
    """The card of one candidate."""
    candidates = gather(folders)
    choice = pick(candidates, ["auc_roc >= 0.5", "leakage_findings <= 1", "epsilon <= 3 where measured"], name)
    made = {"version": "a1b2c3d4e5f6", "model_sha256": choice.candidate.sha256, "made_from": {"train rows": "1" * 64}}
    groups, source = groups_of(choice.candidate, folders)
    privacy, privacy_source = privacy_of(choice.candidate, folders)
    told = CardFacts(objective="Decide.", unit="EUR", factors=("sex",), groups=groups, groups_source=source, privacy=privacy, privacy_source=privacy_source, **facts)
    return choice, model_card(choice, candidates, made, told)


def test_every_stage_can_add_figures_and_each_can_be_a_gate(folders):
    logistic, private = gather(folders)
    assert {"behaviour_failures", "slice_excess_cost", "upheld_complaints_difference:sex", "leakage_findings", "latency_p99_us"} <= set(logistic.measured)
    assert logistic.sources["slice_excess_cost"] == "evaluate/measured.json" and private.sources["epsilon"] == "privatize/target_epsilon=2.0/privacy.json"
    known = {metric for item in (logistic, private) for metric in item.measured}
    gates = ["behaviour_failures <= 0", "slice_excess_cost <= 10", "epsilon <= 3", "epsilon <= 3 where measured", "upheld_complaints_difference:sex <= 0.01"]
    told = [(item.kind, item.passes, item.applies) for item in logistic.judge(gates, known)]
    assert told == [("behaviour", True, True), ("slices", False, True), ("privacy", False, True), ("privacy", True, False), ("fairness", True, True)]
    assert [item.passes for item in private.judge(gates[:4], known)] == [False, False, True, True], "what was not measured does not pass"


def test_the_sections_are_those_of_the_paper_in_its_order(folders):
    _, card = card_of(folders, "logistic")
    places = [card.index(f"\n## {name}\n") for name in SECTIONS]
    assert places == sorted(places)
    for name in ("Gates", "Privacy", "Leakage", "Lineage"):
        assert f"\n## {name}\n" in card


def test_every_figure_is_the_one_in_the_file_and_leads_there(folders):
    """The links of the card are followed to the files, and every value is looked for there."""
    for name in ("logistic", "private, epsilon 2"):
        choice, card = card_of(folders, name)
        measured = {metric: value for metric, value in choice.candidate.measured.items() if value["value"] is not None}
        for metric, value in measured.items():
            assert f"`{metric}` | {show(value, choice.candidate.sources[metric])}" in card, metric
        for text, target, file in re.findall(r"\[([-\d][^\]]*)\]\(\.\./\.\./(?:nbs/stages|reports/notebooks)/([^#)]*)\.ipynb#([^)]*)\)", card):
            values = {f"{value:.4g}" if abs(value) < 1000 else f"{float(f'{value:.4g}'):,.0f}" for value in numbers(json.loads((folders[target] / file).read_text()))} | {"1"}
            assert set(re.findall(r"-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?", text)) <= values, (text, target, file)


def numbers(value):
    """Every number in a JSON file."""
    if isinstance(value, dict):
        return [number for item in value.values() for number in numbers(item)]
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, (int, float)) and not isinstance(value, bool) else []


def test_what_nobody_has_said_is_missed_and_what_was_said_is_there(folders):
    _, card = card_of(folders, "logistic")
    for key in ("intended_use", "intended_users", "out_of_scope", "considerations", "contact"):
        assert f"Nobody has said so yet: `{key}` in conf/objective" in card
    _, card = card_of(folders, "logistic", intended_use="Loans.", intended_users="Officers.", out_of_scope=("Wages.",), considerations=("Nobody appeals.",), contact="the desk")
    assert "Nobody has said so" not in card and all(word in card for word in ("Loans.", "Officers.", "- Wages.", "- Nobody appeals.", "the desk"))


def test_privacy_is_stated_where_it_is_promised_and_missed_where_not(folders):
    _, card = card_of(folders, "private, epsilon 2")
    assert "Epsilon 1.987 for one row." in card and "| unit | row |" in card and "no promise is made" not in card
    assert "no promise is made" in card_of(folders, "logistic")[1]


def test_groups_are_listed_however_few_they_are(folders):
    _, card = card_of(folders, "logistic")
    assert "| sex | nobody | 41 | undefined |" in card and "f\\|m &lt;i>" in card
    assert "nobody knows whom the model fails" in model_card(*three(folders), CardFacts(objective="x", unit="EUR"))


def three(folders):
    """The first arguments of a card."""
    candidates = gather(folders)
    return pick(candidates, [], "logistic"), candidates, {"version": "a1b2c3d4e5f6", "model_sha256": "0" * 64, "made_from": {}}


def test_an_override_stays_on_the_card():
    promoted = Entry(number=1, action="promote", version="a1b2c3d4e5f6", replaces="", record="1" * 64, by="Ada | Bob", at="2026-07-01T09:30:00Z", reason="it <b>burns</b>", override=("auc_roc >= 0.8",))
    text = history_section([promoted], "a1b2c3d4e5f6", "a1b2c3d4e5f6")
    assert "**It is the champion" in text and "**Overruled** by Ada \\| Bob on 2026-07-01: auc_roc >= 0.8. The reason given: it &lt;b>burns" in text
    assert "there is none yet" in history_section([], "", "a1b2c3d4e5f6") and "that is ffffffffffff" in history_section([promoted], "ffffffffffff", "a1b2c3d4e5f6")


def test_cautions_follow_from_how_it_was_made(folders):
    choice, _ = card_of(folders, "logistic")
    told = " ".join(cautions(choice, Roles("y", "1", "0", label_delay_days=30, rows_in_time_order=True), {"leak": "known at the time"}))
    assert "without differential privacy" in told and "30 days" in told and "a person has accepted it: known at the time" in told


class Page(html.parser.HTMLParser):
    """What a reader's program sees of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.links, self.open = [], set(), [], []
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        self.tags.append((tag, told))
        self.ids |= {told["id"]} if "id" in told else set()
        self.links += [told["href"]] if "href" in told else []
        if tag not in ("meta", "br", "hr", "img", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_one_file_for_any_screen_with_nothing_from_elsewhere(folders):
    _, card = card_of(folders, "logistic", out_of_scope=("<script>alert(1)</script>", "[x](javascript:alert(1))"))
    text = card_page(card)
    page = Page(text)
    names = [tag for tag, _ in page.tags]
    assert not {"script", "link", "img", "iframe", "object"} & set(names) and "url(" not in text and "@import" not in text
    assert not [link for link in page.links if re.match(r"[a-z]+:|//", link)] and "javascript" not in "".join(page.links)
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.tags and "prefers-color-scheme: dark" in text and "overflow-x: auto" in text
    inside = [link[1:] for link in page.links if link.startswith("#")]
    assert len(inside) >= len(SECTIONS) and set(inside) <= page.ids
    assert names.count("table") == text.count('<div class="wide"') > 4 and names.count("h1") == 1


def test_links_of_the_page_are_where_the_reader_is(folders):
    _, card = card_of(folders, "logistic")
    text = card_page(card, lambda target: "" if "audit" in target else target.replace("../../nbs/stages/", "pipeline/"))
    assert 'href="pipeline/evaluate.ipynb#scorecards.json"' in text and "audit.ipynb" not in text and 'href=""' not in text
    assert "](../../" not in without_links(card) and "0.7891 (0.7791 to 0.7991)" in without_links(card)


def test_the_maker_of_every_file_of_the_stages_is_found(repo):
    """For every JSON file that a stage writes there is a cell, and it gives a value to what is written or writes it."""
    found = 0
    for path in sorted((repo / "nbs" / "stages").glob("*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        ids = {cell["id"]: "".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"}
        for file in set(re.findall(r'stage\.output\("([\w.]+\.(?:json|parquet|csv))"\)', "\n".join(ids.values()))):
            assert maker_cell(cells, file) in ids, f"{path.name}: {file}"
            found += 1
    assert found > 20


def test_the_maker_is_the_cell_that_computes(repo):
    def cells(*sources):
        return [{"id": f"c{number}", "cell_type": "code", "source": source} for number, source in enumerate(sources)]

    computed = cells("x = measure()", "y = 1", "write_json(stage.output('a.json'), x)")
    assert maker_cell(computed, "a.json") == "c0"
    assert maker_cell(cells("x = {}", "x |= measure()", "save(value=x, path=stage.output('a.json'))"), "a.json") == "c1"
    assert maker_cell(cells("x = measure(); write_json(stage.output('a.json'), x)", "x = 2"), "a.json") == "c0"
    assert maker_cell(cells("%matplotlib inline", "for p in q:\n    save(stage.output(f'{p}.parquet'))"), "test.parquet") == "c1"
    assert maker_cell([{"id": "m", "cell_type": "markdown", "source": "stage.output('a.json')"}], "a.json") == ""


def test_rows_are_described_for_every_kind_of_outcome():
    rows = pd.DataFrame({"y": [0, 1, 1, 2], "at": pd.date_range("2025-01-01", periods=4), "amount": [1.0, 2.0, 3.0, 4.0]})
    many = row_facts(rows, Roles("y", "", "", problem="multiclass", classes=["a|b", "c", "d"]), "split/test.parquet")
    assert "a\\|b [0.25]" in many["shares of the classes"] and "c [0.5]" in many["shares of the classes"]
    assert "[2.5]" in row_facts(rows, Roles("amount", "", "", problem="regression", time="at"), "split/test.parquet")["mean of amount"]
    assert "2025-01-01 to 2025-01-04" in row_facts(rows, Roles("amount", "", "", problem="regression", time="at"), "split/test.parquet")["from"]
    ordered = rows.assign(at=np.arange(4))
    assert "[0 to 3]" in row_facts(ordered, Roles("amount", "", "", problem="regression", time="at"), "s/test.parquet")["from"]


def test_text_from_data_cannot_break_a_table():
    assert "\n" not in cell_text("a\nb") and cell_text("a|b") == "a\\|b" and cell_text("<td>") == "&lt;td>"
    assert group_table([]) == "" and maker_link("alone.json") == ""


def test_the_lineage_of_a_variant_holds_what_it_varies(folders, tmp_path):
    private = gather(folders)[1]
    assert "code of privatize" in lineage_files(private, tmp_path) and "code of featurize" in lineage_files(private, tmp_path)
