const n = 1000, seed = 0;

const STEPS = 24, MODULUS = 2147483647;

let state = 1 + (seed % (MODULUS - 1));
function chance() {
  state = (state * 16807) % MODULUS;
  return state / MODULUS;
}

const finals = new Float64Array(n);
let ruined = 0, drawdowns = 0;
for (let path = 0; path < n; path++) {
  let capital = 20, lowest = 20, highest = 20, drawdown = 0;
  for (let step = 0; step < STEPS; step++) {
    const u = chance();
    capital += u < 0.05 ? -12 : u < 0.45 ? -1 : u < 0.85 ? 1 : 4;
    lowest = Math.min(lowest, capital);
    highest = Math.max(highest, capital);
    drawdown = Math.max(drawdown, highest - capital);
  }
  finals[path] = capital;
  ruined += Number(lowest < 0);
  drawdowns += drawdown;
}
const mean = finals.reduce((sum, value) => sum + value, 0) / n;
const squares = finals.reduce((sum, value) => sum + (value - mean) ** 2, 0);
console.log(JSON.stringify({
  ruin: ruined / n, mean, deviation: Math.sqrt(squares / (n - 1)),
  q05: finals.slice().sort()[Math.ceil(n / 20) - 1], drawdown: drawdowns / n,
}));
