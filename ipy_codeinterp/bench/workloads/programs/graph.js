const n = 1000, seed = 0;

function column(k) {
  const a = ((7 * seed + 3 * k) % 997) + 2, b = ((13 * seed + 101 * k) % 991) + 1, c = (17 * seed + 1111 * k) % 99991;
  return Array.from({ length: n }, (_, i) => (a * i * i + b * i + c) % 99991);
}

const [u1, u2, u3, u4, u5] = [1, 2, 3, 4, 5].map(column);
const edges = u1.map((_, i) =>
  [[(i + 1) % n, 1 + (u1[i] % 100)], [u2[i] % n, 1 + (u3[i] % 100)], [u4[i] % n, 1 + (u5[i] % 100)]]);

class Heap {
  items = [];

  push(item) {
    const items = this.items;
    let at = items.length;
    items.push(item);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (items[parent][0] <= item[0]) break;
      items[at] = items[parent];
      at = parent;
    }
    items[at] = item;
  }

  pop() {
    const items = this.items, top = items[0], last = items.pop();
    if (!items.length) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && items[child + 1][0] < items[child][0]) child += 1;
      if (items[child][0] >= last[0]) break;
      items[at] = items[child];
      at = child;
    }
    items[at] = last;
    return top;
  }
}

function dijkstra(start) {
  const distance = new Float64Array(n).fill(Infinity), waiting = new Heap();
  distance[start] = 0;
  waiting.push([0, start]);
  while (waiting.items.length) {
    const [soFar, node] = waiting.pop();
    if (soFar > distance[node]) continue;
    for (const [neighbour, weight] of edges[node]) {
      if (soFar + weight >= distance[neighbour]) continue;
      distance[neighbour] = soFar + weight;
      waiting.push([soFar + weight, neighbour]);
    }
  }
  return distance;
}

function breadthFirst(start) {
  const seen = new Uint8Array(n), levels = [];
  seen[start] = 1;
  for (let level = [start]; level.length;) {
    levels.push(level.length);
    const next = [];
    for (const node of level) {
      for (const [neighbour] of edges[node]) {
        if (seen[neighbour]) continue;
        seen[neighbour] = 1;
        next.push(neighbour);
      }
    }
    level = next;
  }
  return levels;
}

const distance = dijkstra(0), levels = breadthFirst(0);
let sum = 0, longest = 0, farthest = 0;
distance.forEach((far, node) => {
  sum += far;
  if (far > longest) [longest, farthest] = [far, node];
});
console.log(JSON.stringify({ sum, longest, farthest, levels }));
