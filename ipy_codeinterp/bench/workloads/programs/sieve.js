const n = 10000, seed = 0;

const limit = n + 100 * (seed % 100);
const composite = new Uint8Array(limit + 1);
let count = 0, sum = 0, largest = 0;
for (let i = 2; i <= limit; i++) {
  if (composite[i]) continue;
  for (let j = i * i; j <= limit; j += i) composite[j] = 1;
  count += 1;
  sum += i;
  largest = i;
}
console.log(`Found ${count} primes up to ${limit}`);
console.log(JSON.stringify({ count, sum, largest }));
