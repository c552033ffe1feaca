"""Every option composes and is checked; a wrong one is named."""

import itertools

import pytest

from mlsys.core import ConfigError
from mlsys.pipeline.config import as_list, compose, conf_digest, load_params, render
from mlsys.pipeline.schema import GROUPS
from mlsys.pipeline.stage import Stage


def options(repo, group):
    """The files of a group."""
    return sorted(path.stem for path in (repo / "conf" / group).glob("*.yaml"))


def pytest_generate_tests(metafunc):
    if "option" in metafunc.fixturenames:
        from conftest import REPO

        groups = [*GROUPS, "experiment"]
        metafunc.parametrize("option", list(itertools.chain(*[[f"{g}={o}" for o in options(REPO, g)] for g in groups])))


def test_every_option_composes(repo, option):
    assert compose([option], repo)["seed"] >= 0


def test_the_committed_params_are_what_conf_gives(repo):
    assert (repo / "params.yaml").read_text() == render(compose(root=repo)), "run `mlsys compose`"


def test_a_stage_block_is_the_notebooks_signature(repo):
    import nbformat

    from mlsys.pipeline.parameters import check_values, read_parameters
    from mlsys.pipeline.stage import stage_values

    params = compose(root=repo)
    for path in sorted((repo / "nbs" / "stages").glob("*.ipynb")):
        parameters = read_parameters(nbformat.read(path, as_version=4), path.name)
        check_values(parameters, stage_values(path.stem, params), path.stem)
        assert all(parameter.help for parameter in parameters.values()), f"{path.name}: a parameter without a comment"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model=bosted", "boosted"),
        ("modle=boosted", "modle"),
        ("split.test_share=2", "from 0.01 to 0.9"),
        ("split.method=tme", "Did you mean time"),
        ("split.test_share=much", "float"),
        ("+split.shuffle=true", "split.shuffle"),
        ("privacy.target_epsilon=[]x", "privacy"),
        ("privacy.target_epsilon=-1", "target_epsilon"),
        ("privacy.model=[netwrk]", "Did you mean network"),
        ("privacy.model=linear", "Write a list: [linear]"),
        ("privacy.unit=people", "privacy.unit"),
        ("privacy.target_epsilon=low", "a number or a list of numbers"),
        ("seed=-1", "seed"),
        ("model.candidates=[forest]", "forest"),
        ("modle=boosted", "Did you mean model"),
        ("+modle=boosted", "Did you mean model"),
        ("data.taget=x", "data.target"),
        ("model=bosted", "Did you mean boosted"),
        ("data.positive_label=7", "Quote it"),
        ("data.sensitive=sex", "Write a list: [sex]"),
        ('objective.gates=["auc_roc => 0.7"]', "objective.gate: received 'auc_roc => 0.7'"),
        ("objective.cost_false_negative=0", "objective.cost_false_negative: received 0.0; allowed: more than cost_true_positive"),
        ("objective.cost_false_negative=nan", "objective.cost_false_negative: received nan"),
        ("objective.decisions_per_year=0", "objective.decisions_per_year: received 0"),
        ("objective.max_bytes=-1", "objective.max_bytes: received -1; allowed: from 0"),
        ("objective.model_cost_per_year=-5", "objective.model_cost_per_year: received -5"),
        ("behaviour=lendign", "Did you mean lending"),
        ("behaviour.min_slice_share=0.9", "behaviour.min_slice_share: received 0.9; allowed: from 0 to 0.5"),
        ('behaviour.slices=["age <"]', "behaviour.slices, "),
        ("behaviour.tests=[{kind: invariant}]", "Did you mean invariance"),
        ("behaviour.tests=[{kind: invariance, column: sex}]", "decision: same"),
        ("behaviour.tests=[sex]", "behaviour.tests: received ['sex']"),
        ('behaviour.tests=[{kind: perturbation, noise: 0.1, at_most: 1, where: "age <"}]', "behaviour.tests[0].where, "),
    ],
)
def test_a_wrong_value_is_named(repo, override, words):
    with pytest.raises(ConfigError) as caught:
        compose([override], repo)
    assert words in str(caught.value)


def test_one_epsilon_and_several(repo):
    assert compose(["privacy.target_epsilon=1"], repo)["matrix"]["privatize"]["target_epsilon"] == [1.0]
    assert compose(["privacy.target_epsilon=[1,3]"], repo)["matrix"]["privatize"]["target_epsilon"] == [1.0, 3.0]
    assert compose(["privacy.model=[network]"], repo)["matrix"]["privatize"] == {"target_epsilon": [1.0, 3.0, 8.0], "model": ["network"]}
    with pytest.raises(ConfigError):
        as_list([])


def test_a_stage_finds_the_folders_of_another_stage_s_grid(project):
    project.compose("privacy.target_epsilon=[1,8]")
    stage = Stage("select", project.root, project.root)
    assert stage.points("privatize") == [f"privatize/target_epsilon={budget},model={kind}" for budget in ("1.0", "8.0") for kind in ("linear", "network")]
    assert stage.points("train") == []


def test_the_digest_sees_content_and_names(project):
    before = conf_digest(project.root)
    (project.root / "conf" / "split" / "mine.yaml").write_text("method: time\n")
    added = conf_digest(project.root)
    (project.root / "conf" / "split" / "mine.yaml").rename(project.root / "conf" / "split" / "yours.yaml")
    renamed = conf_digest(project.root)
    assert len({before, added, renamed}) == 3
    (project.root / "conf" / "contract" / "mine.yaml").write_text("columns: {}\n")
    assert conf_digest(project.root) == renamed


@pytest.mark.parametrize("text", ["", "a: [", "seed: 1\n"])
def test_a_broken_params_file_is_named(project, text):
    (project.root / "params.yaml").write_text(text)
    with pytest.raises(ConfigError, match="mlsys compose"):
        load_params(project.root)


def test_dvcs_composition_gives_the_same_file(project):
    """`dvc exp run -S` composes with DVC's own function; `mlsys compose` must agree to the byte."""
    from dvc.utils.hydra import compose_and_dump

    project.compose("privacy.target_epsilon=1")
    ours = (project.root / "params.yaml").read_text()
    import os

    before = os.getcwd()
    os.chdir(project.root)
    try:
        conf = str(project.root / "conf")
        compose_and_dump(project.root / "params.yaml", conf, None, "config", conf, ["privacy.target_epsilon=1"])
    finally:
        os.chdir(before)
    assert (project.root / "params.yaml").read_text() == ours


def test_no_absolute_path_no_clock_and_no_none_reach_params(repo):
    text = (repo / "params.yaml").read_text()
    assert "null" not in text.split() and str(repo) not in text and ": /" not in text


def test_a_misspelt_key_of_a_file_is_named(project):
    path = project.root / "conf" / "data" / "lending.yaml"
    path.write_text(path.read_text().replace("\ntime:", "\ntyme:"))
    with pytest.raises(ConfigError, match="data.time.*'tyme'"):
        project.compose()


@pytest.mark.parametrize("text", ["name: [1", "name: caf\xe9"])
def test_a_broken_file_of_conf_is_a_message(project, text):
    (project.root / "conf" / "split" / "auto.yaml").write_bytes(text.encode("latin-1"))
    done = project.run("compose")
    assert done.returncode == 2 and "Traceback" not in done.stderr
