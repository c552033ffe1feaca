"""The network: scikit-learn's contract, the same bytes from the same seed, and no torch to answer."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from sklearn.utils.estimator_checks import parametrize_with_checks

from mlsys.core import ConfigError, StageError
from mlsys.data.roles import Roles
from mlsys.models.network import NetworkClassifier, NetworkRegressor, make_network, network_outputs
from mlsys.models.persistence import load_model, load_models, save_model, save_models

QUICK = {"hidden": (8,), "epochs": 2, "min_steps": 60, "learning_rate": 0.02, "weight_decay": 0.1}


@parametrize_with_checks([NetworkClassifier(hidden=(16,), epochs=5, min_steps=300, learning_rate=0.02, weight_decay=0.01), NetworkRegressor(hidden=(16,), epochs=5, min_steps=300, learning_rate=0.02, weight_decay=0.01)])
@pytest.mark.filterwarnings("ignore")  # scikit-learn's checks provoke warnings on purpose
def test_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=600), "z": rng.normal(size=600), "kind": rng.choice(["a", "b"], 600), "one": 1.0})
    frame.loc[:30, "x"] = np.nan
    return frame.assign(y=((frame["x"].fillna(0) * frame["z"]) > 0).astype(int))


ROLES = Roles("y", "1", "0", numeric=["x", "z", "one"], categorical=["kind"])


def test_numpy_answers_what_torch_would():
    import torch

    rng = np.random.default_rng(1)
    X, weights = rng.normal(size=(50, 3)), [rng.normal(size=shape).astype(np.float32) for shape in ((3, 5), (5,), (5, 2), (2,))]
    layers = [torch.from_numpy(layer).double() for layer in weights]
    expected = torch.relu(torch.from_numpy(X) @ layers[0] + layers[1]) @ layers[2] + layers[3]
    np.testing.assert_allclose(network_outputs(X, weights), expected.numpy(), rtol=1e-10)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(table):
    one, two, other = (NetworkClassifier(**QUICK, random_state=seed).fit(table[["z"]], table["y"]) for seed in (3, 3, 4))
    assert all(np.array_equal(first, second) for first, second in zip(one.weights_, two.weights_, strict=True))
    assert not np.array_equal(one.weights_[0], other.weights_[0])


def test_the_number_of_threads_changes_nothing(table):
    import torch

    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(NetworkClassifier(**QUICK).fit(table[["z"]], table["y"]).weights_[0])
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(*found)


@pytest.mark.parametrize("problem", ["binary", "multiclass", "regression"])
def test_a_model_comes_back_without_torch(problem, table, tmp_path):
    roles = {"binary": ROLES, "multiclass": Roles("y", "", "", numeric=["x", "z"], problem="multiclass", classes=["a", "b", "c"]),
             "regression": Roles("y", "", "", numeric=["x", "z"], problem="regression")}[problem]
    y = {"binary": table["y"], "multiclass": table.index.to_series() % 3, "regression": table["z"] * 3}[problem]
    model = make_network(roles, hidden=[4], epochs=2).fit(table[roles.features], y)
    records = save_models({"network": model}, tmp_path / "models.json", {"network": "a network"})
    assert records["network"]["format"] == "safetensors" and records["network"]["file"] == "network.safetensors"
    tensors = load_file(tmp_path / "network.safetensors")
    assert {"network.0.0", "network.0.3", "skops"} <= set(tensors) and tensors["network.0.0"].shape[1] == 4
    expected = (model.predict if problem == "regression" else model.predict_proba)(table[roles.features])
    again = load_models(tmp_path / "models.json")["network"]
    assert np.array_equal((again.predict if problem == "regression" else again.predict_proba)(table[roles.features]), expected)
    assert save_model(model, tmp_path / "twice.safetensors") == records["network"]["sha256"]  # saving changes nothing in the model
    table[roles.features].to_parquet(tmp_path / "table.parquet")
    script = ("import sys, pandas; from mlsys.models.persistence import load_models; "
              f"m = load_models(r'{tmp_path / 'models.json'}')['network']; m.predict(pandas.read_parquet(r'{tmp_path / 'table.parquet'}')); "
              "assert 'torch' not in sys.modules, 'torch was loaded to answer'")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_changed_weights_are_not_opened(table, tmp_path):
    path = tmp_path / "network.safetensors"
    digest = save_model(NetworkClassifier(**QUICK).fit(table[["z"]], table["y"]), path)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(StageError, match="is not the one that was saved"):
        load_model(path, digest)


def test_an_untrusted_type_beside_the_weights_is_named(table, tmp_path):
    """Safetensors hold only numbers, but the rest of the model lies beside them: it is refused like any other file."""
    import hashlib
    import io
    import json
    import zipfile

    from safetensors.numpy import save

    path = tmp_path / "network.safetensors"
    save_model(NetworkClassifier(**QUICK).fit(table[["z"]], table["y"]), path)
    tensors = load_file(path)
    with zipfile.ZipFile(io.BytesIO(tensors["skops"].tobytes())) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(parts["schema.json"])
    schema["__module__"], schema["__class__"] = "os", "system"
    evil = io.BytesIO()
    with zipfile.ZipFile(evil, "w") as archive:
        for name, part in (parts | {"schema.json": json.dumps(schema).encode()}).items():
            archive.writestr(name, part)
    path.write_bytes(save(tensors | {"skops": np.frombuffer(evil.getvalue(), dtype=np.uint8)}))
    with pytest.raises(StageError, match=r"os\.system.*trusted types only"):
        load_model(path, hashlib.sha256(path.read_bytes()).hexdigest())


def test_safetensors_without_a_model_are_no_model(tmp_path):
    import hashlib

    from safetensors.numpy import save

    for content in (save({"a": np.zeros(3)}), save({"a.b.c": np.zeros(3), "skops": np.zeros(4, dtype=np.uint8)}), b"\x08\x00\x00\x00\x00\x00\x00\x00{}"):
        (tmp_path / "m").write_bytes(content)
        with pytest.raises(StageError, match="a skops file, or safetensors with one in it"):
            load_model(tmp_path / "m", hashlib.sha256(content).hexdigest())


def test_one_class_constant_columns_and_weights_of_zero():
    X = np.ones((40, 2))
    with pytest.raises(ConfigError, match="one class only"):
        NetworkClassifier(**QUICK).fit(X, np.ones(40))
    model = NetworkClassifier(**QUICK).fit(X, np.arange(40) % 4 == 0)
    assert abs(model.predict_proba(X)[:, 1] - 0.25).max() < 0.1  # nothing to see but the base rate
    model.weights_ = [np.zeros_like(layer) for layer in model.weights_]
    assert (model.predict_proba(X) == 0.5).all()
    assert np.isfinite(NetworkRegressor(**QUICK).fit(X, np.full(40, 7.0)).predict(X)).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"epochs": 0}, "epochs"), ({"learning_rate": 0}, "learning_rate"), ({"weight_decay": -1}, "weight_decay"), ({"hidden": (0,)}, "hidden"), ({"batch_size": 2.5}, "batch_size")],
)
def test_settings_are_checked_when_fitting(settings, words):
    with pytest.raises(ConfigError, match=words):
        NetworkClassifier(**settings).fit(np.eye(4), [0, 1, 0, 1])
