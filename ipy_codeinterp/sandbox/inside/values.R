# R's end of what `values/` says of JSON: a value that was sent becomes one of R's, and one of R's goes back.
#
# Sourced by r.R into its own environment. Numbers of columns and arrays are base64 of little-endian bytes.

TAG <- "$"
SAFE <- 2^53
WHAT_CAN <- "what can: data frames, vectors, matrices, factors, dates and times, and lists of these"
WIDTHS <- c(int8 = 1L, uint8 = 1L, int16 = 2L, uint16 = 2L, int32 = 4L, uint32 = 4L, int64 = 8L, uint64 = 8L)
PER_SECOND <- c(s = 1, ms = 1e3, us = 1e6, ns = 1e9)

# --- in ---------------------------------------------------------------------------------------------

unpacked <- function(bytes) {
  text <- rawToChar(bytes)
  Encoding(text) <- "UTF-8"
  if (grepl("\\u0000", text, fixed = TRUE)) stop("a text in it has a NUL character, which no text of R can have")
  decoded(jsonlite::fromJSON(text, simplifyVector = FALSE))
}

decoded <- function(said) {
  if (!is.list(said)) return(said)
  if (is.null(names(said))) return(simplified(lapply(said, decoded)))
  if (!is.null(said[[TAG]])) return(untagged(said))
  lapply(said, decoded)
}

untagged <- function(said) {
  value <- said[["v"]]
  switch(said[[TAG]],
    int = exact(as.numeric(value)),
    float = as.numeric(sub("^nan$", "NaN", value)),
    complex = complex(real = decoded(value[[1]]), imaginary = decoded(value[[2]])),
    tuple = , set = , frozenset = simplified(lapply(value, decoded)),
    dict = structure(lapply(value, function(pair) decoded(pair[[2]])),
                     names = vapply(value, function(pair) as.character(decoded(pair[[1]])), "")),
    bytes = , bytearray = jsonlite::base64_dec(value),
    decimal = as.numeric(value),
    date = as.Date(value),
    datetime = moment(said),
    timedelta = as.difftime(86400 * value[[1]] + value[[2]] + value[[3]] / 1e6, units = "secs"),
    array = , scalar = as_array(said),
    frame = as_frame(said),
    series = vector_of(said$values),
    index = vector_of(said$v$values),
    timestamp = times(integers(int64_bytes(exact_or_tagged(value)), "int64"), said$unit, said$zone),
    `pandas-timedelta` = as.difftime(exact_or_tagged(value) / PER_SECOND[[said$unit]], units = "secs"),
    `NA` = , NaT = NA,
    stop(sprintf("a value of kind %s has no equal in R", said[[TAG]]))
  )
}

# A list of single values of one kind is a vector; what is missing is NA.
simplified <- function(values) {
  is_missing <- vapply(values, is.null, NA)
  is_single <- function(x) is.atomic(x) && length(x) == 1L && !is.object(x)
  kinds <- unique(vapply(values[!is_missing], function(x) if (is_single(x)) typeof(x) else "", ""))
  if (length(kinds) == 2L && all(kinds %in% c("integer", "double"))) kinds <- "double"
  if (length(kinds) != 1L || kinds == "") return(values)
  values[is_missing] <- NA
  unlist(values)
}

moment <- function(said) {
  if (!is.null(said$zone)) return(as.POSIXct(said$at, origin = "1970-01-01", tz = zone_name(said$zone)))
  as.POSIXct(said$v, tz = "UTC", format = "%Y-%m-%dT%H:%M:%OS")
}

zone_name <- function(zone) if (is.null(zone) || is.null(zone$key)) "UTC" else zone$key

exact <- function(number) {
  if (any(abs(number) > SAFE, na.rm = TRUE)) stop("an integer beyond 2^53 has no equal in R")
  number
}

exact_or_tagged <- function(value) if (is.list(value)) as.numeric(value$v) else value

# Integers of any width, as R's own where they fit. Its NA has the bytes of the least integer of four.
integers <- function(bytes, type) {
  width <- WIDTHS[[type]]
  is_signed <- !startsWith(type, "u")
  if (width < 4L) return(readBin(bytes, "integer", length(bytes) %/% width, width, is_signed, endian = "little"))
  words <- as.numeric(readBin(bytes, "integer", length(bytes) %/% 4L, 4L, endian = "little"))
  words[is.na(words)] <- -2^31
  if (width == 8L) {
    low <- words[c(TRUE, FALSE)]
    high <- words[c(FALSE, TRUE)]
    if (type == "uint64") high <- high + 2^32 * (high < 0)
    return(high * 2^32 + low + 2^32 * (low < 0))
  }
  if (type == "uint32") words + 2^32 * (words < 0) else words
}

