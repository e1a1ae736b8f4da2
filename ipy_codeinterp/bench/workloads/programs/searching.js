const n = 10000, seed = 0;

function column(k) {
  const a = ((7 * seed + 3 * k) % 997) + 2, b = ((13 * seed + 101 * k) % 991) + 1, c = (17 * seed + 1111 * k) % 99991;
  return Array.from({ length: n }, (_, i) => (a * i * i + b * i + c) % 99991);
}

const haystack = [...new Set(column(1))].sort((a, b) => a - b);

function place(needle) {
  let low = 0, high = haystack.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (haystack[middle] < needle) low = middle + 1;
    else high = middle;
  }
  return low;
}

let hits = 0, places = 0, nearest = 0;
for (const needle of column(2)) {
  const at = place(needle);
  places += at;
  if (haystack[at] === needle) hits += 1;
  const above = at < haystack.length ? haystack[at] - needle : Infinity;
  const below = at > 0 ? needle - haystack[at - 1] : Infinity;
  nearest += Math.min(above, below);
}

const text = column(3).map((value) => "acgt"[Math.floor(value / 7) % 4]).join("");
const pattern = text.slice(n >> 1, (n >> 1) + 5);
const first = text.indexOf(pattern);
let matches = 0;
for (let at = first; at >= 0; at = text.indexOf(pattern, at + 1)) matches += 1;
console.log(JSON.stringify({ hits, places, nearest, matches, first }));
