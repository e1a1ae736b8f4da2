n <- 1000; seed <- 0

column <- function(k) {
  i <- as.numeric(seq_len(n) - 1)
  a <- (7 * seed + 3 * k) %% 997 + 2
  b <- (13 * seed + 101 * k) %% 991 + 1
  c <- (17 * seed + 1111 * k) %% 99991
  (a * i * i + b * i + c) %% 99991
}

group <- (column(1) %/% 7) %% 2
effect <- 60000 %/% floor(sqrt(1000 * n))
value <- column(2) %% 1000 + column(3) %% 1000 + effect * group
welch <- t.test(value[group == 0], value[group == 1])

choice <- (column(4) %/% 7) %% 3
counts <- table(factor(group, levels = 0:1), factor(choice, levels = 0:2))
chi2 <- chisq.test(counts, correct = FALSE)
numbers <- function(values) paste(sprintf("%.17g", values), collapse = ", ")
cat(sprintf(
  '{"means": [%s], "t": %.17g, "df": %.17g, "p": %.17g, "interval": [%s], "table": [[%s], [%s]], "chi2": %.17g, "chi2_p": %.17g}\n',
  numbers(welch$estimate), welch$statistic, welch$parameter, welch$p.value, numbers(welch$conf.int),
  paste(counts[1, ], collapse = ", "), paste(counts[2, ], collapse = ", "), chi2$statistic, chi2$p.value
))
