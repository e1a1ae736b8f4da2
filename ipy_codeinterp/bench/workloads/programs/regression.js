const n = 1000, seed = 0;

function column(k) {
  const a = ((7 * seed + 3 * k) % 997) + 2, b = ((13 * seed + 101 * k) % 991) + 1, c = (17 * seed + 1111 * k) % 99991;
  return Float64Array.from({ length: n }, (_, i) => (a * i * i + b * i + c) % 99991);
}

const [u1, u2, u3, u4, u5] = [1, 2, 3, 4, 5].map(column);
const rows = Array.from(u1, (u, i) => [1, u % 1000, u2[i] % 500, Math.floor(u3[i] / 7) % 2]);
const y = rows.map(([, x1, x2, x3], i) =>
  250 + 3 * x1 - 2 * x2 + 120 * x3 + (u4[i] % 401) + (u5[i] % 401) - 400);

const places = [0, 1, 2, 3];
const products = places.map((j) => places.map((k) => rows.reduce((sum, row) => sum + row[j] * row[k], 0)));
const withY = places.map((j) => rows.reduce((sum, row, i) => sum + row[j] * y[i], 0));

function inverse(matrix) {
  const size = matrix.length;
  const wide = matrix.map((row, i) => [...row, ...row.map((_, j) => Number(i === j))]);
  for (let pivot = 0; pivot < size; pivot++) {
    let best = pivot;
    for (let i = pivot + 1; i < size; i++) if (Math.abs(wide[i][pivot]) > Math.abs(wide[best][pivot])) best = i;
    [wide[pivot], wide[best]] = [wide[best], wide[pivot]];
    const scale = wide[pivot][pivot];
    wide[pivot] = wide[pivot].map((value) => value / scale);
    for (let i = 0; i < size; i++) {
      if (i === pivot) continue;
      const factor = wide[i][pivot];
      wide[i] = wide[i].map((value, j) => value - factor * wide[pivot][j]);
    }
  }
  return wide.map((row) => row.slice(size));
}

const inverted = inverse(products);
const coefficients = inverted.map((row) => row.reduce((sum, value, j) => sum + value * withY[j], 0));
const mean = y.reduce((sum, value) => sum + value, 0) / n;
let squares = 0, all = 0;
rows.forEach((row, i) => {
  const fitted = row.reduce((sum, x, j) => sum + x * coefficients[j], 0);
  squares += (y[i] - fitted) ** 2;
  all += (y[i] - mean) ** 2;
});
const sigma = Math.sqrt(squares / (n - 4));
const errors = inverted.map((row, j) => sigma * Math.sqrt(row[j]));
console.log(JSON.stringify({
  coefficients, errors, t: coefficients.map((value, j) => value / errors[j]), r2: 1 - squares / all, sigma,
}));
