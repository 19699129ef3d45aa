"""95% intervals over seeds and test problems both.

All seeds of a method answer the same N problems, so other problems would move all of them at once:
more seeds do not average that out. For x (S, N), what seed s has on problem p (right or wrong, or
the difference of two methods),

    (1) x[s, p] = mean + seed[s] + problem[p] + chance[s, p]
    (2) var(mean of a seed)        = var(seed) + var(chance) / N
    (3) var(mean of a problem)     = var(problem) + var(chance) / S
    (4) var(mean of x)             = var(mean of a seed) / S + var(problem) / N

The interval is mean +- sqrt(a^2 + b^2), where a is Student's t times the root of the first part of
(4), since seeds are few, and b 1.96 times that of the second. A bootstrap over seeds and problems
comes to the same (tests/lab/test_intervals.py).
"""
import math

from lab.tables import STUDENT, over_seeds


def standard_errors(x):
    """x (S, N) -> the roots of both parts of (4): by the choice of seeds, and of problems."""
    S, N = x.shape
    of_seeds, of_problems = x.mean(1), x.mean(0)                                # (S,), (N,)
    chance = x - of_seeds[:, None] - of_problems + x.mean()                     # (S, N)
    chance = float(chance.square().sum()) / ((S - 1) * (N - 1))
    problem = max(0.0, float(of_problems.var()) - chance / S)                   # Eq. (3)
    return math.sqrt(float(of_seeds.var()) / S), math.sqrt(problem / N)


def interval(values, x=None):
    """Mean, and half of its 95% interval (nan for a single seed). values: [a number per seed];
    x (S, N): the same for each problem, if that is known; else the interval is over seeds alone."""
    mean, half = over_seeds(values)
    if x is None or min(x.shape) == 1:
        return mean, half
    seeds, problems = standard_errors(x)
    return mean, math.hypot(STUDENT[len(values) - 2] * seeds, 1.96 * problems)
