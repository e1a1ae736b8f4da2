const n = 10, seed = 0;

const END = 20, STEPS = 8000;
const modes = [1 + (seed % 3), Math.floor(n / 2) + 1 + (seed % 2)];
const shape = (mode, j) => Math.sin((mode * Math.PI * j) / (n + 1));
let x = Float64Array.from({ length: n }, (_, i) => shape(modes[0], i + 1) + 0.5 * shape(modes[1], i + 1));
let v = new Float64Array(n);

const force = (x) => x.map((place, i) => (i > 0 ? x[i - 1] : 0) - 2 * place + (i < n - 1 ? x[i + 1] : 0));
const along = (start, step, slope) => start.map((value, i) => value + step * slope[i]);

// Runge and Kutta's steps of fourth order
const h = END / STEPS;
for (let step = 0; step < STEPS; step++) {
  const a1 = force(x);
  const v2 = along(v, h / 2, a1), a2 = force(along(x, h / 2, v));
  const v3 = along(v, h / 2, a2), a3 = force(along(x, h / 2, v2));
  const v4 = along(v, h, a3), a4 = force(along(x, h, v3));
  x = x.map((value, i) => value + (h / 6) * (v[i] + 2 * v2[i] + 2 * v3[i] + v4[i]));
  v = v.map((value, i) => value + (h / 6) * (a1[i] + 2 * a2[i] + 2 * a3[i] + a4[i]));
}

const sum = (values) => values.reduce((total, value) => total + value, 0);
const stretched = [...x, 0].map((place, i) => place - (i > 0 ? x[i - 1] : 0));
console.log(JSON.stringify({
  first: x[0], norm: Math.sqrt(sum(x.map((place) => place * place))), size: sum(x.map(Math.abs)),
  kinetic: sum(v.map((speed) => speed * speed)) / 2,
  potential: stretched.reduce((total, length) => total + length * length, 0) / 2,
}));
