n, seed = 10, 0

import json

import numpy as np
from scipy.integrate import solve_ivp

END = 20.0
modes = [1 + seed % 3, n // 2 + 1 + seed % 2]
j = np.arange(1, n + 1)
start = sum(amplitude * np.sin(mode * np.pi * j / (n + 1)) for mode, amplitude in zip(modes, [1.0, 0.5]))


def stretched(x):
    return np.diff(np.concatenate([[0.0], x, [0.0]]))


def motion(_, state):
    x, v = np.split(state, 2)
    return np.concatenate([v, np.diff(stretched(x))])


solved = solve_ivp(motion, (0.0, END), np.concatenate([start, np.zeros(n)]), method="DOP853", rtol=1e-10, atol=1e-12)
x, v = np.split(solved.y[:, -1], 2)
answer = {
    "first": float(x[0]),
    "norm": float(np.linalg.norm(x)),
    "size": float(np.abs(x).sum()),
    "kinetic": float((v**2).sum() / 2),
    "potential": float((stretched(x) ** 2).sum() / 2),
}
print(json.dumps(answer))
