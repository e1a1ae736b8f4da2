n, seed = 1_000, 0

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd


def column(k):
    a, b, c = (7 * seed + 3 * k) % 997 + 2, (13 * seed + 101 * k) % 991 + 1, (17 * seed + 1111 * k) % 99991
    i = np.arange(n, dtype=np.int64)
    return (a * i * i + b * i + c) % 99991


days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
orders = pd.DataFrame({"day": column(1) // 7 % 7, "size": column(2) // 7 % 3, "revenue": 1 + column(3) % 500})

plt.style.use("seaborn-v0_8-whitegrid")
figure, (week, growth) = plt.subplots(1, 2, figsize=(11, 4.5))
figure.suptitle("Orders in style")

counts = pd.crosstab(orders["day"], orders["size"]).reindex(index=range(7), columns=range(3), fill_value=0)
bottom = np.zeros(7)
for size, (name, color) in enumerate({"small": "#264653", "medium": "#2a9d8f", "large": "#e9c46a"}.items()):
    week.bar(days, counts[size], bottom=bottom, color=color, label=name)
    bottom += counts[size].to_numpy()
week.set(title="Orders by weekday", xlabel="Day", ylabel="Orders")
week.legend()

ends = n * np.arange(1, 26) // 25
total = orders["revenue"].cumsum().to_numpy()[ends - 1]
growth.plot(ends, total, color="#e76f51", linewidth=2.5, label="revenue")
growth.plot(ends, 200 * ends, color="#6c757d", linewidth=1.5, linestyle=":", label="target")
growth.set(title="Growth", xlabel="Order", ylabel="Total revenue", yscale="log")
growth.legend()

for axes in figure.axes:
    axes.title.set(fontsize=15, fontweight="normal")
    axes.spines[["top", "right"]].set_visible(False)
figure.savefig("figure.png")
