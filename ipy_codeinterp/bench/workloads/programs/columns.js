const n = 10000, seed = 0;

function column(k) {
  const a = ((7 * seed + 3 * k) % 997) + 2, b = ((13 * seed + 101 * k) % 991) + 1, c = (17 * seed + 1111 * k) % 99991;
  return Float64Array.from({ length: n }, (_, i) => (a * i * i + b * i + c) % 99991);
}

const [u1, u2, u3, u4] = [1, 2, 3, 4].map(column);
const rates = [19, 20, 21, 22, 25, 8];
const totals = new Float64Array(n);
const answer = { net: 0, total: 0, discounted: 0, peak: -Infinity, peak_row: 0, last: 0, rises: 0, smoothest: 0 };
let inWindow = 0;
for (let i = 0; i < n; i++) {
  const gross = (1 + (Math.floor(u1[i] / 7) % 9)) * (100 + (u2[i] % 9900));
  const percent = gross < 20000 ? 0 : gross < 50000 ? 5 : 12;
  const net = gross - Math.floor((gross * percent) / 100);
  const total = net + Math.floor((net * rates[Math.floor(u3[i] / 7) % 6] + 50) / 100);
  totals[i] = total;
  answer.net += net;
  answer.total += total;
  if (percent > 0) answer.discounted += 1 / n;
  answer.last += u4[i] % 2 === 1 ? total : -total;
  if (answer.last > answer.peak) [answer.peak, answer.peak_row] = [answer.last, i];
  if (i > 0 && total > totals[i - 1]) answer.rises += 1;
  inWindow += total - (i >= 7 ? totals[i - 7] : 0);
  if (i >= 6) answer.smoothest = Math.max(answer.smoothest, inWindow / 7);
}
const inOrder = totals.slice().sort();
answer.median = inOrder[(n - 1) >> 1];
answer.p90 = inOrder[Math.ceil((9 * n) / 10) - 1];
console.log(JSON.stringify(answer));
