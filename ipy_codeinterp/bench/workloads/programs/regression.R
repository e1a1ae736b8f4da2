n <- 1000; seed <- 0

column <- function(k) {
  i <- as.numeric(seq_len(n) - 1)
  a <- (7 * seed + 3 * k) %% 997 + 2
  b <- (13 * seed + 101 * k) %% 991 + 1
  c <- (17 * seed + 1111 * k) %% 99991
  (a * i * i + b * i + c) %% 99991
}

x1 <- column(1) %% 1000
x2 <- column(2) %% 500
x3 <- (column(3) %/% 7) %% 2
y <- 250 + 3 * x1 - 2 * x2 + 120 * x3 + column(4) %% 401 + column(5) %% 401 - 400

fit <- summary(lm(y ~ x1 + x2 + x3))
row <- function(name) paste(sprintf("%.17g", fit$coefficients[, name]), collapse = ", ")
cat(sprintf(
  '{"coefficients": [%s], "errors": [%s], "t": [%s], "r2": %.17g, "sigma": %.17g}\n',
  row("Estimate"), row("Std. Error"), row("t value"), fit$r.squared, fit$sigma
))
