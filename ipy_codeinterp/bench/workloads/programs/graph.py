n, seed = 1_000, 0

import heapq
import json
from collections import Counter, deque


def column(k):
    a, b, c = (7 * seed + 3 * k) % 997 + 2, (13 * seed + 101 * k) % 991 + 1, (17 * seed + 1111 * k) % 99991
    return [(a * i * i + b * i + c) % 99991 for i in range(n)]


u1, u2, u3, u4, u5 = (column(k) for k in range(1, 6))
edges = [[((i + 1) % n, 1 + u1[i] % 100), (u2[i] % n, 1 + u3[i] % 100), (u4[i] % n, 1 + u5[i] % 100)] for i in range(n)]


def dijkstra(start):
    distance = {start: 0}
    done = set()
    waiting = [(0, start)]
    while waiting:
        so_far, node = heapq.heappop(waiting)
        if node in done:
            continue
        done.add(node)
        for neighbour, weight in edges[node]:
            through = so_far + weight
            if through < distance.get(neighbour, float("inf")):
                distance[neighbour] = through
                heapq.heappush(waiting, (through, neighbour))
    return distance


def breadth_first(start):
    hops = {start: 0}
    waiting = deque([start])
    while waiting:
        node = waiting.popleft()
        for neighbour, _ in edges[node]:
            if neighbour not in hops:
                hops[neighbour] = hops[node] + 1
                waiting.append(neighbour)
    return hops


distance, hops = dijkstra(0), breadth_first(0)
longest = max(distance.values())
levels = Counter(hops.values())
answer = {
    "sum": sum(distance.values()),
    "longest": longest,
    "farthest": min(node for node, far in distance.items() if far == longest),
    "levels": [levels[hop] for hop in range(max(levels) + 1)],
}
print(json.dumps(answer))
