n, seed = 10_000, 0

import json

import numpy as np


def sieve_of_eratosthenes(n):
    sieve = np.ones(n + 1, dtype=bool)
    sieve[0:2] = False
    for i in range(2, int(np.sqrt(n)) + 1):
        if sieve[i]:
            sieve[i * i : n + 1 : i] = False
    return np.where(sieve)[0]


limit = n + 100 * (seed % 100)
primes = sieve_of_eratosthenes(limit)
print(f"Found {len(primes)} primes up to {limit}")
print(json.dumps({"count": len(primes), "sum": int(primes.sum()), "largest": int(primes[-1])}))
