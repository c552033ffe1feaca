"""Features as files: what is written is read back, and slips are named with file and key."""

import sys

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.core import ConfigError
from mlsys.features.catalog import explain_feature, feature_table, in_words, view_rules
from mlsys.features.declare import (
    describe_features,
    features_from,
    import_features,
    load_features,
    save_features,
)
from mlsys.features.view import FUNCTIONS, Aggregate, Column, Expression, FeatureSet, FeatureView, duration

GOOD = """
name: cards
views:
  - name: card
    entity: [customer, card]
    event_time: at
    known: seen_at
    row_key: number
    derive: ["is_large = amount > 100"]
    closed: left
    timezone: Europe/Berlin
    features:
      - limit
      - {column: limit, name: old_limit, default: 0}
      - {function: rate, column: is_large, windows: [1d, "7 days", unbounded], default: 0.0, offset: 1d}
      - {function: count}
expressions:
  - {name: doubled, sql: old_limit * 2, default: -1}
"""

words = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
spans = st.integers(1, 400).flatmap(lambda count: st.sampled_from(["d", "h", "min", " days", "w"]).map(lambda unit: f"{count}{unit}"))
free = st.text("abc: #'\"{}[]-éß\n%@!&*|>", max_size=12)


@st.composite
def views(draw, name):
    """A view whose names do not clash."""
    columns = draw(st.lists(words, min_size=1, max_size=4, unique=True))
    features = []
    for i, column in enumerate(columns):
        given_name = f"{name}_{i}_{column}"
        default = draw(st.none() | st.integers(-3, 3) | st.floats(-9, 9))
        if draw(st.booleans()):
            features.append(Column(column, given_name, default))
        else:
            function = draw(st.sampled_from(sorted(FUNCTIONS)))
            windows = draw(st.lists(spans | st.just("unbounded"), min_size=1, max_size=3, unique_by=lambda text: text.replace(" ", "")))
            offset = draw(st.none() | spans)
            features.append(Aggregate(function, column, tuple(windows), given_name, default, offset))
    return FeatureView(
        name, tuple(draw(st.lists(words, min_size=1, max_size=2, unique=True))), draw(words), tuple(features), source=draw(free), known=draw(st.just("") | words | spans),
        ttl=draw(st.just("") | spans), closed=draw(st.sampled_from(["right", "left"])), row_key=tuple(draw(st.lists(words, max_size=2))), prefix=draw(st.just("") | words),
        derive=tuple(draw(st.lists(words.map(lambda word: f"d_{word} = {word} + 1"), max_size=2, unique=True))), doc=draw(free), owner=draw(free))  # fmt: skip


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_what_is_saved_is_loaded(data, tmp_path_factory):
    found = tuple(data.draw(views(f"v{i}")) for i in range(data.draw(st.integers(0, 3))))
    expressions = tuple(Expression(f"e_{i}", f"e_x + {i}", data.draw(st.none() | st.integers(-3, 3))) for i in range(data.draw(st.integers(0, 2))))
    features = FeatureSet(found, expressions, data.draw(words))
    path = tmp_path_factory.mktemp("features") / "set.yaml"
    save_features(features, path)
    assert load_features(path) == features
    assert features_from(describe_features(features)) == features
    assert [row["name"] for row in feature_table(features)] == list(features.names)
    for name in features.names:
        assert explain_feature(features, name).startswith(name)


def test_every_key_of_a_file_arrives(write):
    features = load_features(write(GOOD, "cards.yaml"))
    view = features.view("card")
    assert (view.entity, view.row_key, view.closed, view.timezone) == (("customer", "card"), ("number",), "left", "Europe/Berlin")
    assert view.names == ("limit", "old_limit", "is_large_rate_1d", "is_large_rate_7days", "is_large_rate", "count")
    assert view.parts()[2]["default"] == 0.0 and view.parts()[2]["offset"] == duration("1d")
    assert view.derived == (Expression("is_large", "amount > 100"),) and features.expressions[0].default == -1


