n, seed = 4_096, 0

import json

import numpy as np

bins = [3 + seed % 5, 17 + seed % 11, n // 16 + 1 + seed % 13, n // 5 + seed % 17]
amplitudes = [1.25, 3.0, 0.5, 2.0]
phases = [0.5, -1.0, 2.0, 0.25 + seed % 4 / 2]

j = np.arange(n)
signal = 0.75 + sum(
    amplitude * np.cos(2 * np.pi * (frequency * j % n) / n + phase)
    for frequency, amplitude, phase in zip(bins, amplitudes, phases)
)

spectrum = np.fft.rfft(signal) / n
found = 1 + np.argsort(-np.abs(spectrum[1:]))[:4]
low = spectrum.copy()
low[n // 10 + 1 :] = 0
filtered = np.fft.irfft(low * n, n)
answer = {
    "mean": float(spectrum[0].real),
    "bins": found.tolist(),
    "amplitudes": (2 * np.abs(spectrum[found])).tolist(),
    "phases": np.angle(spectrum[found]).tolist(),
    "power": float((signal**2).mean()),
    "filtered_power": float((filtered**2).mean()),
    "filtered_start": float(filtered[0]),
}
print(json.dumps(answer))
