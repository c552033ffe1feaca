"""The sources: their law, and which of them repeat."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from mlsys.privacy.randomness import SecureSource, SeededSource, make_sources


@pytest.mark.parametrize("source", [SeededSource(3), SecureSource()], ids=["seed", "cipher"])
def test_uniforms_and_noise_have_their_law(source):
    uniforms = source.uniforms(50_000)
    assert uniforms.min() > 0 and uniforms.max() <= 1
    assert kstest(uniforms, "uniform").pvalue > 1e-5
    values = torch.full((50_000,), 2.0)
    noise = (source.noisy(values, 3.0) - values).double().numpy() / 3.0
    assert kstest(noise, "norm").pvalue > 1e-5
    assert torch.equal(values, torch.full((50_000,), 2.0)), "what is hidden stays as it is"


@pytest.mark.parametrize("source", [SeededSource(3), SecureSource()], ids=["seed", "cipher"])
def test_shapes_and_no_noise(source):
    values = torch.arange(6.0).reshape(2, 3)
    assert torch.equal(source.noisy(values, 0.0), values)
    assert source.noisy(values, 1.0).shape == (2, 3) and source.noisy(values, 1.0).dtype == torch.float32
    assert source.uniforms(0).shape == (0,)


def test_a_seed_repeats_and_a_cipher_does_not():
    assert np.array_equal(SeededSource(5).uniforms(9), SeededSource(5).uniforms(9))
    assert not np.array_equal(SeededSource(5).uniforms(9), SeededSource(6).uniforms(9))
    assert not np.array_equal(SecureSource().uniforms(9), SecureSource().uniforms(9))
    first, second = make_sources(None)
    assert first.is_secure and not np.array_equal(first.uniforms(9), second.uniforms(9))


def test_numpy_and_torch_seeds_have_no_say_in_the_cipher():
    drawn = []
    for _ in range(2):
        np.random.seed(0)
        torch.manual_seed(0)
        drawn.append(SecureSource().gaussians(5))
    assert not np.array_equal(*drawn)
