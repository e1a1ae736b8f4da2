n, seed = 10_000, 0

import json

import numpy as np


def column(k):
    a, b, c = (7 * seed + 3 * k) % 997 + 2, (13 * seed + 101 * k) % 991 + 1, (17 * seed + 1111 * k) % 99991
    i = np.arange(n, dtype=np.int64)
    return (a * i * i + b * i + c) % 99991


def positions(text, pattern):
    """Where it begins in the text, also within itself."""
    found, at = [], text.find(pattern)
    while at >= 0:
        found.append(at)
        at = text.find(pattern, at + 1)
    return found


haystack = np.unique(column(1))
needles = column(2)
places = np.searchsorted(haystack, needles)
hits = int(np.isin(needles, haystack).sum())
above = haystack[np.minimum(places, len(haystack) - 1)]
below = haystack[np.maximum(places - 1, 0)]
nearest = np.minimum(np.abs(above - needles), np.abs(needles - below))

text = "".join("acgt"[letter] for letter in column(3) // 7 % 4)
found = positions(text, text[n // 2 : n // 2 + 5])
answer = {
    "hits": hits,
    "places": int(places.sum()),
    "nearest": int(nearest.sum()),
    "matches": len(found),
    "first": found[0],
}
print(json.dumps(answer))
