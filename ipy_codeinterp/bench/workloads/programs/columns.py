n, seed = 10_000, 0

import json

import numpy as np
import pandas as pd


def column(k):
    a, b, c = (7 * seed + 3 * k) % 997 + 2, (13 * seed + 101 * k) % 991 + 1, (17 * seed + 1111 * k) % 99991
    i = np.arange(n, dtype=np.int64)
    return (a * i * i + b * i + c) % 99991


sales = pd.DataFrame(
    {"quantity": 1 + column(1) // 7 % 9, "price": 100 + column(2) % 9900, "u3": column(3), "u4": column(4)}
)
gross = sales["quantity"] * sales["price"]
percent = np.select([gross < 20_000, gross < 50_000], [0, 5], default=12)
sales["net"] = gross - gross * percent // 100
rate = np.array([19, 20, 21, 22, 25, 8])[sales["u3"] // 7 % 6]
sales["total"] = sales["net"] + (sales["net"] * rate + 50) // 100
balance = sales["total"].where(sales["u4"] % 2 == 1, -sales["total"]).cumsum()
in_order = np.sort(sales["total"].to_numpy())
answer = {
    "net": int(sales["net"].sum()),
    "total": int(sales["total"].sum()),
    "discounted": float((percent > 0).mean()),
    "peak": int(balance.max()),
    "peak_row": int(balance.idxmax()),
    "last": int(balance.iloc[-1]),
    "rises": int((sales["total"].diff() > 0).sum()),
    "smoothest": float(sales["total"].rolling(7).mean().max()),
    "median": int(in_order[(n - 1) // 2]),
    "p90": int(in_order[-(-9 * n // 10) - 1]),
}
print(json.dumps(answer))
