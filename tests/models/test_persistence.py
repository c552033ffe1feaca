"""Model files: the same model, the same bytes; anything else is refused."""

import json
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression

from mlsys.core import ConfigError, StageError
from mlsys.data.roles import Roles
from mlsys.models import persistence
from mlsys.models.baseline import ConstantClassifier, IfThenRuleClassifier
from mlsys.models.boosted import make_boosted
from mlsys.models.calibrate import CalibratedClassifier
from mlsys.models.linear import make_logistic
from mlsys.models.network import make_network
from mlsys.models.persistence import TRUSTED, load_model, load_models, save_model, save_models, trust

ROLES = Roles(target="y", positive_label="1", negative_label="0", numeric=["age"], categorical=["job"])


class Guess(ClassifierMixin, BaseEstimator):
    """A classifier that nobody vouched for."""

    def predict(self, X):
        return np.zeros(len(X))


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.integers(18, 80, 300).astype(float), "job": rng.choice(["clerk", "smith"], 300)})
    frame.loc[:20, "age"] = np.nan
    frame.loc[10:30, "job"] = None
    return frame, (rng.random(300) < np.where(frame["job"] == "smith", 0.7, 0.2)).astype(int)


MAKERS = {
    "constant": ConstantClassifier,
    "rule": IfThenRuleClassifier,
    "logistic": lambda: make_logistic(ROLES),
    "boosted": lambda: make_boosted(ROLES, max_iter=15),
    "calibrated": lambda: CalibratedClassifier(make_boosted(ROLES, max_iter=15), "sigmoid"),
    "network": lambda: make_network(ROLES, hidden=(4,), epochs=1),
    "calibrated network": lambda: CalibratedClassifier(make_network(ROLES, hidden=(4,), epochs=1), "isotonic"),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_model_comes_back_as_it_was(name, table, tmp_path):
    frame, y = table
    model = MAKERS[name]().fit(frame, y)
    again = load_model(tmp_path / "m.skops", save_model(model, tmp_path / "m.skops"))
    assert np.array_equal(model.predict_proba(frame), again.predict_proba(frame))
    assert type(again) is type(model)


@pytest.mark.parametrize("name", MAKERS)
def test_equal_models_give_equal_bytes(name, table, tmp_path):
    frame, y = table
    hashes = {save_model(MAKERS[name]().fit(frame, y), tmp_path / f"{run}.skops") for run in range(3)}
    assert len(hashes) == 1
    assert len({(tmp_path / f"{run}.skops").read_bytes() for run in range(3)}) == 1
    assert save_model(MAKERS[name]().fit(frame, 1 - y), tmp_path / "other.skops") not in hashes


def test_another_process_writes_the_same_bytes(table, tmp_path):
    """Addresses in memory and the order of hashing differ between processes; the file does not."""
    script = (
        "import sys, numpy as np\n"
        "from sklearn.linear_model import LogisticRegression\n"
        "from mlsys.models.persistence import save_model\n"
        "X = np.arange(40.0).reshape(20, 2)\n"
        "print(save_model(LogisticRegression().fit(X, np.arange(20) % 2), sys.argv[1]))\n"
    )
    hashes = set()
    for seed in ("1", "2"):
        command = [sys.executable, "-c", script, str(tmp_path / f"{seed}.skops")]
        done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONHASHSEED": seed, "PATH": ""}, timeout=120)
        assert done.returncode == 0, done.stderr
        hashes.add(done.stdout.strip())
    assert len(hashes) == 1


def test_a_changed_file_is_not_opened(table, tmp_path, monkeypatch):
    digest = save_model(ConstantClassifier().fit(*table), tmp_path / "m.skops")
    content = bytearray((tmp_path / "m.skops").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "m.skops").write_bytes(bytes(content))
    monkeypatch.setattr(skops.io, "loads", lambda *_, **__: pytest.fail("the content was read before the hash was checked"))
    with pytest.raises(StageError, match="is not the one that was saved: do not use it") as caught:
        load_model(tmp_path / "m.skops", digest)
    assert digest in str(caught.value) and "m.skops" in str(caught.value)


def test_a_model_put_in_place_of_another_is_not_opened(table, tmp_path):
    digest = save_model(ConstantClassifier().fit(*table), tmp_path / "m.skops")
    save_model(IfThenRuleClassifier().fit(*table), tmp_path / "m.skops")
    with pytest.raises(StageError, match="SHA-256"):
        load_model(tmp_path / "m.skops", digest)


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(ConfigError, match="model file: received .*gone.skops.*No such file"):
        load_model(tmp_path / "gone.skops", "0" * 64)
    with pytest.raises(ConfigError, match="a file that can be read"):
        load_model(tmp_path, "0" * 64)


@pytest.mark.parametrize("digest", ["", "abc", "G" * 64, None, "A" * 64])
def test_a_hash_is_always_asked_for(digest, tmp_path):
    with pytest.raises(ConfigError, match="64 hexadecimal digits"):
        load_model(tmp_path / "m.skops", digest)


@pytest.mark.parametrize("content", [b"", b"not a model", b"PK\x03\x04 but broken"])
def test_a_file_that_is_no_model_says_so(content, tmp_path):
    import hashlib

    (tmp_path / "m.skops").write_bytes(content)
    with pytest.raises(StageError, match="a skops file"):
        load_model(tmp_path / "m.skops", hashlib.sha256(content).hexdigest())


def test_a_pickle_is_never_opened(tmp_path):
    import hashlib
    import pickle

    class Boom:
        def __reduce__(self):
            return (pytest.fail, ("the pickle ran",))

    content = pickle.dumps(Boom())
    (tmp_path / "m.skops").write_bytes(content)
    with pytest.raises(StageError, match="a skops file"):
        load_model(tmp_path / "m.skops", hashlib.sha256(content).hexdigest())


def test_a_type_that_nobody_vouched_for_is_neither_written_nor_read(table, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="Guess.*trust"):
        save_model(Guess(), tmp_path / "m.skops")
    assert not (tmp_path / "m.skops").exists()
    monkeypatch.setattr(persistence, "_registered", set())
    trust(Guess)
    digest = save_model(Guess(), tmp_path / "m.skops")
    assert isinstance(load_model(tmp_path / "m.skops", digest), Guess)
    persistence._registered.clear()
    with pytest.raises(StageError, match="Guess"):
        load_model(tmp_path / "m.skops", digest)


def test_a_file_cannot_vouch_for_itself(table, tmp_path):
    """A schema that names another function is refused, although its hash is right."""
    import hashlib

    save_model(ConstantClassifier().fit(*table), tmp_path / "m.skops")
    with zipfile.ZipFile(tmp_path / "m.skops") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(parts["schema.json"])
    schema["__module__"], schema["__class__"] = "os", "system"
    with zipfile.ZipFile(tmp_path / "evil.skops", "w") as archive:
        for name, part in (parts | {"schema.json": json.dumps(schema).encode()}).items():
            archive.writestr(name, part)
    digest = hashlib.sha256((tmp_path / "evil.skops").read_bytes()).hexdigest()
    with pytest.raises(StageError, match="trusted types only"):
        load_model(tmp_path / "evil.skops", digest)


def test_the_list_of_trusted_types_is_short_and_names_real_things():
    import importlib

    for name in TRUSTED:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute)
    assert len(TRUSTED) == 13


