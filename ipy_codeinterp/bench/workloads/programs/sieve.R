n <- 10000; seed <- 0

limit <- n + 100 * (seed %% 100)
is_prime <- rep(TRUE, limit)
is_prime[1] <- FALSE
for (i in 2:floor(sqrt(limit))) {
  if (is_prime[i]) is_prime[seq(i * i, limit, by = i)] <- FALSE
}
primes <- as.numeric(which(is_prime))
cat("Found", length(primes), "primes up to", limit, "\n")
cat(sprintf('{"count": %d, "sum": %.0f, "largest": %.0f}\n', length(primes), sum(primes), max(primes)))
