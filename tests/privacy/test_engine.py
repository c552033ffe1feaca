"""Opacus' engine with refusals: what it refuses, the trap, several processes, physical batches."""

import json
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from opacus.utils.batch_memory_manager import BatchMemoryManager
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from mlsys.core import ConfigError
from mlsys.privacy.accounting import PrivacyWarning, epsilon_spent
from mlsys.privacy.engine import StrictPrivacyEngine, check_loader

pytestmark = [pytest.mark.filterwarnings("ignore::mlsys.privacy.accounting.PrivacyWarning"), pytest.mark.filterwarnings("ignore:Full backward hook is firing")]
LOSS = torch.nn.functional.binary_cross_entropy_with_logits


def table(count=60, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(5 * torch.randn(count, 3, generator=generator), (torch.rand(count, 1, generator=generator) > 0.5).float())


def made(dataset, *, noise=0.0, bound=0.1, engine=None, model=None, loader=None, **options):
    torch.manual_seed(1)
    model = model or torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    engine = engine or StrictPrivacyEngine()
    return model, engine, engine.make_private(module=model, optimizer=optimizer, data_loader=loader or DataLoader(dataset, batch_size=20), noise_multiplier=noise, max_grad_norm=bound, **options)


class Growing(Dataset):
    def __init__(self, items):
        self.items = list(items)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, place):
        return self.items[place]


@pytest.mark.parametrize("loader, words", [
    (lambda data: DataLoader(data, batch_size=20, sampler=WeightedRandomSampler([1.0] * 60, 60)), "received 'WeightedRandomSampler'.*epsilon would be counted for a rate that is not theirs"),
    (lambda data: DataLoader(data, batch_size=20, sampler=SubsetRandomSampler(range(30))), "received 'SubsetRandomSampler'"),
    (lambda data: DataLoader(data, batch_sampler=[[0, 1], [2, 3]]), "received 'list'"),
    (lambda data: DataLoader(data, batch_sampler=type("Own", (BatchSampler,), {})(SequentialSampler(data), 20, False)), "received 'Own'"),
    (lambda data: DataLoader(data, batch_size=20, sampler=RandomSampler(data, replacement=True)), "with replacement"),
    (lambda data: DataLoader(data, batch_size=20, sampler=RandomSampler(data, num_samples=20)), "num_samples"),
    (lambda data: DataLoader(data, batch_size=61), "data_loader.batch_size: received 61; allowed: at most 60.*no noise hides that"),
    (lambda data: [(data.tensors[0], data.tensors[1])], "received 'list'; allowed: a torch DataLoader"),
])
def test_loaders_that_are_not_sampled_as_accounted_are_refused(loader, words):
    data = table()
    with pytest.raises(ConfigError, match=words):
        made(data, loader=loader(data))


def test_plain_loaders_go_through():
    assert check_loader(DataLoader(table(), batch_size=60)) == check_loader(DataLoader(table(), batch_size=60, shuffle=True)) == 60


def test_no_poisson_sampling_and_a_second_call_are_refused():
    data = table()
    with pytest.raises(ConfigError, match="poisson_sampling: received False; allowed: True"):
        made(data, poisson_sampling=False)
    _, engine, (private, optimizer, loader) = made(data)
    with pytest.raises(ConfigError, match="make_private: received 'a second call'"):
        made(data, engine=engine)
    for wrapped in ({"module": private, "optimizer": torch.optim.SGD(private.parameters(), lr=0.1)}, {"module": torch.nn.Linear(3, 1), "optimizer": optimizer}):
        with pytest.raises(ConfigError, match="make_private: received 'a second call'"):
            StrictPrivacyEngine().make_private(**wrapped, data_loader=DataLoader(data, batch_size=20), noise_multiplier=1.0, max_grad_norm=1.0)


def test_a_table_that_grew_is_refused():
    data = Growing(table())
    _, _, (_, _, loader) = made(data)
    assert len(list(loader)) == 3
    data.items.append(data.items[0])
    with pytest.raises(ConfigError, match="rows of the data set: received 61; allowed: 60, as when it was made private"):
        list(loader)


