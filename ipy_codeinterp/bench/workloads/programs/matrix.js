const n = 100, seed = 0;

function column(k) {
  const a = ((7 * seed + 3 * k) % 997) + 2, b = ((13 * seed + 101 * k) % 991) + 1, c = (17 * seed + 1111 * k) % 99991;
  return Float64Array.from({ length: n }, (_, i) => (a * i * i + b * i + c) % 99991);
}

const d = column(1).map((value) => 10 + (value % 90));
const u = column(2).map((value) => 1 + (value % 9));
const b = column(3).map((value) => (value % 100) - 50);
const matrix = Array.from({ length: n }, (_, i) => u.map((value, j) => u[i] * value + (i === j ? d[i] : 0)));

const dot = (one, other) => one.reduce((sum, value, i) => sum + value * other[i], 0);
const times = (vector) => Float64Array.from(matrix, (row) => dot(row, vector));

// Gauss, with the largest pivot of each column
function solve(given, right) {
  const rows = given.map((row) => row.slice()), x = right.slice();
  let logdet = 0;
  for (let pivot = 0; pivot < n; pivot++) {
    let best = pivot;
    for (let i = pivot + 1; i < n; i++) if (Math.abs(rows[i][pivot]) > Math.abs(rows[best][pivot])) best = i;
    [rows[pivot], rows[best]] = [rows[best], rows[pivot]];
    [x[pivot], x[best]] = [x[best], x[pivot]];
    logdet += Math.log(Math.abs(rows[pivot][pivot]));
    for (let i = pivot + 1; i < n; i++) {
      const factor = rows[i][pivot] / rows[pivot][pivot], row = rows[i], above = rows[pivot];
      for (let j = pivot; j < n; j++) row[j] -= factor * above[j];
      x[i] -= factor * x[pivot];
    }
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let j = i + 1; j < n; j++) x[i] -= rows[i][j] * x[j];
    x[i] /= rows[i][i];
  }
  return [x, logdet];
}

// One eigenvalue is far above the others: a vector that is multiplied again and again turns to its direction.
function largestEigenvalue() {
  let vector = new Float64Array(n).fill(1), value = 0;
  for (let step = 0; step < 100; step++) {
    const next = times(vector);
    value = dot(next, vector) / dot(vector, vector);
    const length = Math.sqrt(dot(next, next));
    vector = next.map((entry) => entry / length);
  }
  return value;
}

const [x, logdet] = solve(matrix, b);
let trace = 0, entries = 0;
const sums = times(new Float64Array(n).fill(1)); // of rows, and of columns: it is symmetric
for (let i = 0; i < n; i++) {
  trace += dot(matrix[i], matrix[i]);
  entries += sums[i] * sums[i];
}
console.log(JSON.stringify({
  first: x[0], last: x[n - 1], norm: Math.sqrt(dot(x, x)), logdet, eigenvalue: largestEigenvalue(), trace, entries,
}));
