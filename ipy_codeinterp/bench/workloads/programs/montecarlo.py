n, seed = 1_000, 0

import json

import numpy as np

STEPS, MODULUS = 24, 2_147_483_647


def draws(count):
    """Park and Miller's generator: each number is the one before times 16807."""
    numbers = np.empty(count, dtype=np.int64)
    state = 1 + seed % (MODULUS - 1)
    for k in range(count):
        state = state * 16_807 % MODULUS
        numbers[k] = state
    return numbers / MODULUS


chance = draws(n * STEPS).reshape(n, STEPS)
change = np.select([chance < 0.05, chance < 0.45, chance < 0.85], [-12, -1, 1], default=4)
capital = 20 + change.cumsum(axis=1)
lowest, final = capital.min(axis=1), capital[:, -1]
answer = {
    "ruin": float((lowest < 0).mean()),
    "mean": float(final.mean()),
    "deviation": float(final.std(ddof=1)),
    "q05": int(np.sort(final)[-(-n // 20) - 1]),
    "drawdown": float((np.maximum.accumulate(np.maximum(capital, 20), axis=1) - capital).max(axis=1).mean()),
}
print(json.dumps(answer))
