n, seed = 1_000, 0

import json

import numpy as np


def column(k):
    a, b, c = (7 * seed + 3 * k) % 997 + 2, (13 * seed + 101 * k) % 991 + 1, (17 * seed + 1111 * k) % 99991
    i = np.arange(n, dtype=np.int64)
    return (a * i * i + b * i + c) % 99991


x1, x2, x3 = column(1) % 1000, column(2) % 500, column(3) // 7 % 2
noise = column(4) % 401 + column(5) % 401 - 400
y = 250 + 3 * x1 - 2 * x2 + 120 * x3 + noise

design = np.column_stack([np.ones(n), x1, x2, x3])
coefficients, _, _, _ = np.linalg.lstsq(design, y, rcond=None)
residuals = y - design @ coefficients
squares = float(residuals @ residuals)
covariance = np.linalg.inv(design.T @ design) * squares / (n - 4)
errors = np.sqrt(np.diag(covariance))
answer = {
    "coefficients": coefficients.tolist(),
    "errors": errors.tolist(),
    "t": (coefficients / errors).tolist(),
    "r2": 1 - squares / float(((y - y.mean()) ** 2).sum()),
    "sigma": float(np.sqrt(squares / (n - 4))),
}
print(json.dumps(answer))