small <- function(numbers) {
  exact(numbers)
  if (all(abs(numbers) < 2^31)) as.integer(numbers) else numbers
}

numbers_of <- function(bytes, type) {
  count <- function(width) length(bytes) %/% width
  switch(type,
    bool = , boolean = as.logical(as.integer(bytes)),
    float64 = , Float64 = readBin(bytes, "double", count(8L), 8L, endian = "little"),
    float32 = , Float32 = readBin(bytes, "double", count(4L), 4L, endian = "little"),
    complex128 = readBin(bytes, "complex", count(16L), endian = "little"),
    if (tolower(type) %in% names(WIDTHS)) small(integers(bytes, tolower(type)))
    else stop(sprintf("values of dtype %s have no equal in R", type))
  )
}

vector_of <- function(said) {
  if (said$t == "string") return(texts(said$v))
  if (said$t == "object") return(column(simplified(lapply(said$v, decoded))))
  bytes <- jsonlite::base64_dec(said$v)
  switch(said$t,
    category = {
      codes <- integers(bytes, said$size)
      labels <- as.character(vector_of(said$categories))
      factor(codes, seq_along(labels) - 1L, labels, ordered = said$ordered)
    },
    datetime = times(integers(bytes, "int64"), said$unit, said$zone),
    timedelta = as.difftime(missing_moments(integers(bytes, "int64")) / PER_SECOND[[said$unit]], units = "secs"),
    {
      values <- numbers_of(bytes, said$t)
      if (is.double(values)) values[is.nan(values)] <- NA
      if (!is.null(said$na)) values[as.logical(as.integer(jsonlite::base64_dec(said$na)))] <- NA
      values
    }
  )
}

texts <- function(values) vapply(values, function(x) if (is.null(x)) NA_character_ else x, "")

# Dates in a list are a vector of dates.
column <- function(values) {
  if (!is.list(values) || !length(values)) return(values)
  is_missing <- vapply(values, function(x) is.null(x) || (is.atomic(x) && length(x) == 1L && is.na(x)), NA)
  are_dates <- vapply(values[!is_missing], inherits, NA, "Date")
  if (!length(are_dates) || !all(are_dates)) return(I(values))
  values[is_missing] <- list(as.Date(NA))
  do.call(c, values)
}

times <- function(numbers, unit, zone) {
  .POSIXct(missing_moments(numbers) / PER_SECOND[[unit]], tz = zone_name(zone))
}

missing_moments <- function(numbers) replace(numbers, numbers == -2^63, NA) # NaT

as_array <- function(said) {
  kind <- sub("^[<|=]", "", said$dtype)
  bytes <- jsonlite::base64_dec(said$v)
  if (startsWith(said$dtype, ">")) stop("an array of big-endian numbers has no equal in R")
  width <- as.integer(sub("^[^0-9]*([0-9]*).*$", "\\1", kind))
  values <- switch(substr(kind, 1L, 1L),
    b = numbers_of(bytes, "bool"),
    i = numbers_of(bytes, sprintf("int%d", 8L * width)),
    u = numbers_of(bytes, sprintf("uint%d", 8L * width)),
    f = numbers_of(bytes, sprintf("float%d", 8L * width)),
    c = numbers_of(bytes, sprintf("complex%d", 8L * width)),
    U = characters(bytes, width),
    stop(sprintf("an array of %s has no equal in R", said$dtype))
  )
  size <- unlist(said$shape)
  if (length(size) < 2L) values else aperm(array(values, rev(size)))
}

characters <- function(bytes, width) {
  codes <- matrix(readBin(bytes, "integer", length(bytes) %/% 4L, 4L, endian = "little"), nrow = width)
  apply(codes, 2L, function(text) intToUtf8(text[text != 0L]))
}

# An index that only counts is none; any other is columns, as pandas' reset_index has it.
as_frame <- function(said) {
  index <- said$index
  before <- switch(index$i,
    range = list(),
    flat = structure(list(vector_of(index$values)), names = index_name(index$name, "index")),
    multi = structure(Map(level_of, index$levels, index$codes),
                      names = unlist(Map(index_name, index$names, level_names(index))))
  )
  names <- vapply(column_names(said$columns), function(x) if (is.na(x)) "NA" else x, "")
  columns <- c(before, structure(lapply(said$data, vector_of), names = names))
  rows <- if (length(columns)) length(columns[[1]]) else length(seq_len(max(0, index$stop - index$start)))
  structure(columns, names = as.character(names(columns)), row.names = .set_row_names(rows), class = "data.frame")
}

column_names <- function(said) switch(said$i,
  flat = as.character(vector_of(said$values)),
  range = as.character(seq(said$start, by = said$step, length.out = max(0, (said$stop - said$start) %/% said$step))),
  stop("columns of several levels have no equal in R: flatten their names")
)

