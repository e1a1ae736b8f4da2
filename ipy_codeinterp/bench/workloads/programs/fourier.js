const n = 4096, seed = 0;

const bins = [3 + (seed % 5), 17 + (seed % 11), Math.floor(n / 16) + 1 + (seed % 13), Math.floor(n / 5) + (seed % 17)];
const amplitudes = [1.25, 3, 0.5, 2];
const phases = [0.5, -1, 2, 0.25 + (seed % 4) / 2];

const signal = Float64Array.from({ length: n }, (_, j) =>
  bins.reduce((sum, bin, k) => sum + amplitudes[k] * Math.cos((2 * Math.PI * ((bin * j) % n)) / n + phases[k]), 0.75));

// Cooley and Tukey's, in place; n is a power of two
function transform(re, im, sign) {
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [re[i], re[j]] = [re[j], re[i]];
      [im[i], im[j]] = [im[j], im[i]];
    }
  }
  const cos = Float64Array.from({ length: n / 2 }, (_, k) => Math.cos((2 * Math.PI * k) / n));
  const sin = Float64Array.from({ length: n / 2 }, (_, k) => sign * Math.sin((2 * Math.PI * k) / n));
  for (let size = 2; size <= n; size *= 2) {
    const half = size / 2, stride = n / size;
    for (let start = 0; start < n; start += size) {
      for (let k = 0; k < half; k++) {
        const one = start + k, other = one + half, c = cos[k * stride], s = sin[k * stride];
        const r = re[other] * c - im[other] * s, i = re[other] * s + im[other] * c;
        re[other] = re[one] - r;
        im[other] = im[one] - i;
        re[one] += r;
        im[one] += i;
      }
    }
  }
}

const re = signal.slice(), im = new Float64Array(n);
transform(re, im, -1);
const size = (bin) => Math.hypot(re[bin], im[bin]);
const found = Array.from({ length: n / 2 }, (_, k) => k + 1).sort((one, other) => size(other) - size(one)).slice(0, 4);
const power = (values) => values.reduce((sum, value) => sum + value * value, 0) / n;
const answer = {
  mean: re[0] / n, bins: found, amplitudes: found.map((bin) => (2 * size(bin)) / n),
  phases: found.map((bin) => Math.atan2(im[bin], re[bin])), power: power(signal),
};
const cut = Math.floor(n / 10);
for (let bin = cut + 1; bin < n - cut; bin++) re[bin] = im[bin] = 0;
transform(re, im, 1);
const filtered = re.map((value) => value / n);
answer.filtered_power = power(filtered);
answer.filtered_start = filtered[0];
console.log(JSON.stringify(answer));
