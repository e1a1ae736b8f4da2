n <- 10000; seed <- 0

column <- function(k) {
  i <- as.numeric(seq_len(n) - 1)
  a <- (7 * seed + 3 * k) %% 997 + 2
  b <- (13 * seed + 101 * k) %% 991 + 1
  c <- (17 * seed + 1111 * k) %% 99991
  (a * i * i + b * i + c) %% 99991
}

cents <- column(3)
shop <- column(5)
dates <- sprintf("2025-%02.0f-%02.0f", 1 + (column(1) %/% 7) %% 12, 1 + (column(2) %/% 7) %% 28)
amounts <- sprintf("%.0f.%02.0f", cents %/% 100, cents %% 100)
amounts <- sub("^([0-9]+)([0-9]{3}\\.)", "\"\\1,\\2\"", amounts)
amounts <- sub("\\.\"([0-9]+)$", ".\\1\"", amounts)
amounts[(column(4) %/% 7) %% 20 == 0] <- ""
notes <- ifelse((shop %/% 3) %% 11 == 0, "\"called \"\"urgent\"\", twice\"", "")
shops <- sprintf("\"Shop %.0f, Main Street\"", 1 + (shop %/% 7) %% 8)
writeLines(c("order,date,shop,amount,note", sprintf("%.0f,%s,%s,%s,%s", seq_len(n) - 1, dates, shops, amounts, notes)), "orders.csv")

orders <- read.csv("orders.csv", colClasses = "character")
amount <- as.numeric(gsub(",", "", orders$amount))
days <- sort(unique(orders$date))
weekday <- as.POSIXlt(as.Date(days))$wday[match(orders$date, days)]
month <- factor(as.integer(substr(orders$date, 6, 7)), levels = 1:12)
number <- factor(sub("^Shop ([0-9]+),.*$", "\\1", orders$shop), levels = 1:8)
by_month <- tapply(amount, month, sum, na.rm = TRUE, default = 0)
by_shop <- table(number[!is.na(amount)])
cat(sprintf(
  '{"missing": %d, "total": %.17g, "mean": %.17g, "largest": %s, "urgent": %d, "weekend": %d, "by_month": [%s], "by_shop": [%s]}\n',
  sum(is.na(amount)), sum(amount, na.rm = TRUE), mean(amount, na.rm = TRUE), orders$order[which.max(amount)],
  sum(grepl("\"urgent\"", orders$note, fixed = TRUE)), sum(weekday %in% c(0, 6)),
  paste(sprintf("%.17g", by_month), collapse = ", "), paste(by_shop, collapse = ", ")
))
