n <- 2000; seed <- 0

column <- function(k) {
  i <- as.numeric(seq_len(n) - 1)
  a <- (7 * seed + 3 * k) %% 997 + 2
  b <- (13 * seed + 101 * k) %% 991 + 1
  c <- (17 * seed + 1111 * k) %% 99991
  (a * i * i + b * i + c) %% 99991
}

# Merges runs of twice the width each round: what is ahead of a value in the other run, findInterval knows.
values <- column(1)
sorted <- values
inversions <- 0
width <- 1
while (width < n) {
  for (start in seq(1, n, by = 2 * width)) {
    middle <- start + width
    if (middle > n) next
    end <- min(start + 2 * width - 1, n)
    left <- sorted[start:(middle - 1)]
    right <- sorted[middle:end]
    before <- findInterval(right, left)
    inversions <- inversions + sum(length(left) - before)
    merged <- numeric(end - start + 1)
    places <- before + seq_along(right)
    merged[places] <- right
    merged[-places] <- left
    sorted[start:end] <- merged
  }
  width <- 2 * width
}
checksum <- sum(as.numeric(seq_len(n)) * sorted)
rows <- order(values %% 100, -(values %/% 100), seq_len(n)) - 1
picked <- rows[c(1, n %/% 2 + 1, n)]
cat(sprintf(
  '{"inversions": %.0f, "checksum": %.0f, "rows": [%s]}\n',
  inversions, checksum, paste(sprintf("%.0f", picked), collapse = ", ")
))
