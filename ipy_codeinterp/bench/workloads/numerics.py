"""Numerical computing: a dense matrix, a Fourier transform, and a differential equation, each with a solution in closed
form, which is what the oracles write down: nothing is eliminated, transformed or integrated.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from math import cos, fsum, log, pi, sin, sqrt

from ipy_codeinterp.bench.workload import Answer, Workload
from ipy_codeinterp.bench.workloads import given
from ipy_codeinterp.bench.workloads.sequences import columns, in_words

CATEGORY = "numerics"

# --- a matrix -------------------------------------------------------------------------------------


def _matrix_words(n: int, seed: int) -> str:
    return f"""\
Three vectors have {n} entries, i = 0 to {n - 1}. {in_words(seed, 3)}
d = 10 + (u1 mod 90), u = 1 + (u2 mod 9), b = (u3 mod 100) - 50. The symmetric matrix A has in row i and column j the \
entry u[i]*u[j], on its diagonal u[i]*u[i] + d[i].
Solve A x = b: `first` and `last` are the first and the last entry of x, `norm` its Euclidean norm. `logdet` is the \
natural logarithm of the determinant of A, `eigenvalue` its greatest eigenvalue; `trace` is the trace, and `entries` \
the sum of all entries, of the matrix product A A. Compute in double precision."""


@cache
def _matrix(n: int, seed: int) -> Answer:
    """A is a diagonal and a product of vectors: Sherman and Morrison's formula, and the secular equation."""
    u1, u2, u3 = columns(seed, n, 3)
    d, u, b = [10 + value % 90 for value in u1], [1 + value % 9 for value in u2], [value % 100 - 50 for value in u3]
    inner = 1 + sum(Fraction(w * w, e) for w, e in zip(u, d, strict=True))
    shift = sum(Fraction(w * value, e) for w, value, e in zip(u, b, d, strict=True)) / inner
    x = [float((value - w * shift) / e) for w, value, e in zip(u, b, d, strict=True)]
    of_u = sum(w * w for w in u)
    return {
        "first": x[0],
        "last": x[-1],
        "norm": sqrt(fsum(value * value for value in x)),
        "logdet": fsum(map(log, d)) + log(inner),
        "eigenvalue": _largest_eigenvalue(d, u),
        "trace": float(sum(e * e + 2 * e * w * w for e, w in zip(d, u, strict=True)) + of_u * of_u),
        "entries": float(sum((e + w * sum(u)) ** 2 for e, w in zip(d, u, strict=True))),
    }


def _largest_eigenvalue(d: list[int], u: list[int]) -> float:
    """Where the sum of u^2 / (z - d) is 1, above all of d: it falls there, so halving finds it."""
    low, high = float(max(d)), float(max(d) + sum(w * w for w in u))
    while low < (middle := (low + high) / 2) < high:
        if fsum(w * w / (middle - e) for w, e in zip(u, d, strict=True)) > 1:
            low = middle
        else:
            high = middle
    return high


# --- Fourier --------------------------------------------------------------------------------------

MEAN, AMPLITUDES = 0.75, (1.25, 3.0, 0.5, 2.0)


def _bins(n: int, seed: int) -> tuple[int, ...]:
    return 3 + seed % 5, 17 + seed % 11, n // 16 + 1 + seed % 13, n // 5 + seed % 17


def _phases(seed: int) -> tuple[float, ...]:
    return 0.5, -1.0, 2.0, 0.25 + seed % 4 / 2


def _fourier_words(n: int, seed: int) -> str:
    waves = " + ".join(
        f"{amplitude} * cos(2*pi*{frequency}*j/{n} + {phase})"
        for amplitude, frequency, phase in zip(AMPLITUDES, _bins(n, seed), _phases(seed), strict=True)
    )
    return f"""\
A signal has {n} samples, j = 0 to {n - 1}: s[j] = {MEAN} + {waves}.
Find with a fast Fourier transform (S[k] is the sum over j of s[j] * exp(-2*pi*i*j*k/{n})): `mean`, the mean of the \
signal; `bins`, the four k from 1 to {n // 2} with the greatest abs(S[k]), the greatest first; `amplitudes` and \
`phases`, for each of these k the amplitude A and the phase p (radians, between -pi and pi) of the wave A * \
cos(2*pi*k*j/{n} + p) in the signal; `power`, the mean of s[j]^2.
Then set all S[k] to zero whose frequency is above {n // 10} (k from {n // 10 + 1} to {n - n // 10 - 1}) and transform \
back: `filtered_power` is the mean of the squares of what remains, `filtered_start` its first sample."""


