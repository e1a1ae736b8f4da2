n <- 1000; seed <- 0

steps <- 24
modulus <- 2147483647

draws <- function(count) {
  numbers <- numeric(count)
  state <- 1 + seed %% (modulus - 1)
  for (k in seq_len(count)) {
    state <- (state * 16807) %% modulus
    numbers[k] <- state
  }
  numbers / modulus
}

chance <- matrix(draws(n * steps), nrow = n, byrow = TRUE)
change <- ifelse(chance < 0.05, -12, ifelse(chance < 0.45, -1, ifelse(chance < 0.85, 1, 4)))
capital <- rep(20, n)
lowest <- capital
highest <- capital
drawdown <- rep(0, n)
for (step in seq_len(steps)) {
  capital <- capital + change[, step]
  lowest <- pmin(lowest, capital)
  highest <- pmax(highest, capital)
  drawdown <- pmax(drawdown, highest - capital)
}
cat(sprintf(
  '{"ruin": %.17g, "mean": %.17g, "deviation": %.17g, "q05": %.0f, "drawdown": %.17g}\n',
  mean(lowest < 0), mean(capital), sd(capital), sort(capital)[ceiling(n / 20)], mean(drawdown)
))