def test_everything_that_a_model_file_may_hold_is_pinned(repo):
    """Whoever lets model files hold one more type of mlsys changes trusted_types.txt, where a reviewer sees it."""
    script = ("import pkgutil, importlib, mlsys, warnings; warnings.simplefilter('ignore')\n"
              "for package in ('models', 'evaluate', 'fairness', 'privacy', 'registry'):\n"
              "    folder = importlib.import_module(f'mlsys.{package}')\n"
              "    for module in pkgutil.iter_modules(folder.__path__): importlib.import_module(f'mlsys.{package}.{module.name}')\n"
              "from mlsys.models import persistence; print('\\n'.join(sorted({*persistence.TRUSTED, *persistence._registered})))")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=180, cwd=repo)
    assert done.returncode == 0, done.stderr
    pinned = (repo / "tests/models/trusted_types.txt").read_text().split()
    assert done.stdout.split() == pinned, "a type was added or taken away: change tests/models/trusted_types.txt with it"


def test_only_importable_classes_can_be_trusted():
    class Local(BaseEstimator):
        pass

    for wrong in (Local, LogisticRegression(), "os.system"):
        with pytest.raises(ConfigError, match="a class defined at the top of a module"):
            trust(wrong)


def test_a_failed_save_leaves_the_old_file(table, tmp_path):
    digest = save_model(ConstantClassifier().fit(*table), tmp_path / "m.skops")
    with pytest.raises(ConfigError):
        save_model(Guess(), tmp_path / "m.skops")
    assert load_model(tmp_path / "m.skops", digest).rate_ == table[1].mean()


def test_an_index_holds_several_models(table, tmp_path):
    models = {name: maker().fit(*table) for name, maker in MAKERS.items()}
    records = save_models(models, tmp_path / "models.json", {name: f"about {name}" for name in models})
    loaded = load_models(tmp_path / "models.json")
    assert set(loaded) == set(models) == set(records)
    assert json.loads((tmp_path / "models.json").read_text()) == records
    assert loaded["rule"].sentence_ == models["rule"].sentence_