def test_the_generator_is_warned_of():
    with pytest.warns(PrivacyWarning, match="not cryptographic"):
        StrictPrivacyEngine()
    assert StrictPrivacyEngine(secure=True).secure


def slow_sum(model, rows, outcomes, bound):
    total = 0.0
    for row, outcome in zip(rows.split(1), outcomes.split(1), strict=True):
        own = torch.cat([part.ravel() for part in torch.autograd.grad(LOSS(model(row), outcome, reduction="sum"), list(model.parameters()))])
        total = total + own * min(1.0, float(bound / (own.norm() + 1e-6)))
    return total


class Flat(torch.nn.BCEWithLogitsLoss):
    "The usual loss, of the shape (B,)."

    def forward(self, outputs, outcomes):
        return super().forward(outputs.squeeze(1), outcomes.squeeze(1))


@pytest.mark.parametrize("mode", ["hooks", "ghost"])
@pytest.mark.parametrize("criterion", [torch.nn.BCEWithLogitsLoss, Flat], ids=["losses (B, 1)", "losses (B,)"])
def test_both_modes_clip_whatever_the_shape_of_the_losses(criterion, mode):
    "Opacus by itself clips nothing here in ghost mode with losses (B, 1)."
    data = table(20)
    rows, outcomes = data.tensors
    options = {"grad_sample_mode": mode, "criterion": criterion(reduction="sum"), "loss_reduction": "sum"} if mode == "ghost" else {"loss_reduction": "sum"}
    torch.manual_seed(7)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 1))
    expected = slow_sum(model, rows, outcomes, 0.1)
    _, _, (private, optimizer, *rest) = made(data, model=model, **options)
    loss = rest[0] if mode == "ghost" else criterion(reduction="sum")
    before = torch.cat([parameter.detach().ravel() for parameter in model.parameters()])
    loss(private(rows), outcomes).backward()
    optimizer.step()
    moved = (before - torch.cat([parameter.detach().ravel() for parameter in model.parameters()])) / 0.1
    assert moved.norm() <= 20 * 0.1 * (1 + 1e-5)
    assert torch.allclose(moved, expected, atol=1e-4)


def test_a_loss_of_pairs_is_refused_in_ghost_mode():
    data = table(20)
    rows, _ = data.tensors
    _, _, (private, _, criterion, _) = made(data, grad_sample_mode="ghost", criterion=torch.nn.MSELoss())
    with pytest.warns(UserWarning, match="target size"), pytest.raises(ConfigError, match="loss: received 'shape .20, 20. for 20 rows'"):
        criterion(private(rows), torch.zeros(20))


def steps(private, optimizer, loader):
    for rows, outcomes in loader:
        optimizer.zero_grad()
        LOSS(private(rows), outcomes).backward()
        optimizer.step()


def test_the_divisor_does_not_follow_the_number_of_rows():
    divisors = [made(table(count))[2][1].expected_batch_size for count in (60, 61, 79)]
    assert divisors == [20.0] * 3


@pytest.mark.parametrize("secure", [False, True])
def test_steps_and_noise_are_those_that_are_accounted(secure):
    data = table(1000)
    model = torch.nn.Linear(3, 1)
    _, engine, (private, optimizer, loader) = made(data, noise=1.5, model=model, engine=StrictPrivacyEngine(secure=secure), loader=DataLoader(data, batch_size=100))
    for _ in range(2):
        steps(private, optimizer, loader)
    assert engine.accountant.history == [(1.5, 0.1, 20)]
    assert engine.get_epsilon(1e-5) == pytest.approx(epsilon_spent(noise_multiplier=1.5, sample_rate=0.1, steps=20, delta=1e-5), rel=0.01)


