n, seed = 10_000, 0

import json

import numpy as np
import pandas as pd


def column(k):
    a, b, c = (7 * seed + 3 * k) % 997 + 2, (13 * seed + 101 * k) % 991 + 1, (17 * seed + 1111 * k) % 99991
    i = np.arange(n, dtype=np.int64)
    return (a * i * i + b * i + c) % 99991


regions, products = ["north", "east", "south", "west"], list("ABCDE")
sales = pd.DataFrame(
    {
        "region": np.array(regions)[column(1) // 7 % 4],
        "product": np.array(products)[column(2) // 7 % 5],
        "month": 1 + column(3) // 7 % 12,
        "units": 1 + column(4) % 40,
    }
)
prices = pd.DataFrame({"product": products, "price": [19, 45, 7, 120, 64]})
sales = sales.merge(prices, on="product", how="left")
sales["revenue"] = sales["units"] * sales["price"]

table = sales.pivot_table(index="region", columns="product", values="revenue", aggfunc="sum", fill_value=0)
table = table.reindex(index=regions, columns=products, fill_value=0)
best = table.stack().idxmax()
by_month = sales.groupby("month")["revenue"].sum().reindex(range(1, 13), fill_value=0)
means = sales.pivot_table(index="region", columns="month", values="units", aggfunc="mean")
answer = {
    "revenue": {region: [int(value) for value in table.loc[region]] for region in regions},
    "share": {region: float(table.loc[region].sum() / table.to_numpy().sum()) for region in regions},
    "best": f"{best[0]}/{best[1]}",
    "growth": float(by_month[12] / by_month[1] - 1),
    "mean_units": [float(means.loc[region, 6]) for region in regions],
}
print(json.dumps(answer))
