"""Clipping, in every mode: the bound holds, the sum is the slow one's, and a loss of the wrong shape clips nothing in silence nowhere."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.core import ConfigError
from mlsys.privacy.clip import (
    MODES,
    FusedClipper,
    check_rows_apart,
    linear_stack,
    make_clipper,
    unit_losses,
)
from mlsys.privacy.dpsgd import (
    as_table,
    clip_factors,
    losses_by_unit,
    make_private_optimizer,
    one_quiet_thread,
    private_step,
)
from mlsys.privacy.randomness import SeededSource

LOSS = torch.nn.functional.binary_cross_entropy_with_logits
STACKS = {
    "linear": lambda: torch.nn.Linear(5, 1),
    "without bias": lambda: torch.nn.Linear(5, 1, bias=False),
    "network": lambda: torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.ReLU(), torch.nn.Linear(7, 4), torch.nn.GELU(), torch.nn.Linear(4, 1)),
    "nested": lambda: torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(5, 3, bias=False), torch.nn.Tanh()), torch.nn.Linear(3, 1)),
}


def batch(count=24, seed=0, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(count, 5, generator=generator), (torch.rand(count, 1, generator=generator) > 0.5).float()


def clipped_sum(model, mode, rows, losses_of, bound):
    "The sum of clipped gradients, flat, and the lengths."
    model = copy.deepcopy(model)
    with one_quiet_thread():
        clipper = make_clipper(model, mode)
        lengths = clipper.lengths(rows, losses_of)
        clipper.sum_clipped(clip_factors(lengths, bound))
    return torch.cat([parameter.grad.ravel() for parameter in model.parameters()]), lengths


def slow_sum(model, units, bound):
    "Clip the gradient of each unit by itself; a unit is (rows, outcomes)."
    total = None
    for rows, outcomes in units:
        own = torch.cat([part.ravel() for part in torch.autograd.grad(LOSS(model(rows), outcomes, reduction="sum"), list(model.parameters()))])
        clipped = own * min(1.0, float(bound / (own.norm() + 1e-6)))
        total = clipped if total is None else total + clipped
    return total


@pytest.mark.parametrize("mode", [*MODES, "auto"])
@pytest.mark.parametrize("flat", [True, False], ids=["losses (B,)", "losses (B, 1)"])
@pytest.mark.parametrize("stack", STACKS)
def test_every_mode_clips_whatever_the_shape_of_the_losses(stack, flat, mode):
    torch.manual_seed(1)
    model = STACKS[stack]()
    rows, outcomes = batch()

    def losses_of(outputs):
        losses = LOSS(outputs, outcomes, reduction="none")
        return unit_losses(losses.squeeze(1) if flat else losses, len(rows))

    for bound in (0.1, 2.0):
        found, lengths = clipped_sum(model, mode, rows, losses_of, bound)
        assert found.norm() <= bound * len(rows) * (1 + 1e-5)
        assert torch.allclose(found, slow_sum(model, zip(rows.split(1), outcomes.split(1), strict=True), bound), atol=1e-5)
    assert (lengths > 0.1).any()


@pytest.mark.parametrize("stack", STACKS)
def test_ghost_and_fused_equal_hooks_to_a_millionth(stack):
    torch.manual_seed(2)
    model = STACKS[stack]().double()
    rows, outcomes = (part.double() for part in batch(seed=3))
    sums = {mode: clipped_sum(model, mode, rows, lambda outputs: unit_losses(LOSS(outputs, outcomes, reduction="none"), 24), 0.5)[0] for mode in MODES}
    assert (sums["ghost"] - sums["hooks"]).abs().max() < 1e-6
    assert (sums["fused"] - sums["hooks"]).abs().max() < 1e-6


@pytest.mark.parametrize("mode", MODES)
def test_people_with_several_rows_are_clipped_as_one(mode):
    torch.manual_seed(4)
    model = STACKS["network"]()
    rows, outcomes = batch(12)
    held = torch.tensor([[True, True, True], [True, False, False], [True, True, False], [True, True, True]])

    def losses_of(outputs):
        return unit_losses(LOSS(outputs.flatten(0, 1), outcomes, reduction="none"), 12, held)

    found, lengths = clipped_sum(model, mode, rows.reshape(4, 3, 5), losses_of, 0.3)
    units = [(part[keep], told[keep]) for part, told, keep in zip(rows.reshape(4, 3, 5), outcomes.reshape(4, 3, 1), held, strict=True)]
    assert lengths.shape == (4,) and (lengths > 0.3).any()
    assert torch.allclose(found, slow_sum(model, units, 0.3), atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(count=st.integers(2, 6), shape=st.sampled_from(["pairs", "scalar", "two", "twice"]))
def test_losses_that_are_not_one_a_row_are_refused(count, shape):
    losses = {"pairs": torch.zeros(count, count), "scalar": torch.tensor(0.0), "two": torch.zeros(count, 2), "twice": torch.zeros(2 * count)}[shape]
    with pytest.raises(ConfigError, match=r"allowed: one number a row, shape \(rows,\) or \(rows, 1\)"):
        unit_losses(losses, count)


def test_the_trap_of_a_loss_that_broadcasts_is_refused_in_training():
    table = as_table(batch()[0].numpy(), np.zeros(24), "squared")
    for mode in MODES:
        clipper, optimizer = make_private_optimizer(torch.nn.Linear(5, 1), noise_multiplier=0.0, max_grad_norm=0.1, expected_batch_size=1.0, learning_rate=0.1, source=SeededSource(0), mode=mode)
        with one_quiet_thread(), pytest.raises(ConfigError, match="loss: received 'shape .24, 24. for 24 rows'"):
            private_step(clipper, optimizer, np.arange(24), table, lambda outputs, outcomes: (outputs - outcomes).square())


def test_what_is_not_a_plain_stack_is_not_fused():
    shared = torch.nn.Linear(3, 3)
    frozen = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 1))
    frozen[0].weight.requires_grad_(False)
    hooked = torch.nn.Linear(3, 1)
    hooked.register_forward_hook(lambda *_: None)
    others = [torch.nn.Sequential(shared, torch.nn.Tanh(), shared), frozen, hooked, torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.ReLU(inplace=True)),
              torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Softmax(dim=0)), torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.LayerNorm(3))]
    assert [linear_stack(model) for model in others] == [[]] * len(others)
    for model in others:
        with pytest.raises(ConfigError, match="a stack of linear layers"):
            FusedClipper(model)


def test_auto_falls_back_to_opacus():
    embedded = torch.nn.Sequential(torch.nn.Embedding(10, 4), torch.nn.Flatten(), torch.nn.Linear(8, 1))
    normed = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 1))
    assert [make_clipper(model).mode for model in (STACKS["network"](), embedded, normed)] == ["fused", "ghost", "hooks"]


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_a_model_of_other_layers_is_clipped_by_opacus():
    torch.manual_seed(5)
    model = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 1))
    rows, outcomes = batch()
    found, _ = clipped_sum(model, "auto", rows, lambda outputs: unit_losses(LOSS(outputs, outcomes, reduction="none"), 24), 0.5)
    assert torch.allclose(found, slow_sum(model, zip(rows.split(1), outcomes.split(1), strict=True), 0.5), atol=1e-4)


class Centred(torch.nn.Module):
    "Takes the mean of the batch off: a model without a gradient of one row."

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(5, 1)

    def forward(self, rows):
        return self.layer(rows - rows.mean(dim=0))


def test_models_and_losses_that_mix_rows_are_refused():
    rows, outcomes = batch(6)
    with pytest.raises(ConfigError, match="a loss for each row by itself"):
        check_rows_apart(Centred(), rows, lambda outputs, units: unit_losses((outputs - outcomes[units]).square(), len(units)))
    with pytest.raises(ConfigError, match="a loss for each row by itself"):
        check_rows_apart(torch.nn.Linear(5, 1), rows, lambda outputs, units: unit_losses((outputs - outputs.mean()).square(), len(units)))
    check_rows_apart(torch.nn.Linear(5, 1), rows, lambda outputs, units: unit_losses((outputs - outcomes[units]).square(), len(units)))
    with pytest.raises(ConfigError, match="a model in which no row reads another"):
        make_clipper(torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.BatchNorm1d(4)), "hooks")


def test_an_unknown_mode_is_named():
    with pytest.raises(ConfigError, match="mode: received 'goast'.*Did you mean ghost"):
        make_clipper(torch.nn.Linear(2, 1), "goast")


def test_units_and_rows_have_the_same_loss_where_each_has_one():
    outputs, outcomes = torch.zeros(3, 1), torch.tensor([1.0, 2.0, 3.0])
    by_row = losses_by_unit("squared", outputs, outcomes, None)
    by_unit = losses_by_unit("squared", outputs[:, None], outcomes[:, None], torch.ones(3, 1, dtype=torch.bool))
    assert by_row.tolist() == by_unit.tolist() == [0.5, 2.0, 4.5]