@pytest.mark.parametrize("secure", [False, True])
def test_the_noise_has_its_size(secure):
    data = TensorDataset(torch.zeros(10, 40_000), torch.zeros(10, 1))
    model = torch.nn.Linear(40_000, 1)
    _, _, (private, optimizer, loader) = made(data, noise=2.0, bound=0.5, model=model, engine=StrictPrivacyEngine(secure=secure), loader=DataLoader(data, batch_size=10))
    steps(private, optimizer, loader)
    assert float(model.weight.grad.std()) == pytest.approx(2.0 * 0.5 / 10, rel=0.03)


def test_physical_batches_are_one_step():
    "Larger than memory: Opacus' BatchMemoryManager on our sampler gives the step of the whole batch."
    weights = []
    for most in (None, 7):
        data = table()
        model, engine, (private, optimizer, loader) = made(data, bound=1.0)
        if most is None:
            steps(private, optimizer, loader)
        else:
            with BatchMemoryManager(data_loader=loader, max_physical_batch_size=most, optimizer=optimizer) as small:
                steps(private, optimizer, small)
        assert engine.accountant.history == [(0.0, 1 / 3, 3)]
        weights.append(torch.cat([parameter.detach().ravel() for parameter in model.parameters()]))
    assert torch.allclose(*weights, atol=1e-6)


WORKER = """
import json, sys, warnings
import torch
warnings.simplefilter("ignore")
from opacus.distributed import DifferentiallyPrivateDistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from mlsys.core import ConfigError
from mlsys.privacy.engine import StrictPrivacyEngine
rank, port, same, size = (int(value) for value in sys.argv[1:])
torch.set_num_threads(1)
torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
torch.manual_seed(3 if same else 3 + rank)
generator = torch.Generator().manual_seed(0)
data = TensorDataset(torch.randn(120, 3, generator=generator), (torch.rand(120, 1, generator=generator) > 0.5).float())
model = DifferentiallyPrivateDistributedDataParallel(torch.nn.Linear(3, 1))
optimizer, engine = torch.optim.SGD(model.parameters(), lr=0.1), StrictPrivacyEngine()
try:
    private, optimizer, loader = engine.make_private(module=model, optimizer=optimizer, data_loader=DataLoader(data, batch_size=size), noise_multiplier=1.2, max_grad_norm=1.0)
except ConfigError as error:
    print(json.dumps({"refused": str(error)}))
    sys.exit()
seen = 0
for _ in range(3):
    for rows, outcomes in loader:
        seen += len(rows)
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(private(rows), outcomes).backward()
        optimizer.step()
print(json.dumps({"history": engine.accountant.history, "epsilon": engine.get_epsilon(1e-5), "weights": model.module.weight.tolist(), "seen": seen, "divisor": optimizer.expected_batch_size}))
torch.distributed.destroy_process_group()
"""


def two_processes(same, size):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = [subprocess.Popen([sys.executable, "-c", WORKER, str(rank), str(port), str(int(same)), str(size)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for rank in range(2)]
    try:
        ended = [process.communicate(timeout=100) for process in running]
    finally:
        for process in running:
            process.kill()
    assert all(process.returncode == 0 for process in running), ended
    return [json.loads(out.strip().splitlines()[-1]) for out, _ in ended]


@pytest.mark.parametrize("size", [30, 2], ids=["usual", "many empty steps"])
def test_two_processes_count_as_one_does(size):
    first, second = two_processes(same=False, size=size)
    assert first["history"] == second["history"] == [[1.2, 1 / (120 // size), 3 * 120 // size]]
    alone = epsilon_spent(noise_multiplier=1.2, sample_rate=size / 120, steps=3 * 120 // size, delta=1e-5)
    assert first["epsilon"] == second["epsilon"] == pytest.approx(alone, rel=0.01)
    assert first["weights"] == second["weights"] and first["divisor"] == size / 2
    assert abs(first["seen"] + second["seen"] - 360) < 6 * np.sqrt(360)


def test_two_processes_of_one_seed_are_refused():
    assert all("seed: received 'the same in two processes'" in told["refused"] for told in two_processes(same=True, size=30))
