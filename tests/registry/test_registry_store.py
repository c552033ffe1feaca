"""The registry holds: many processes at once, a kill at any moment, and what people do to text files."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from mlsys.core import ConfigError, GateError, StageError, sha256_of
from mlsys.models.baseline import IfThenRuleClassifier
from mlsys.models.persistence import save_model
from mlsys.registry.log import parse_log, read_log, standing
from mlsys.registry.record import NO_CARD, lineage, make_record, record_faults, record_text, self_hash
from mlsys.registry.store import Registry, add, promote, rollback
from mlsys.registry.verify import verify


def model_file(folder, seed):
    """A real model file that differs from those of other seeds."""
    path = folder / f"rule{seed}.skops"
    save_model(IfThenRuleClassifier().fit(pd.DataFrame({"income": [1.0 + seed, 2.0 + seed, 3.0 + seed, 4.0 + seed]}), [1, 1, 0, 0]), path)
    return path


def record_of(path, *, passes=True, compared_with="", measured=-900.0, name="rule", seed=1):
    """The record of a model file, with one gate."""
    gate = {"gate": "cost_per_1000 <= 0", "kind": "cost", "value": measured, "low": measured - 1, "high": measured + 1, "passes": passes,
            "verdict": "holds" if passes else "fails", "applies": True, "note": ""}  # fmt: skip
    return make_record(lineage({"train rows": path, "code of train": path}, {"seed": seed}, sha256_of(path)), name=name, description="one if-then rule", stage="baseline", problem="binary",
                       classes=["no", "yes"], inputs=["income"], sensitive=[], threshold=0.5, file=path.name, parameters={}, measured={"cost_per_1000": {"value": measured, "low": None, "high": None}},
                       gates=[gate], compared_with=compared_with, card_sha256=NO_CARD)  # fmt: skip


@pytest.fixture
def shelf(tmp_path):
    """A registry with three versions, of which the first is the champion; the second was compared with it, the third fails its gate."""
    registry = Registry(tmp_path)
    versions = []
    for seed, passes in enumerate([True, True, False]):
        path = model_file(tmp_path, seed)
        record = record_of(path, passes=passes, compared_with=versions[0] if versions else "", measured=-900.0 if passes else 300.0)
        add(registry, record, path, by="Ada")
        versions.append(record["version"])
        if seed == 0:
            promote(registry, by="Ada")
    (tmp_path / "dvc.yaml").write_text("stages: {}")
    return registry, versions


def faults_of(registry, but="DVC does not track"):
    """What `verify` finds, without what this folder cannot have."""
    return [fault for fault in verify(registry.root) if but not in fault.what]


def test_a_version_is_what_it_was_made_from(tmp_path):
    path = model_file(tmp_path, 0)
    one, other, data = record_of(path), record_of(path, seed=2), lineage({"train rows": tmp_path / "rule0.skops"}, {"seed": 1}, sha256_of(path))
    assert one["version"] != other["version"] and one["data_hash"] == other["data_hash"] and one["code_digest"] == other["code_digest"] and data["version"] != one["version"]
    assert one["file"] == f"{sha256_of(path)}.skops" and one["sha256"] == self_hash(one)


def test_a_promotion_moves_the_champion_and_a_rollback_moves_it_back(shelf):
    registry, (first, second, _) = shelf
    entry = promote(registry, second, by="Bob", reason="cheaper")
    assert (entry.replaces, registry.alias("champion")) == (first, second)
    assert rollback(registry, by="Bob").version == first == registry.alias("champion")
    assert [item.action for item in registry.log("champion")] == ["promote", "promote", "rollback"] and standing(registry.log("champion")) == [first]
    assert faults_of(registry) == []
    with pytest.raises(ConfigError, match="no earlier champion"):
        rollback(registry, by="Bob")


def test_a_rollback_can_skip_champions_and_goes_only_where_one_was(shelf):
    registry, (first, second, third) = shelf
    promote(registry, second, by="Ada")
    promote(registry, third, by="Ada", override=True, reason="because")
    with pytest.raises(ConfigError, match="version: received"):
        rollback(registry, third, by="Ada")
    assert rollback(registry, first[:6], by="Ada").version == first
    with pytest.raises(ConfigError, match="no earlier champion"):
        rollback(registry, by="Ada")


def test_nothing_is_promoted_by_nobody_or_twice_or_unknown(shelf):
    registry, (first, second, _) = shelf
    for attempt, words in [({"name": first, "by": "Ada"}, "not the champion already"), ({"name": second, "by": " "}, "Say who decides"), ({"name": "zz" + second[2:], "by": "Ada"}, f"Did you mean {second}"),
                           ({"name": "challengr", "by": "Ada"}, "Did you mean challenger"), ({"name": "", "by": "Ada"}, "version: received ''")]:  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            promote(registry, **attempt)
    with pytest.raises(ConfigError, match="no earlier champion"):
        rollback(registry, by="Ada")
    assert registry.alias("champion") == first and len(registry.log("champion")) == 1


def test_a_failed_gate_blocks_until_somebody_overrules_it_by_name(shelf):
    registry, (first, _, third) = shelf
    with pytest.raises(GateError, match=r"cost_per_1000 <= 0 \(fails: measured 300 \(299 to 301\)\)"):
        promote(registry, third, by="Ada")
    with pytest.raises(ConfigError, match="An override needs a reason"):
        promote(registry, third, by="Ada", override=True, reason="  ")
    assert registry.alias("champion") == first
    entry = promote(registry, third, by="Ada", override=True, reason="the old one reads a column that is gone")
    assert entry.override == ("cost_per_1000 <= 0",) and entry.reason.startswith("the old one") and faults_of(registry) == []


def test_a_comparison_with_another_champion_counts_for_nothing(shelf):
    registry, (first, second, third) = shelf
    promote(registry, third, by="Ada", override=True, reason="for now")
    with pytest.raises(GateError, match=f"compared with {first}; the champion is now {third}"):
        promote(registry, second, by="Ada")


def test_a_file_that_is_not_the_one_that_was_judged_is_not_registered(tmp_path):
    path = model_file(tmp_path, 0)
    record = record_of(path)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(StageError, match="not the one that was judged"):
        add(Registry(tmp_path), record, path, by="Ada")


def test_a_tampered_model_is_neither_promoted_nor_loaded_nor_overlooked(shelf):
    registry, (first, second, _) = shelf
    assert registry.load(second).sentence_
    path = registry.model_path(registry.record(second))
    path.write_bytes(path.read_bytes() + b" ")
    for attempt in (lambda: promote(registry, second, by="Ada"), lambda: registry.load(second)):
        with pytest.raises(StageError, match="do not use it"):
            attempt()
    found = faults_of(registry)
    assert len(found) == 1 and "not the file that was registered" in found[0].what and path.name in found[0].file
    path.unlink()
    with pytest.raises(StageError, match="dvc pull"):
        promote(registry, second, by="Ada")
    assert registry.alias("champion") == first


def test_a_type_that_nobody_vouches_for_is_named(shelf):
    """A file whose hash was registered, by somebody who meant harm or knew no better."""
    import skops.io
    from sklearn.base import BaseEstimator

    registry, (first, _, _) = shelf
    strange = type("MoonPhase", (BaseEstimator,), {"__module__": "moon.phase"})
    path = registry.root / "moon.skops"
    sys.modules["moon"] = sys.modules["moon.phase"] = type(sys)("moon.phase")
    sys.modules["moon.phase"].MoonPhase = strange
    try:
        path.write_bytes(skops.io.dumps(strange()))
        record = record_of(path, compared_with=first, name="moon")
        add(registry, record, path, by="Eve")
        with pytest.raises(StageError, match="moon.phase.MoonPhase"):
            registry.load(record["version"])
        assert any("moon.phase.MoonPhase" in fault.what for fault in faults_of(registry))
    finally:
        del sys.modules["moon"], sys.modules["moon.phase"]


EDITS = {
    "a figure made better": lambda text: text.replace("-900.0", "-999.0", 1),
    "a gate that passes after all": lambda text: text.replace('"passes": true', '"passes": false'),
    "a key that nobody knows": lambda text: text.replace('"name"', '"nome"'),
    "a value of another type": lambda text: text.replace('"threshold": 0.5', '"threshold": "half"'),
    "a verdict that is none": lambda text: text.replace('"holds"', '"fine"'),
    "half a file": lambda text: text[: len(text) // 2],
    "no record at all": lambda text: "[]\n",
    "nothing": lambda text: "",
    "another version's name": lambda text: text.replace('"version": "', '"version": "0', 1),
    "a hash that leads elsewhere": lambda text: text.replace('"file": "', '"file": "../', 1),
    "bytes that are no text": lambda text: "\udcff\udcfe",
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_record_edited_by_hand_is_refused_with_file_line_and_cure(shelf, edit):
    registry, (_, second, _) = shelf
    path = registry.folder / "versions" / f"{second}.json"
    text = EDITS[edit](path.read_text())
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    found = faults_of(registry)
    assert found and found[0].file == f"registry/versions/{second}.json" and "git checkout" in found[0].cure
    assert found[0].line > 0 or edit in ("no record at all", "a key that nobody knows")
    with pytest.raises(ConfigError, match=f"registry/versions/{second}.json"):
        promote(registry, second, by="Ada")


def test_a_record_that_is_forged_with_its_hash_is_found_by_the_log(shelf):
    registry, (first, _, _) = shelf
    path = registry.folder / "versions" / f"{first}.json"
    forged = json.loads(path.read_text()) | {"description": "a wonder"}
    forged["sha256"] = self_hash(forged)
    path.write_text(record_text(forged))
    assert record_faults(path.read_text(), path.name)[1] == []
    assert "no decision names this record" in faults_of(registry)[0].what


LINES = {
    "no JSON": lambda lines: [lines[0], "{oops", *lines[2:]],
    "a list": lambda lines: [lines[0], "[1, 2]", *lines[2:]],
    "one left out": lambda lines: [lines[0], *lines[2:]],
    "two swapped": lambda lines: [lines[0], lines[2], lines[1]],
    "one twice": lambda lines: [lines[0], lines[0], *lines[1:]],
    "another name": lambda lines: [lines[0], lines[1].replace('"Ada"', '"Eve"'), lines[2]],
    "an override taken out": lambda lines: [lines[0], lines[1], lines[2][: lines[2].index('"override": [')] + '"override": []' + lines[2][lines[2].index('], "previous"') + 1 :]],
    "a merge": lambda lines: [lines[0], "<<<<<<< HEAD", lines[1], "=======", lines[2], ">>>>>>> other"],
    "an empty line": lambda lines: [lines[0], "", *lines[1:]],
}


@pytest.mark.parametrize("edit", LINES)
def test_a_history_edited_by_hand_is_refused_with_file_line_and_cure(shelf, edit):
    registry, (_, second, third) = shelf
    promote(registry, second, by="Ada")
    promote(registry, third, by="Ada", override=True, reason="because")
    path = registry.alias_path("champion")
    path.write_text("".join(line + "\n" for line in LINES[edit](path.read_text().splitlines())))
    found = faults_of(registry)
    wrong = 3 if edit == "an override taken out" else 2
    assert found[0].file == "registry/aliases/champion.jsonl" and found[0].line == wrong and "git checkout" in found[0].cure
    with pytest.raises(ConfigError, match=f"champion.jsonl, line {wrong}"):
        promote(registry, second, by="Ada")


def test_a_history_cut_short_is_found_by_git(shelf):
    registry, (_, second, _) = shelf
    promote(registry, second, by="Ada")
    for command in (["init", "-q"], ["add", "registry"], ["-c", "user.name=a", "-c", "user.email=b", "commit", "-qm", "promoted"]):
        subprocess.run(["git", *command], cwd=registry.root, check=True)
    path = registry.alias_path("champion")
    path.write_text(path.read_text().splitlines()[0] + "\n")
    assert read_log(path)[-1].version != second
    found = faults_of(registry)
    assert found[0].line == 2 and "only ever grows" in found[0].what


def test_a_promotion_that_nobody_overruled_is_found(shelf):
    """Written past the command, with a chain that holds."""
    from mlsys.registry.log import append

    registry, (_, _, third) = shelf
    record = registry.record(third)
    append(registry.alias_path("champion"), registry.log("champion"), action="promote", version=third, record=record["sha256"], by="Eve", at="2026-07-01T09:00:00Z")
    assert "nobody overruled it" in faults_of(registry)[0].what


ACT = """
import sys
from pathlib import Path
from mlsys.core import MlsysError
from mlsys.registry.store import Registry, promote, rollback
registry, versions, seed = Registry(Path(sys.argv[1])), sys.argv[3:], int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
done = 0
for number in range(12):
    try:
        promote(registry, versions[(seed + number) % len(versions)], by=f"process {seed}", override=True, reason=f"round {number}")
        done += 1
    except MlsysError as error:
        assert "not the champion already" in str(error), error
