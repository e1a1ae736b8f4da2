n <- 10000; seed <- 0

column <- function(k) {
  i <- as.numeric(seq_len(n) - 1)
  a <- (7 * seed + 3 * k) %% 997 + 2
  b <- (13 * seed + 101 * k) %% 991 + 1
  c <- (17 * seed + 1111 * k) %% 99991
  (a * i * i + b * i + c) %% 99991
}

regions <- c("north", "east", "south", "west")
prices <- c(A = 19, B = 45, C = 7, D = 120, E = 64)
sales <- data.frame(
  region = factor(regions[(column(1) %/% 7) %% 4 + 1], levels = regions),
  product = factor(names(prices)[(column(2) %/% 7) %% 5 + 1], levels = names(prices)),
  month = factor(1 + (column(3) %/% 7) %% 12, levels = 1:12),
  units = 1 + column(4) %% 40
)
sales$revenue <- sales$units * prices[as.character(sales$product)]

table <- xtabs(revenue ~ region + product, sales)
best <- which(table == max(table), arr.ind = TRUE)[1, ]
by_month <- xtabs(revenue ~ month, sales)
means <- tapply(sales$units, list(sales$region, sales$month), mean)
named <- function(values) paste(sprintf('"%s": %s', regions, values), collapse = ", ")
cat(sprintf(
  '{"revenue": {%s}, "share": {%s}, "best": "%s/%s", "growth": %.17g, "mean_units": [%s]}\n',
  named(apply(table, 1, function(row) sprintf("[%s]", paste(sprintf("%.0f", row), collapse = ", ")))),
  named(sprintf("%.17g", rowSums(table) / sum(table))),
  rownames(table)[best[1]], colnames(table)[best[2]],
  by_month[["12"]] / by_month[["1"]] - 1, paste(sprintf("%.17g", means[, "6"]), collapse = ", ")
))
