n, seed = 1_000, 0

import json

import numpy as np
from scipy import stats


def column(k):
    a, b, c = (7 * seed + 3 * k) % 997 + 2, (13 * seed + 101 * k) % 991 + 1, (17 * seed + 1111 * k) % 99991
    i = np.arange(n, dtype=np.int64)
    return (a * i * i + b * i + c) % 99991


group = column(1) // 7 % 2
effect = 60_000 // int(np.sqrt(1_000 * n))
value = column(2) % 1000 + column(3) % 1000 + effect * group
one, other = value[group == 0], value[group == 1]
welch = stats.ttest_ind(one, other, equal_var=False)
low, high = welch.confidence_interval(0.95)

choice = column(4) // 7 % 3
table = np.zeros((2, 3), dtype=int)
np.add.at(table, (group, choice), 1)
chi2 = stats.chi2_contingency(table, correction=False)
answer = {
    "means": [float(one.mean()), float(other.mean())],
    "t": float(welch.statistic),
    "df": float(welch.df),
    "p": float(welch.pvalue),
    "interval": [float(low), float(high)],
    "table": table.tolist(),
    "chi2": float(chi2.statistic),
    "chi2_p": float(chi2.pvalue),
}
print(json.dumps(answer))
