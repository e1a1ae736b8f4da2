n, seed = 10_000, 0

import csv
import json

import numpy as np
import pandas as pd


def column(k):
    a, b, c = (7 * seed + 3 * k) % 997 + 2, (13 * seed + 101 * k) % 991 + 1, (17 * seed + 1111 * k) % 99991
    i = np.arange(n, dtype=np.int64)
    return ((a * i * i + b * i + c) % 99991).tolist()


def lines():
    for row, (month, day, cents, missing, shop) in enumerate(zip(*(column(k) for k in range(1, 6)))):
        date = f"2025-{1 + month // 7 % 12:02d}-{1 + day // 7 % 28:02d}"
        amount = f"{cents // 100:,}.{cents % 100:02d}" if missing // 7 % 20 else ""
        note = 'called "urgent", twice' if shop // 3 % 11 == 0 else ""
        yield row, date, f"Shop {1 + shop // 7 % 8}, Main Street", amount, note


with open("orders.csv", "w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file)
    writer.writerow(["order", "date", "shop", "amount", "note"])
    writer.writerows(lines())

orders = pd.read_csv("orders.csv", thousands=",", parse_dates=["date"], keep_default_na=False, na_values={"amount": ""})
shop = orders["shop"].str.extract(r"Shop (\d+)", expand=False).astype(int)
by_month = orders.groupby(orders["date"].dt.month)["amount"].sum().reindex(range(1, 13), fill_value=0.0)
by_shop = orders["amount"].groupby(shop).count().reindex(range(1, 9), fill_value=0)
answer = {
    "missing": int(orders["amount"].isna().sum()),
    "total": float(orders["amount"].sum()),
    "mean": float(orders["amount"].mean()),
    "largest": int(orders.loc[orders["amount"].idxmax(), "order"]),
    "urgent": int(orders["note"].str.contains('"urgent"', regex=False).sum()),
    "weekend": int((orders["date"].dt.day_of_week >= 5).sum()),
    "by_month": by_month.tolist(),
    "by_shop": by_shop.tolist(),
}
print(json.dumps(answer))
