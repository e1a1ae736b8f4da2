n <- 10000; seed <- 0

column <- function(k) {
  i <- as.numeric(seq_len(n) - 1)
  a <- (7 * seed + 3 * k) %% 997 + 2
  b <- (13 * seed + 101 * k) %% 991 + 1
  c <- (17 * seed + 1111 * k) %% 99991
  (a * i * i + b * i + c) %% 99991
}

haystack <- sort(unique(column(1)))
needles <- column(2)
places <- findInterval(needles, haystack, left.open = TRUE)
above <- haystack[pmin(places + 1, length(haystack))]
below <- haystack[pmax(places, 1)]
nearest <- pmin(abs(above - needles), abs(needles - below))

text <- paste(strsplit("acgt", "")[[1]][(column(3) %/% 7) %% 4 + 1], collapse = "")
pattern <- substr(text, n %/% 2 + 1, n %/% 2 + 5)
found <- gregexpr(paste0("(?=", pattern, ")"), text, perl = TRUE)[[1]] - 1
cat(sprintf(
  '{"hits": %d, "places": %.0f, "nearest": %.0f, "matches": %d, "first": %d}\n',
  sum(needles %in% haystack), sum(as.numeric(places)), sum(nearest), length(found), found[1]
))
