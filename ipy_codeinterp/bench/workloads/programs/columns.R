n <- 10000; seed <- 0

column <- function(k) {
  i <- as.numeric(seq_len(n) - 1)
  a <- (7 * seed + 3 * k) %% 997 + 2
  b <- (13 * seed + 101 * k) %% 991 + 1
  c <- (17 * seed + 1111 * k) %% 99991
  (a * i * i + b * i + c) %% 99991
}

quantity <- 1 + (column(1) %/% 7) %% 9
price <- 100 + column(2) %% 9900
gross <- quantity * price
percent <- ifelse(gross < 20000, 0, ifelse(gross < 50000, 5, 12))
net <- gross - (gross * percent) %/% 100
rate <- c(19, 20, 21, 22, 25, 8)[(column(3) %/% 7) %% 6 + 1]
total <- net + (net * rate + 50) %/% 100
balance <- cumsum(ifelse(column(4) %% 2 == 1, total, -total))
running <- c(0, cumsum(total))
in_order <- sort(total)
cat(sprintf(
  paste0(
    '{"net": %.0f, "total": %.0f, "discounted": %.17g, "peak": %.0f, "peak_row": %d, "last": %.0f, ',
    '"rises": %d, "smoothest": %.17g, "median": %.0f, "p90": %.0f}\n'
  ),
  sum(net), sum(total), mean(percent > 0), max(balance), which.max(balance) - 1L, balance[n], sum(diff(total) > 0),
  max(diff(running, lag = 7)) / 7, in_order[(n - 1) %/% 2 + 1], in_order[ceiling(9 * n / 10)]
))
