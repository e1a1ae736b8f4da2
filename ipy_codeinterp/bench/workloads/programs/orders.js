const n = 10000, seed = 0;

const fs = require("fs");

function column(k) {
  const a = ((7 * seed + 3 * k) % 997) + 2, b = ((13 * seed + 101 * k) % 991) + 1, c = (17 * seed + 1111 * k) % 99991;
  return Float64Array.from({ length: n }, (_, i) => (a * i * i + b * i + c) % 99991);
}

const part = (value, by, m) => Math.floor(value / by) % m;
const two = (value) => String(value).padStart(2, "0");
const quoted = (text) => (/[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

const [u1, u2, u3, u4, u5] = [1, 2, 3, 4, 5].map(column);
const lines = ["order,date,shop,amount,note"];
for (let i = 0; i < n; i++) {
  const date = `2025-${two(1 + part(u1[i], 7, 12))}-${two(1 + part(u2[i], 7, 28))}`;
  const whole = String(Math.floor(u3[i] / 100)).replace(/(\d)(\d{3})$/, "$1,$2");
  const amount = part(u4[i], 7, 20) ? `${whole}.${two(u3[i] % 100)}` : "";
  const note = part(u5[i], 3, 11) === 0 ? 'called "urgent", twice' : "";
  lines.push([String(i), date, `Shop ${1 + part(u5[i], 7, 8)}, Main Street`, amount, note].map(quoted).join(","));
}
fs.writeFileSync("orders.csv", lines.join("\n") + "\n");

function fields(line) {
  const found = [];
  for (const [, , inQuotes, plain] of line.matchAll(/(^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)) {
    found.push(inQuotes === undefined ? plain : inQuotes.replaceAll('""', '"'));
  }
  return found;
}

const answer = {
  missing: 0, total: 0, mean: 0, largest: -1, urgent: 0, weekend: 0,
  by_month: Array(12).fill(0), by_shop: Array(8).fill(0),
};
let most = -1;
const [, ...rows] = fs.readFileSync("orders.csv", "utf8").trimEnd().split("\n");
for (const row of rows) {
  const [order, date, shop, text, note] = fields(row);
  if (note.includes('"urgent"')) answer.urgent += 1;
  if ([0, 6].includes(new Date(`${date}T00:00:00Z`).getUTCDay())) answer.weekend += 1;
  if (text === "") {
    answer.missing += 1;
    continue;
  }
  const amount = Number(text.replaceAll(",", ""));
  answer.total += amount;
  if (amount > most) [most, answer.largest] = [amount, Number(order)];
  answer.by_month[Number(date.slice(5, 7)) - 1] += amount;
  answer.by_shop[Number(/^Shop (\d+)/.exec(shop)[1]) - 1] += 1;
}
answer.mean = answer.total / (n - answer.missing);
console.log(JSON.stringify(answer));