def test_both_ways_of_writing_expressions():
    long = features_from({"expressions": [{"name": "a", "sql": "x + 1"}, {"name": "b", "sql": "a", "default": 0}]})
    short = features_from({"expressions": {"a": "x + 1", "b": {"sql": "a", "default": 0}}})
    assert long == short


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("views:", "veiws:", "veiws'; allowed: name, views"),
        ("entity:", "entities:", "views[0] (card): received 'entities'"),
        ("event_time: at", "event_time: no", 'views[0] (card), event_time: received False; allowed: a text. Quote it: "False"'),
        ("entity: [customer, card]", "entity: [customer, 7]", "views[0] (card), entity"),
        ("entity: [customer, card]", "entity: []", "views[0] (card), entity"),
        ("known: seen_at", "known: 7", "views[0] (card), known: received 7"),
        ("closed: left", "closed: both", "views[0] (card): view card, closed"),
        ("closed: left", "ttl: soon", "a distance in time"),
        ("{function: count}", "{functoin: count}", "features[3]: received 'functoin'"),
        ("{function: count}", "{function: median, column: x}", "views[0] (card): function: received 'median'"),
        ("{function: count}", "{windows: [1d]}", "features[3]"),
        ("{function: count}", "{name: x}", "features[3]"),
        ("{function: count}", "7", "features[3]: received 7; allowed: a mapping"),
        ("{function: count}", "limit", "views[0] (card): view card, features"),
        ("is_large = amount > 100", "is_large: amount > 100", "lines NAME = SQL"),
        ("is_large = amount > 100", "is_large = SUM(amount)", "views[0] (card): expression is_large"),
        ("is_large = amount > 100", "is_large = is_large > 1", "is_large -> is_large"),
        ("old_limit * 2", "old_limit * doubled", "doubled -> doubled"),
        ("old_limit * 2", "AVG(old_limit)", "expressions: expression doubled"),
        ("sql: old_limit * 2", "sql: 2", "expressions[0] (doubled), sql: received 2"),
        ("sql: old_limit * 2", "sq: old_limit", "expressions[0]: received 'sq'"),
        ("name: doubled", "name: limit", "limit (in view card and in expressions)"),
        ("name: cards", "name: [cards]", "name: received ['cards']"),
        ("name: cards", "name: cards\n  x: 1", "valid YAML"),
        ("name: cards", "modules: [no_such_module_here:views]", "modules[0]: received 'no_such_module_here'"),
        ("name: cards", "modules: [json]", "package.module:attribute"),
        ("name: cards", "modules: [json:dumps]", "allowed: a FeatureView"),
        ("name: cards", "modules: cards", "modules: received 'cards'; allowed: a list"),
    ],
)
def test_a_slip_is_named_with_file_and_key(write, old, new, words):
    assert old in GOOD
    path = write(GOOD.replace(old, new, 1), "cards.yaml")
    with pytest.raises(ConfigError) as caught:
        load_features(path)
    assert words in str(caught.value) and "cards.yaml" in str(caught.value)


def test_other_contents_are_refused(write):
    for text in ("- a\n- b\n", "just words", "views: {name: x}", "views: [x]", "views: [{name: x, features: {}}]", b"\xff\xfe\x00"):
        with pytest.raises(ConfigError, match="odd.yaml"):
            load_features(write(text, "odd.yaml"))
    assert load_features(write("", "empty.yaml")).names == ()


def test_a_file_that_is_not_there_has_its_nearest(write, tmp_path):
    write(GOOD, "cards.yaml")
    with pytest.raises(ConfigError, match="Did you mean cards.yaml"):
        load_features("card.yaml", tmp_path)


def test_nothing_of_a_file_is_made_an_object(write):
    with pytest.raises(ConfigError, match="valid YAML"):
        load_features(write("name: !!python/object/apply:os.system [ls]", "odd.yaml"))


def test_features_of_a_module(tmp_path, monkeypatch):
    program = "from mlsys.features.view import *\nview = FeatureView('a', 'k', 't', [Column('x')])\nboth = [view, Expression('y', 'x + 1')]\nodd = 3\nraise_it = None\n"
    (tmp_path / "views_of_a_test.py").write_text(program)
    (tmp_path / "broken_views_of_a_test.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert import_features("views_of_a_test:both").names == load_features("views_of_a_test:both").names == ("x", "y")
    mixed = features_from({"modules": ["views_of_a_test:view"], "expressions": {"z": "x * 2"}})
    assert mixed.names == ("x", "z")
    for name, text in (("views_of_a_test:veiw", "Did you mean view"), ("views_of_a_test:odd", "int"), ("broken_views_of_a_test:x", "ZeroDivisionError")):
        with pytest.raises(ConfigError, match=text):
            import_features(name)
    sys.modules.pop("views_of_a_test")


def test_every_file_of_the_project_loads(repo):
    from mlsys.pipeline.config import compose

    for path in sorted((repo / "conf" / "features").glob("*.yaml")):
        composed = load_features(compose([f"features={path.stem}"], repo)["features"])
        if "defaults" not in yaml.safe_load(path.read_text()):  # a file that only points at another is Hydra's to read
            assert load_features(path) == composed and composed.name == path.stem


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["features=lendign"], "Did you mean lending"),
        (["+features.expressions.x=x+1"], "x -> x"),
        (["features.views=[{name: a, entity: k}]"], "conf/features: views[0] (a), features"),
        (["features.status=maybe"], "conf/features: features.status"),
        (["+features.veiws=[]"], "veiws"),
    ],
)
def test_a_wrong_choice_does_not_compose(repo, overrides, words):
    from mlsys.pipeline.config import compose

    with pytest.raises(ConfigError) as caught:
        compose(overrides, repo)
    assert words in str(caught.value)


def test_rules_say_what_is_declared(write):
    rules = " ".join(view_rules(load_features(write(GOOD, "cards.yaml")).view("card")))
    for part in ("customer and card", "strictly before t", "seen_at", "1 day before t", "number are versions", "Nothing expires", "Europe/Berlin", "is_large = amount > 100"):
        assert part in rules, part


@given(st.integers(1, 10**15))
def test_words_say_the_whole_distance(microseconds):
    assert duration(in_words(microseconds).replace("millisecond", "ms").replace("microsecond", "us").replace("mss", "ms").replace("uss", "us").replace(",", "")) == microseconds
