n, seed = 1_000, 0

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd


def column(k):
    a, b, c = (7 * seed + 3 * k) % 997 + 2, (13 * seed + 101 * k) % 991 + 1, (17 * seed + 1111 * k) % 99991
    i = np.arange(n, dtype=np.int64)
    return (a * i * i + b * i + c) % 99991


sales = pd.DataFrame(
    {
        "month": 1 + column(1) // 7 % 12,
        "amount": column(2) % 1000,
        "channel": np.where(column(3) // 7 % 2 == 1, "web", "shop"),
        "items": column(4) % 100,
    }
)

figure, ((trend, regions), (cloud, spread)) = plt.subplots(2, 2, figsize=(10, 7))
figure.suptitle("Sales of the year")
figure.subplots_adjust(hspace=0.4)

looks = {"shop": {"color": "#4c72b0", "marker": "o"}, "web": {"color": "#dd8452", "linestyle": "--", "marker": "s"}}
by_month = sales.pivot_table(index="month", columns="channel", values="amount", aggfunc="sum", fill_value=0)
for channel, look in looks.items():
    trend.plot(range(1, 13), by_month[channel].reindex(range(1, 13), fill_value=0), label=channel, linewidth=2, **look)
trend.set(title="Amount by month", xlabel="Month", ylabel="Amount")
trend.legend()

quarters = sales.groupby((sales["month"] - 1) // 3)["items"].sum().reindex(range(4), fill_value=0)
regions.bar(["Q1", "Q2", "Q3", "Q4"], quarters, color="#55a868")
regions.set(title="Items by quarter", xlabel="Quarter", ylabel="Items")

first = sales.head(200)
cloud.scatter(first["items"], first["amount"], s=12, color="#c44e52")
cloud.set(title="Amount and items", xlabel="Items", ylabel="Amount")

spread.hist(sales["amount"], bins=20, range=(0, 1000), color="#8172b3")
spread.set(title="Amounts", xlabel="Amount", ylabel="Sales")

for axes in figure.axes:
    axes.title.set(fontsize=13, fontweight="bold")
figure.savefig("figure.png")