@cache
def _fourier(n: int, seed: int) -> Answer:
    """What went in comes out."""
    waves = list(zip(AMPLITUDES, _bins(n, seed), _phases(seed), strict=True))
    found = sorted(waves, reverse=True)
    left = [(amplitude, phase) for amplitude, frequency, phase in waves if frequency <= n // 10]
    return {
        "mean": MEAN,
        "bins": [frequency for _, frequency, _ in found],
        "amplitudes": [amplitude for amplitude, _, _ in found],
        "phases": [phase for _, _, phase in found],
        "power": MEAN**2 + sum(amplitude**2 for amplitude in AMPLITUDES) / 2,
        "filtered_power": MEAN**2 + sum(amplitude**2 for amplitude, _ in left) / 2,
        "filtered_start": MEAN + sum(amplitude * cos(phase) for amplitude, phase in left),
    }


# --- a differential equation ----------------------------------------------------------------------

END = 20


def _modes(n: int, seed: int) -> tuple[tuple[int, float], ...]:
    """Which of its own motions the chain is in, and how far."""
    return (1 + seed % 3, 1.0), (n // 2 + 1 + seed % 2, 0.5)


def _springs_words(n: int, seed: int) -> str:
    (slow, _), (fast, _) = _modes(n, seed)
    return f"""\
A chain of {n} masses between two walls moves as x_j'' = x_(j-1) - 2*x_j + x_(j+1) for j = 1 to {n}, with x_0 = 0 and \
x_{n + 1} = 0. At time 0 all are at rest, and x_j = sin({slow}*pi*j/{n + 1}) + 0.5*sin({fast}*pi*j/{n + 1}).
Integrate the equations numerically up to time {END}, so that all digits but the last few are right (at least 8). Of \
that time: `first` is x_1; `norm` the square root of the sum of all x_j^2; `size` the sum of all abs(x_j); `kinetic` \
half the sum of the squared velocities; `potential` half the sum of (x_(j+1) - x_j)^2 over j = 0 to {n}."""


@cache
def _springs(n: int, seed: int) -> Answer:
    """Each mode swings by itself, with a frequency that is known."""
    places, speeds = [0.0] * (n + 2), [0.0] * (n + 2)
    for mode, amplitude in _modes(n, seed):
        frequency = 2 * sin(mode * pi / (2 * (n + 1)))
        for j in range(1, n + 1):
            shape = amplitude * sin(mode * pi * j / (n + 1))
            places[j] += shape * cos(frequency * END)
            speeds[j] -= shape * frequency * sin(frequency * END)
    return {
        "first": places[1],
        "norm": sqrt(fsum(x * x for x in places)),
        "size": fsum(map(abs, places)),
        "kinetic": fsum(v * v for v in speeds) / 2,
        "potential": fsum((places[j + 1] - places[j]) ** 2 for j in range(n + 1)) / 2,
    }


WORKLOADS = (
    Workload(
        name="matrix",
        category=CATEGORY,
        title="a dense system, its determinant, an eigenvalue and a product",
        sizes=(100, 300, 1_000),
        code=given.code("matrix", "python", "r", "node"),
        words=_matrix_words,
        expect='a JSON object with the names "first", "last", "norm", "logdet", "eigenvalue", "trace" and "entries", '
        "nothing rounded",
        answer=_matrix,
        tolerance=1e-8,  # a condition of some thousands, in double precision
    ),
    Workload(
        name="fourier",
        category=CATEGORY,
        title="the waves in a signal, and a filter",
        sizes=(4_096, 65_536, 1_048_576),
        code=given.code("fourier", "python", "r", "node"),
        words=_fourier_words,
        expect='a JSON object with the names "mean", "bins", "amplitudes", "phases" (lists of four), "power", '
        '"filtered_power" and "filtered_start", nothing rounded',
        answer=_fourier,
        tolerance=1e-7,  # who does not reduce the angle first loses digits of a large one
    ),
    Workload(
        name="springs",
        category=CATEGORY,
        title="a chain of masses and springs: a system of differential equations",
        sizes=(10, 50, 200),
        code=given.code("springs", "python", "r", "node"),
        words=_springs_words,
        expect='a JSON object with the names "first", "norm", "size", "kinetic" and "potential", nothing rounded',
        answer=_springs,
        tolerance=1e-5,  # what an integrator gives that was told to be exact to 8 digits; usual settings fail
    ),
)
