const n = 2000, seed = 0;

function column(k) {
  const a = ((7 * seed + 3 * k) % 997) + 2, b = ((13 * seed + 101 * k) % 991) + 1, c = (17 * seed + 1111 * k) % 99991;
  return Array.from({ length: n }, (_, i) => (a * i * i + b * i + c) % 99991);
}

function mergeSort(values) {
  if (values.length < 2) return [values, 0];
  const middle = values.length >> 1;
  const [left, inLeft] = mergeSort(values.slice(0, middle));
  const [right, inRight] = mergeSort(values.slice(middle));
  const merged = [];
  let inversions = inLeft + inRight, i = 0;
  for (const value of right) {
    while (i < left.length && left[i] <= value) merged.push(left[i++]);
    inversions += left.length - i;
    merged.push(value);
  }
  while (i < left.length) merged.push(left[i++]);
  return [merged, inversions];
}

const values = column(1);
const [inOrder, inversions] = mergeSort(values);
const checksum = inOrder.reduce((sum, value, i) => sum + (i + 1) * value, 0);
const rows = values.map((_, row) => row).sort((one, other) =>
  (values[one] % 100) - (values[other] % 100)
  || Math.floor(values[other] / 100) - Math.floor(values[one] / 100)
  || one - other);
console.log(JSON.stringify({ inversions, checksum, rows: [rows[0], rows[n >> 1], rows[n - 1]] }));