print(done, flush=True)
"""


def start(registry, seed, versions):
    """A process that promotes again and again once it is told to."""
    process = subprocess.Popen([sys.executable, "-c", ACT, str(registry.root), str(seed), *versions], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    return process


def test_many_processes_at_once_lose_no_decision(shelf):
    registry, versions = shelf
    processes = [start(registry, seed, versions) for seed in range(6)]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=120) for process in processes]
    done = [int(out) for out, _ in said]
    entries, found = parse_log(registry.alias_path("champion").read_text(), "champion.jsonl")
    assert not found and len(entries) == 1 + sum(done) and sum(done) > 12
    assert faults_of(registry) == [] and all(entry.version != entry.replaces for entry in entries)


def test_of_two_that_were_compared_with_the_same_champion_one_is_promoted(shelf):
    registry, (first, second, _) = shelf
    path = model_file(registry.root, 9)
    other = record_of(path, compared_with=first)
    add(registry, other, path, by="Ada")
    program = ("import sys; from pathlib import Path; from mlsys.registry.store import Registry, promote; from mlsys.core import GateError\n"
               "try: promote(Registry(Path(sys.argv[1])), sys.argv[2], by='x'); print('promoted')\nexcept GateError as error: print('refused' if 'the champion is now' in str(error) else error)")  # fmt: skip
    processes = [subprocess.Popen([sys.executable, "-c", program, str(registry.root), version], stdout=subprocess.PIPE, text=True) for version in (second, other["version"])]
    assert sorted(process.communicate(timeout=60)[0].strip() for process in processes) == ["promoted", "refused"]
    assert len(registry.log("champion")) == 2


def test_a_kill_at_any_moment_leaves_a_whole_registry(shelf):
    """A process that promotes without end is killed at a random moment, many times; whoever comes next finds a champion and can go on."""
    registry, versions = shelf
    rng = random.Random(5)
    for trial in range(12):
        before = registry.log("champion")
        process = start(registry, trial, versions)
        process.stdin.write("\n")
        process.stdin.flush()
        time.sleep(rng.uniform(0, 0.06))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)
        after = registry.log("champion")
        assert after[: len(before)] == before and after[-1].version in versions and faults_of(registry) == []
    entry = rollback(registry, by="Ada") if len(standing(registry.log("champion"))) > 1 else promote(registry, versions[1], by="Ada", override=True, reason="go on")
    assert registry.alias("champion") == entry.version and not list(registry.folder.rglob(".*.partial"))


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_promotion_that_dies_before_the_last_step_leaves_the_old_champion(shelf, step):
    """The process ends itself inside the write, before each of its steps in turn."""
    registry, (first, second, _) = shelf
    program = """
