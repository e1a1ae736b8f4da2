n <- 100; seed <- 0

column <- function(k) {
  i <- as.numeric(seq_len(n) - 1)
  a <- (7 * seed + 3 * k) %% 997 + 2
  b <- (13 * seed + 101 * k) %% 991 + 1
  c <- (17 * seed + 1111 * k) %% 99991
  (a * i * i + b * i + c) %% 99991
}

d <- 10 + column(1) %% 90
u <- 1 + column(2) %% 9
b <- column(3) %% 100 - 50
matrix <- diag(d) + outer(u, u)

x <- solve(matrix, b)
logdet <- as.numeric(determinant(matrix, logarithm = TRUE)$modulus)
square <- matrix %*% matrix
eigenvalue <- max(eigen(matrix, symmetric = TRUE, only.values = TRUE)$values)
cat(sprintf(
  '{"first": %.17g, "last": %.17g, "norm": %.17g, "logdet": %.17g, "eigenvalue": %.17g, "trace": %.17g, "entries": %.17g}\n',
  x[1], x[n], sqrt(sum(x^2)), logdet, eigenvalue, sum(diag(square)), sum(square)
))
