n <- 4096; seed <- 0

bins <- c(3 + seed %% 5, 17 + seed %% 11, n %/% 16 + 1 + seed %% 13, n %/% 5 + seed %% 17)
amplitudes <- c(1.25, 3, 0.5, 2)
phases <- c(0.5, -1, 2, 0.25 + (seed %% 4) / 2)

j <- as.numeric(seq_len(n) - 1)
signal <- rep(0.75, n)
for (k in seq_along(bins)) signal <- signal + amplitudes[k] * cos(2 * pi * ((bins[k] * j) %% n) / n + phases[k])

spectrum <- fft(signal) / n
half <- spectrum[2:(n %/% 2 + 1)]
found <- order(-Mod(half))[1:4]
low <- spectrum
low[(n %/% 10 + 2):(n - n %/% 10)] <- 0
filtered <- Re(fft(low, inverse = TRUE))
list_of <- function(values) paste(sprintf("%.17g", values), collapse = ", ")
cat(sprintf(
  paste0(
    '{"mean": %.17g, "bins": [%s], "amplitudes": [%s], "phases": [%s], ',
    '"power": %.17g, "filtered_power": %.17g, "filtered_start": %.17g}\n'
  ),
  Re(spectrum[1]), list_of(found), list_of(2 * Mod(half[found])), list_of(Arg(half[found])),
  mean(signal^2), mean(filtered^2), filtered[1]
))