import os, sys
from pathlib import Path
import mlsys.registry.log as log
from mlsys.registry.store import Registry, promote
step = sys.argv[3]
die = lambda *_: os.kill(os.getpid(), 9)
if step == "write":
    log.open = lambda path, mode="r", **kwargs: die() if mode == "wb" else open(path, mode, **kwargs)
else:
    setattr(os, step, die)
promote(Registry(Path(sys.argv[1])), sys.argv[2], by="x")
"""
    done = subprocess.run([sys.executable, "-c", program, str(registry.root), second, step], capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert registry.alias("champion") == first and faults_of(registry) == []
    assert promote(registry, second, by="Ada").replaces == first


@pytest.mark.parametrize("step", [1, 2, 3])
def test_an_add_that_dies_can_be_done_again(shelf, step):
    registry, (first, _, _) = shelf
    path = model_file(registry.root, 7)
    record = record_of(path, compared_with=first)
    (registry.root / "record.json").write_text(record_text(record))
    program = """
import json, os, sys
from pathlib import Path
import mlsys.registry.log as log
from mlsys.registry.store import Registry, add
root, step, count, replace = Path(sys.argv[1]), int(sys.argv[2]), 0, os.replace
def counted(source, target):
    global count
    count += 1
    os.kill(os.getpid(), 9) if count == step else replace(source, target)
os.replace = counted
add(Registry(root), json.loads((root / "record.json").read_text()), root / "rule7.skops", by="x")
"""
    done = subprocess.run([sys.executable, "-c", program, str(registry.root), str(step)], capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert registry.alias("champion") == first and registry.alias("challenger") != record["version"]
    assert add(registry, record, path, by="Ada").version == record["version"] == registry.alias("challenger") and faults_of(registry) == []
    assert add(registry, record, path, by="Ada").number == registry.log("challenger")[-1].number, "the same again adds nothing"
