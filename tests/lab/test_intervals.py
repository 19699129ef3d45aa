"""Intervals over seeds and problems: against a bootstrap over both, and where coverage is known."""
import math

import pytest
import torch

from lab.intervals import interval, standard_errors
from lab.tables import over_seeds

SEED, PROBLEM, CHANCE = 0.05, 0.4, 0.3      # standard deviations; the mean is 0


def drawn(S, N, generator, seed=SEED, problem=PROBLEM):
    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)
    return seed * normal(S, 1) + problem * normal(1, N) + CHANCE * normal(S, N)


def bootstrap(x, generator, times=2000):
    """The standard deviation of the mean of x (S, N), over draws of its seeds and problems."""
    S, N = x.shape
    rows = torch.randint(S, (times, S, 1), generator=generator)
    columns = torch.randint(N, (times, 1, N), generator=generator)
    return float(x[rows, columns].mean((1, 2)).std())


def test_standard_errors_are_those_of_a_bootstrap():
    """Which takes the mean over its own draw of seeds: (S - 1) / S of their variance."""
    generator = torch.Generator().manual_seed(0)
    S = 12
    for N in (50, 300):
        x = drawn(S, N, generator)
        seeds, problems = standard_errors(x)
        both = math.hypot(seeds * math.sqrt((S - 1) / S), problems)
        assert bootstrap(x, generator) == pytest.approx(both, rel=0.1)


def test_standard_errors_are_those_that_were_drawn():
    """The mean over many draws, in which each part is known."""
    generator = torch.Generator().manual_seed(1)
    S, N = 8, 200
    found = torch.tensor([standard_errors(drawn(S, N, generator)) for _ in range(300)])
    seeds, problems = found.square().mean(0).sqrt().tolist()
    assert seeds == pytest.approx(math.sqrt(SEED ** 2 / S + CHANCE ** 2 / (S * N)), rel=0.05)
    assert problems == pytest.approx(PROBLEM / math.sqrt(N), rel=0.05)


@pytest.mark.parametrize("seed, problem", [(SEED, PROBLEM), (0.0, PROBLEM), (SEED, 0.0)])
def test_95_of_100_intervals_hold_the_true_mean(seed, problem):
    generator = torch.Generator().manual_seed(2)
    n, both, alone = 600, 0, 0
    for _ in range(n):
        x = drawn(8, 100, generator, seed, problem)
        values = x.mean(1).tolist()
        for_both, for_seeds = interval(values, x), interval(values)
        both += abs(for_both[0]) <= for_both[1]
        alone += abs(for_seeds[0]) <= for_seeds[1]
    assert 0.93 <= both / n <= 0.985
    if problem:
        assert alone / n < 0.85         # what an interval over seeds alone hides


def test_without_problems_it_is_students():
    assert interval([1.0, 2.0, 4.0]) == over_seeds([1.0, 2.0, 4.0])
    mean, half = interval([1.0], torch.ones(1, 5))
    assert mean == 1.0 and math.isnan(half)
