n, seed = 2_000, 0

import json


def column(k):
    a, b, c = (7 * seed + 3 * k) % 997 + 2, (13 * seed + 101 * k) % 991 + 1, (17 * seed + 1111 * k) % 99991
    return [(a * i * i + b * i + c) % 99991 for i in range(n)]


def merge_sort(values):
    """The values in order, and how many pairs stood the wrong way round."""
    if len(values) < 2:
        return values, 0
    middle = len(values) // 2
    left, in_left = merge_sort(values[:middle])
    right, in_right = merge_sort(values[middle:])
    merged, inversions, i = [], in_left + in_right, 0
    for value in right:
        while i < len(left) and left[i] <= value:
            merged.append(left[i])
            i += 1
        inversions += len(left) - i
        merged.append(value)
    return merged + left[i:], inversions


values = column(1)
in_order, inversions = merge_sort(values)
checksum = sum((i + 1) * value for i, value in enumerate(in_order))
rows = sorted(range(n), key=lambda row: (values[row] % 100, -(values[row] // 100), row))
print(json.dumps({"inversions": inversions, "checksum": checksum, "rows": [rows[0], rows[n // 2], rows[-1]]}))
