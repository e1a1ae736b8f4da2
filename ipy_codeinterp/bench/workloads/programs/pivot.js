const n = 10000, seed = 0;

function column(k) {
  const a = ((7 * seed + 3 * k) % 997) + 2, b = ((13 * seed + 101 * k) % 991) + 1, c = (17 * seed + 1111 * k) % 99991;
  return Float64Array.from({ length: n }, (_, i) => (a * i * i + b * i + c) % 99991);
}

const regions = ["north", "east", "south", "west"], products = ["A", "B", "C", "D", "E"];
const prices = new Map(products.map((product, i) => [product, [19, 45, 7, 120, 64][i]]));
const [u1, u2, u3, u4] = [1, 2, 3, 4].map(column);
const pick = (names, value) => names[Math.floor(value / 7) % names.length];
const sales = Array.from({ length: n }, (_, i) => {
  const product = pick(products, u2[i]), units = 1 + (u4[i] % 40);
  return {
    region: pick(regions, u1[i]), product, month: 1 + (Math.floor(u3[i] / 7) % 12), units,
    revenue: units * prices.get(product),
  };
});

const sum = (values) => values.reduce((total, value) => total + value, 0);
const table = new Map(regions.map((region) => [region, new Map(products.map((product) => [product, 0]))]));
const byMonth = Array(13).fill(0);
const inJune = new Map(regions.map((region) => [region, []]));
for (const { region, product, month, units, revenue } of sales) {
  const row = table.get(region);
  row.set(product, row.get(product) + revenue);
  byMonth[month] += revenue;
  if (month === 6) inJune.get(region).push(units);
}
const rows = regions.map((region) => [region, [...table.get(region).values()]]);
const all = sum(rows.map(([, row]) => sum(row)));
const cells = rows.flatMap(([region, row]) => row.map((revenue, i) => ({ name: `${region}/${products[i]}`, revenue })));
console.log(JSON.stringify({
  revenue: Object.fromEntries(rows),
  share: Object.fromEntries(rows.map(([region, row]) => [region, sum(row) / all])),
  best: cells.reduce((best, cell) => (cell.revenue > best.revenue ? cell : best)).name,
  growth: byMonth[12] / byMonth[1] - 1,
  mean_units: regions.map((region) => sum(inJune.get(region)) / inJune.get(region).length),
}));