index_name <- function(name, else_name) if (is.null(name)) else_name else as.character(decoded(name))

level_names <- function(index) sprintf("level_%d", seq_along(index$levels) - 1L)

level_of <- function(level, codes) vector_of(level)[integers(jsonlite::base64_dec(codes), "int64") + 1]

# --- out --------------------------------------------------------------------------------------------

# JSON text.
packed <- function(value, depth = 0L) {
  if (depth > 60L) stop("it is nested more than 60 deep")
  if (is.null(value)) return("null")
  if (inherits(value, "POSIXlt")) value <- as.POSIXct(value)
  if (is.data.frame(value)) return(packed_frame(value, depth))
  if (inherits(value, "AsIs")) class(value) <- setdiff(class(value), "AsIs")
  is_moment <- inherits(value, c("Date", "POSIXct", "difftime"))
  if (is_moment && length(value) == 1L && !is.na(value)) return(packed_moment(value))
  if (is_moment || is.factor(value)) return(packed_series(value, depth))
  if (is.object(value) && !is.list(value) || isS4(value)) stop(no_way(value))
  if (is.array(value)) return(packed_array(value))
  if (is.atomic(value)) packed_vector(value) else if (is.list(value)) packed_list(value, depth) else stop(no_way(value))
}

no_way <- function(value) sprintf("a value of class %s cannot travel; %s", class(value)[1], WHAT_CAN)

quoted <- function(text) as.character(jsonlite::toJSON(jsonlite::unbox(utf8(text))))
joined <- function(parts) paste(parts, collapse = ",")
tagged <- function(tag, value, more = "") sprintf('{"$":"%s","v":%s%s}', tag, value, more)
in_base64 <- function(bytes) sprintf('"%s"', gsub("\n", "", jsonlite::base64_enc(bytes), fixed = TRUE))
written <- function(values, ...) in_base64(writeBin(values, raw(), endian = "little", ...))

packed_single <- function(value) {
  if (is.character(value)) return(if (is.na(value)) "null" else quoted(value))
  if (is.logical(value)) return(if (is.na(value)) "null" else if (value) "true" else "false")
  if (is.integer(value)) return(if (is.na(value)) "null" else sprintf("%d", value))
  if (is.complex(value)) {
    return(tagged("complex", sprintf("[%s,%s]", packed_single(Re(value)), packed_single(Im(value)))))
  }
  if (!is.finite(value)) return(tagged("float", if (is.na(value)) '"nan"' else if (value > 0) '"inf"' else '"-inf"'))
  text <- sprintf("%.17g", value)
  if (grepl("[.e]", text)) text else paste0(text, ".0")
}

packed_vector <- function(value) {
  if (is.raw(value)) return(tagged("bytes", in_base64(value)))
  singles <- function() vapply(unname(value), packed_single, "")
  if (!is.null(names(value))) return(packed_names(names(value), singles()))
  if (length(value) == 1L) return(packed_single(value))
  has_gaps <- !is.double(value) && !is.complex(value) && anyNA(value) # for which numpy has no word
  if (is.character(value) || has_gaps) return(sprintf("[%s]", joined(singles())))
  packed_array(array(value, length(value)))
}

packed_array <- function(value) {
  shape <- sprintf(',"shape":[%s]', joined(dim(value)))
  flat <- as.vector(if (length(dim(value)) > 1L) aperm(value) else value)
  has_gaps <- (is.integer(flat) || is.logical(flat)) && anyNA(flat)
  if (is.character(flat) || has_gaps) stop("a matrix of texts, or with NA, cannot travel: make it a data frame")
  kind <- switch(typeof(flat), double = "<f8", integer = "<i8", logical = "|b1", complex = "<c16", stop(no_way(value)))
  bytes <- switch(typeof(flat),
    logical = in_base64(as.raw(flat)), integer = in_base64(int64_bytes(flat)), written(flat)
  )
  tagged("array", bytes, sprintf('%s,"dtype":"%s"', shape, kind))
}

packed_list <- function(value, depth) {
  if (!is.null(attr(value, "class"))) stop(no_way(value))
  parts <- vapply(unname(value), packed, "", depth + 1L)
  if (is.null(names(value))) sprintf("[%s]", joined(parts)) else packed_names(names(value), parts)
}

packed_names <- function(names, parts) {
  if (anyDuplicated(names) || anyNA(names)) stop("a list with two of one name cannot travel")
  keys <- vapply(names, quoted, "")
  if (TAG %in% names) return(tagged("dict", sprintf("[%s]", joined(sprintf("[%s,%s]", keys, parts)))))
  sprintf("{%s}", joined(sprintf("%s:%s", keys, parts)))
}

