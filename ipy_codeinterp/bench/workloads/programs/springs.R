n <- 10; seed <- 0

end <- 20
steps <- 8000
modes <- c(1 + seed %% 3, n %/% 2 + 1 + seed %% 2)
j <- seq_len(n)
x <- sin(modes[1] * pi * j / (n + 1)) + 0.5 * sin(modes[2] * pi * j / (n + 1))
v <- rep(0, n)

stretched <- function(x) diff(c(0, x, 0))
force <- function(x) diff(stretched(x))

# Runge and Kutta's steps of fourth order
h <- end / steps
for (step in seq_len(steps)) {
  a1 <- force(x)
  v2 <- v + h / 2 * a1
  a2 <- force(x + h / 2 * v)
  v3 <- v + h / 2 * a2
  a3 <- force(x + h / 2 * v2)
  v4 <- v + h * a3
  a4 <- force(x + h * v3)
  x <- x + h / 6 * (v + 2 * v2 + 2 * v3 + v4)
  v <- v + h / 6 * (a1 + 2 * a2 + 2 * a3 + a4)
}
cat(sprintf(
  '{"first": %.17g, "norm": %.17g, "size": %.17g, "kinetic": %.17g, "potential": %.17g}\n',
  x[1], sqrt(sum(x^2)), sum(abs(x)), sum(v^2) / 2, sum(stretched(x)^2) / 2
))
