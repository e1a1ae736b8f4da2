n, seed = 100, 0

import json

import numpy as np


def column(k):
    a, b, c = (7 * seed + 3 * k) % 997 + 2, (13 * seed + 101 * k) % 991 + 1, (17 * seed + 1111 * k) % 99991
    i = np.arange(n, dtype=np.int64)
    return (a * i * i + b * i + c) % 99991


d = 10.0 + column(1) % 90
u = 1.0 + column(2) % 9
b = column(3) % 100 - 50.0
matrix = np.diag(d) + np.outer(u, u)

x = np.linalg.solve(matrix, b)
_, logdet = np.linalg.slogdet(matrix)
square = matrix @ matrix
answer = {
    "first": float(x[0]),
    "last": float(x[-1]),
    "norm": float(np.linalg.norm(x)),
    "logdet": float(logdet),
    "eigenvalue": float(np.linalg.eigvalsh(matrix)[-1]),
    "trace": float(np.trace(square)),
    "entries": float(square.sum()),
}
print(json.dumps(answer))