packed_moment <- function(value) {
  if (inherits(value, "Date")) return(tagged("date", quoted(format(value, "%Y-%m-%d"))))
  if (inherits(value, "difftime")) {
    return(tagged("timedelta", sprintf("[0,0,%.0f]", round(as.numeric(value, units = "secs") * 1e6))))
  }
  microseconds <- round(as.numeric(value) * 1e6)
  sprintf('{"$":"timestamp","v":%.0f,"unit":"us","zone":{"key":%s}}', microseconds, quoted(zone_of(value)))
}

zone_of <- function(value) {
  zone <- attr(value, "tzone")[1]
  if (is.null(zone) || is.na(zone) || zone == "") "UTC" else zone
}

packed_series <- function(value, depth) {
  index <- sprintf('{"i":"range","start":0,"stop":%d,"step":1,"name":null}', length(value))
  sprintf('{"$":"series","name":null,"index":%s,"values":%s}', index, packed_column(unname(value), depth))
}

packed_frame <- function(value, depth) {
  is_counted <- .row_names_info(value) < 0L || identical(rownames(value), as.character(seq_len(nrow(value))))
  index <- if (is_counted) sprintf('{"i":"range","start":0,"stop":%d,"step":1,"name":null}', nrow(value))
    else sprintf('{"i":"flat","name":null,"values":%s}', packed_texts(rownames(value)))
  columns <- vapply(seq_along(value), function(at) tryCatch(packed_column(value[[at]], depth), error = function(error) {
    stop(sprintf("column %s: %s", names(value)[at], conditionMessage(error)))
  }), "")
  names <- sprintf('{"i":"flat","name":null,"values":%s}', packed_texts(names(value)))
  sprintf('{"$":"frame","columns":%s,"index":%s,"data":[%s]}', names, index, joined(columns))
}

packed_texts <- function(values) {
  texts <- as.character(jsonlite::toJSON(utf8(as.character(values)), na = "null"))
  sprintf('{"t":"string","missing":"nan","v":%s}', texts)
}

packed_column <- function(values, depth) {
  numbers <- function(type, bytes, more = "") sprintf('{"t":"%s","v":%s%s}', type, bytes, more)
  mask <- function() sprintf(',"na":%s', in_base64(as.raw(is.na(values))))
  if (inherits(values, "POSIXlt")) values <- as.POSIXct(values)
  if (is.factor(values)) {
    codes <- replace(as.integer(values) - 1L, is.na(values), -1L)
    is_ordered <- if (is.ordered(values)) "true" else "false"
    more <- sprintf(',"size":"int32","ordered":%s,"categories":%s', is_ordered, packed_texts(levels(values)))
    return(numbers("category", written(codes), more))
  }
  if (inherits(values, "Date")) return(numbers("datetime", moments(unclass(values) * 86400), ',"unit":"s","zone":null'))
  if (inherits(values, "POSIXct")) {
    zone <- sprintf(',"unit":"us","zone":{"key":%s}', quoted(zone_of(values)))
    return(numbers("datetime", moments(unclass(values) * 1e6), zone))
  }
  if (inherits(values, "difftime")) {
    return(numbers("timedelta", moments(as.numeric(values, units = "secs") * 1e6), ',"unit":"us"'))
  }
  if (is.list(values) && !is.data.frame(values)) {
    return(sprintf('{"t":"object","v":[%s]}', joined(vapply(unclass(values), packed, "", depth + 1L))))
  }
  if (is.object(values) && !inherits(values, "AsIs") || !is.null(dim(values))) stop(no_way(values))
  switch(typeof(values),
    double = numbers("float64", written(as.double(values))),
    integer = {
      bytes <- in_base64(int64_bytes(replace(values, is.na(values), 0L)))
      if (anyNA(values)) numbers("Int64", bytes, mask()) else numbers("int64", bytes)
    },
    logical = {
      bytes <- in_base64(as.raw(replace(values, is.na(values), FALSE)))
      if (anyNA(values)) numbers("boolean", bytes, mask()) else numbers("bool", bytes)
    },
    character = packed_texts(values),
    complex = numbers("complex128", written(as.complex(values))),
    stop(no_way(values))
  )
}

moments <- function(numbers) in_base64(int64_bytes(replace(round(as.numeric(numbers)), is.na(numbers), -2^63)))

# Four bytes of -2^31 are those of R's NA, which is what as.integer makes of it.
int64_bytes <- function(numbers) {
  high <- floor(numbers / 2^32)
  low <- numbers - high * 2^32
  words <- suppressWarnings(as.integer(rbind(low - 2^32 * (low >= 2^31), high)))
  writeBin(as.vector(words), raw(), endian = "little")
}
