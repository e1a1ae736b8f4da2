n, seed = 1_000, 0

import matplotlib.pyplot as plt
import numpy as np


def column(k):
    a, b, c = (7 * seed + 3 * k) % 997 + 2, (13 * seed + 101 * k) % 991 + 1, (17 * seed + 1111 * k) % 99991
    i = np.arange(n, dtype=np.int64)
    return (a * i * i + b * i + c) % 99991


counts = np.zeros((4, 6), dtype=int)
np.add.at(counts, (column(1) // 7 % 4, column(2) // 7 % 6), 1)

figure, (heat, hours) = plt.subplots(1, 2, figsize=(11, 4.5))
figure.suptitle("When it is busy")

heat.imshow(counts, cmap="magma", aspect="auto")
for row, column_ in np.ndindex(counts.shape):
    heat.text(column_, row, str(counts[row, column_]), ha="center", va="center", color="#ffffff", fontsize=9)
heat.set(title="Visits", xlabel="Block of four hours", ylabel="Season")

hours.plot(range(6), counts.mean(axis=0), color="#3b0f70", linewidth=3, marker="D", label="mean")
hours.plot(range(6), counts.max(axis=0), color="#de4968", linewidth=1, linestyle="-.", label="most")
hours.set(title="Of all seasons", xlabel="Block of four hours", ylabel="Visits")
hours.legend()

for axes in figure.axes:
    axes.title.set(fontsize=12, fontweight="bold")
figure.savefig("figure.png")
