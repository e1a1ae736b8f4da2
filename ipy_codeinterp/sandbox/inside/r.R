# The runner of R: one cell after another, told of in the frames that channel.py describes.
#
#     Rscript --vanilla r.R IN OUT        (numbers of two inherited pipes)
#
# A cell is evaluated one expression at a time, as R does it at its prompt. What R prints goes straight to descriptors
# 1 and 2, like the words of programs that the code starts: the host reads them while the code runs, and R has no way
# to send anything meanwhile. Only a frame could overtake text: so what the host has not read by then is taken back out
# of the pipe, and sent as a frame before that one.
#
# The code's variables live in the global environment. Ours are out of its sight, and what we call it cannot mask.

local({

  PIECE <- 2L^20L         # files travel in pieces of this size
  PIPE_HOLDS <- 2L^16L    # bytes
  MOST_RETURNS <- 100L    # of half a character to the host, each of a millisecond
  MOST_FILES <- 100L
  MOST_FILE <- 100 * 2^20 # bytes
  MOST_HEAD <- 2^20       # bytes; the host takes no more
  MOST_BODY <- 64 * 2^20
  MOST_MESSAGE <- 2L^15L  # characters
  MOST_CALLS <- 30L       # in a traceback
  MOST_CALL <- 200L       # characters of one
  MOST_WARNINGS <- 50L    # of one expression, as R keeps
  INTERRUPTED <- 130L     # the exit status of a program that SIGINT ended
  NO_MEMORY <- c("cannot allocate vector", "cannot allocate memory", "could not allocate memory", "memory exhausted")
  RESERVE <- 8 * 2^20     # bytes that are given up when there is no memory left to say so

  folder <- getwd()
  ours <- dirname(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE)[1]))
  pipes <- sprintf("/dev/fd/%s", commandArgs(trailingOnly = TRUE))
  from_host <- file(pipes[1], "rb", raw = TRUE)
  to_host <- file(pipes[2], "wb", raw = TRUE)
  run <- NULL # the number of the run whose outputs may be sent
  pid <- Sys.getpid()

  # --- frames ---

  receive <- function() {
    sizes <- readBin(from_host, "integer", 2L, endian = "big")
    if (length(sizes) < 2L) return(NULL) # the host has closed the channel
    head <- rawToChar(readBin(from_host, "raw", sizes[1]))
    list(head = jsonlite::fromJSON(head), body = readBin(from_host, "raw", sizes[2]))
  }

  # No interrupt cuts a frame in two.
  write_frame <- function(head, body) suspendInterrupts({
    writeBin(c(length(head), length(body)), to_host, endian = "big")
    writeBin(head, to_host)
    writeBin(body, to_host)
    flush(to_host)
  })

  send <- function(type, ..., body = raw()) {
    head <- charToRaw(jsonlite::toJSON(list(type = type, ...), auto_unbox = TRUE, null = "null"))
    size <- length(head) + length(body)
    if (length(head) <= MOST_HEAD && length(body) <= MOST_BODY) write_frame(head, body)
    else send_text("stderr", sprintf("[%s not shown: %.0f MB are too large]\n", type, size %/% 2^20))
  }

  # A loop may tell of its progress a thousand times: toJSON takes longer than all the rest of this.
  send_text <- function(name, text) {
    head <- sprintf('{"type": "stream", "run": %d, "name": "%s"}', run, name)
    write_frame(charToRaw(head), if (is.raw(text)) text else charToRaw(utf8(text)))
  }

  # What comes between runs belongs to nobody and is dropped; of a process that was forked from here, too.
  is_heard <- function() !is.null(run) && Sys.getpid() == pid

  # Send what the code produced.
  output <- function(type, ..., body = raw()) suspendInterrupts({
    if (!is_heard()) return()
    take_back()
    send(type, run = run, ..., body = body)
  })

  put_stderr <- function(text) suspendInterrupts({
    take_back()
    if (nchar(text, "bytes") < PIECE) send_text("stderr", text) else cat(text, file = stderr())
  })

  take_back <- function() {
    for (fd in 1:2) {
      bytes <- unread(fd)
      if (length(bytes)) send_text(c("stdout", "stderr")[fd], bytes)
    }
  }

  # What lies in the pipe whose writing end is `fd`. When it begins with the end of a character, then the host has read
  # the other half, and gets this to read as well.
  unread <- function(fd) {
    for (i in seq_len(MOST_RETURNS)) {
      bytes <- taken(fd)
      if (!length(bytes) || bitwAnd(as.integer(bytes[1]), 0xC0L) != 0x80L) return(bytes)
      give_back(fd, bytes)
      Sys.sleep(0.001)
    }
    raw() # it is no text: where it is cut does not matter, and the host will read it
  }

  # All of it at once, or the host might read the middle. To read from an empty pipe is an error.
  taken <- function(fd) tryCatch({
    pipe <- fifo(sprintf("/dev/fd/%d", fd), "rb", blocking = FALSE)
    on.exit(close(pipe))
    readBin(pipe, "raw", PIPE_HOLDS)
  }, condition = function(c) raw())

  give_back <- function(fd, bytes) {
    pipe <- file(sprintf("/dev/fd/%d", fd), "wb", raw = TRUE)
    on.exit(close(pipe))
    writeBin(bytes, pipe)
  }

  utf8 <- function(text) iconv(enc2utf8(text), "UTF-8", "UTF-8", sub = "\ufffd")

  # --- values ---

  NO_METADATA <- structure(list(), names = character())

  # `bundle` has a text for each MIME type.
  display <- function(kind, bundle) {
    values <- lapply(bundle, function(value) charToRaw(utf8(value)))
    parts <- unname(Map(function(mime, value) list(mime, FALSE, length(value)), names(bundle), values))
    body <- do.call(c, unname(values))
    output("display", kind = kind, parts = parts, metadata = NO_METADATA, display_id = NULL, body = body)
  }

  # Tables are shown; everything else is printed as at the prompt, by the methods that the code sees.
  show_value <- function(value) {
    html <- if (is.data.frame(value) || is.matrix(value)) tryCatch(repr::repr_html(value), error = function(e) NULL)
    if (is.null(html) || html == "") { # no method, no columns
      print_call <- if (isS4(value)) quote(methods::show(x)) else quote(print(x))
      eval(print_call, list(x = value), globalenv())
    } else {
      display("execute_result", list("text/plain" = repr::repr_text(value), "text/html" = html))
    }
  }

  # --- plots ---
  #
  # A device writes a PNG for each page. A page is complete when the next one has begun or its device is closed, which
  # is at the end of the cell if the code does not do it.

  pages <- tempfile("pages")
  opened <- 0L

  open_device <- function(width = getOption("repr.plot.width"), height = getOption("repr.plot.height"), ...) {
    opened <<- opened + 1L
    dir.create(pages, showWarnings = FALSE, recursive = TRUE)
    file <- file.path(pages, sprintf("%06d-%%06d.png", opened))
    grDevices::png(file, width, height, units = "in", res = getOption("repr.plot.res"), type = "cairo")
  }

  # Numbers of our open devices, named by what their pages' names begin with.
  our_devices <- function() {
    files <- vapply(.Devices, function(device) c(attr(device, "filepath"), "")[1], "")
    ours <- which(startsWith(files, pages))
    structure(ours, names = device_of(files[ours]))
  }

  device_of <- function(files) sub("-.*", "", basename(files))

  send_pages <- function(...) suspendInterrupts({
    files <- list.files(pages, full.names = TRUE)
    devices <- device_of(files)
    is_complete <- duplicated(devices, fromLast = TRUE) | !devices %in% names(our_devices())
    for (file in files[is_complete]) {
      png <- jsonlite::base64_enc(readBin(file, "raw", file.size(file)))
      unlink(file)
      display("display_data", list("image/png" = gsub("\n", "", png, fixed = TRUE)))
    }
  })

  finish_plots <- function() {
    for (device in our_devices()) grDevices::dev.off(device)
    send_pages()
  }

  # --- messages, warnings, errors ---

  warned <- list()
  calls <- list() # that led to the last error
  reserve <- raw(RESERVE)

  on_message <- function(message) {
    if (!is_heard() || sink.number("message") != 2L) return() # or the code collects them
    put_stderr(conditionMessage(message))
    tryInvokeRestart("muffleMessage")
  }

  on_warning <- function(warning) {
    if (getOption("warn") != 0L) return() # R tells of it at once, never, or as of an error
    if (length(warned) < MOST_WARNINGS) warned[[length(warned) + 1L]] <<- warning
    tryInvokeRestart("muffleWarning")
  }

  # Frames of ours are above and below those of the code: its evaluation, and how R came here.
  on_error <- function(error) {
    make_room(error)
    found <- sys.calls()
    above <- max(0L, which(vapply(found, is_evaluation, NA)))
    below <- length(found) - if (is.name(found[[length(found)]][[1]])) 1L else 0L # .handleSimpleError calls h
    theirs <- found[seq_along(found) > above & seq_along(found) < below]
    calls <<- if (length(theirs) > MOST_CALLS) c(theirs[1:5], quote(...), rev(rev(theirs)[1:20])) else theirs
  }

  is_evaluation <- function(call) identical(call, EVALUATION) || identical(call, PRINTING)

  EVALUATION <- quote(eval(expression, globalenv()))
  PRINTING <- quote(eval(print_call, list(x = value), globalenv()))

  tell_warnings <- function() {
    if (!length(warned)) return()
    told <- structure(lapply(warned, call_of), names = vapply(warned, message_of, ""), class = "warnings")
    warned <<- list()
    put_stderr(paste0(utils::capture.output(print(told)), "\n", collapse = ""))
  }

  make_room <- function(error) {
    if (is.null(reserve) || !is_no_memory(tryCatch(conditionMessage(error), error = function(e) ""))) return()
    reserve <<- NULL
    gc() # C code that lacks memory does not ask for it
  }

  # Only out of plenty: the last of the memory is of more use to the code.
  renew_reserve <- function() {
    if (!is.null(reserve)) return()
    try({ raw(2 * RESERVE); reserve <<- raw(RESERVE) }, silent = TRUE)
    gc()
  }

  is_no_memory <- function(message) any(vapply(NO_MEMORY, grepl, NA, message[1], fixed = TRUE))

  tell_error <- function(error) {
    make_room(error)
    finish_plots()
    tell_warnings()
    message <- message_of(error)
    output("error", ename = name_of(error, message), evalue = message, traceback = I(traceback(error, message)))
  }

  message_of <- function(condition) {
    said <- tryCatch(utf8(conditionMessage(condition)), error = function(e) "<unprintable>")
    substr(paste(said, collapse = "\n"), 1L, MOST_MESSAGE)
  }

  call_of <- function(condition) {
    call <- conditionCall(condition)
    if (is_evaluation(call)) NULL else call
  }

  name_of <- function(error, message) {
    name <- class(error)[1]
    if (is_no_memory(message)) "MemoryError" else if (name == "simpleError") "Error" else name
  }

  traceback <- function(error, message) {
    call <- call_of(error)
    said <- if (is.null(call)) paste0("Error: ", message) else sprintf("Error in %s : %s", in_short(call), message)
    lines <- vapply(calls, in_short, "")
    c(strsplit(said, "\n", fixed = TRUE)[[1]], if (length(lines)) c("Traceback:", paste(" ", lines)))
  }

  in_short <- function(call) substr(utf8(paste(deparse(call, nlines = 1L), collapse = " ")), 1L, MOST_CALL)

  # --- a cell ---

  parsed <- function(code) {
    code <- gsub("\r\n", "\n", rawToChar(code), fixed = TRUE)
    parse(text = code, keep.source = TRUE, encoding = "UTF-8")
  }

  parses <- function(code) tryCatch(is.expression(parsed(code)), error = function(e) FALSE)

  parsed_or_error <- function(code) tryCatch(parsed(code), error = function(e) {
    stop(errorCondition(conditionMessage(e), class = "parseError"))
  })

  evaluate <- function(expression) {
    result <- withVisible(eval(expression, globalenv()))
    if (result$visible) show_value(result$value)
    send_pages()
    tell_warnings()
  }

  evaluate_all <- function(code) {
    expressions <- parsed_or_error(code)
    withCallingHandlers(
      for (expression in expressions) allowInterrupts(evaluate(expression)),
      message = on_message, warning = on_warning, error = on_error
    )
    finish_plots()
    0L
  }

  # The exit status of the code. What no handler hears of goes through options("error") to the restart `fail`.
  execute <- function(code) {
    calls <<- list()
    renew_reserve()
    withRestarts(
      tryCatch(evaluate_all(code), error = fail, interrupt = interrupted),
      leave = leave, fail = fail_unheard, abort = function() leave(1L)
    )
  }

  fail_unheard <- function() fail(simpleError(gsub("^Error: |\n$", "", geterrmessage())))

  leave <- function(status) {
    finish_plots()
    tell_warnings()
    status
  }

  fail <- function(error) {
    tell_error(error)
    1L
  }

  interrupted <- function(condition) {
    status <- leave(INTERRUPTED)
    output("error", ename = "KeyboardInterrupt", evalue = "", traceback = I("KeyboardInterrupt"))
    status
  }

  # --- files ---

  outbox <- Sys.getenv("OUTPUT_DIR")
  seen <- character() # what a file was like, by name
  unwritten <- NULL   # why a file of the next run is not there: half a file is worse than none

  write_input <- function(name, append, bytes) tryCatch({
    path <- file.path(folder, name)
    size <- length(bytes) + if (append) file.size(path) else 0
    file <- file(path, if (append) "ab" else "wb")
    tryCatch(writeBin(bytes, file), finally = close(file))
    if (file.size(path) != size) stop("no space left") # R does not look
  }, condition = function(c) unwritten <<- sprintf("attached file not written: %s: %s", name, conditionMessage(c)))

  # --- variables ---

  sys.source(file.path(ours, "values.R"), environment())

  pieces <- list() # of values that were sent, by the name of their file

  take_value <- function(name, append, bytes) {
    pieces[[name]] <<- c(if (append) pieces[[name]], list(bytes))
  }

  variable_of <- function(file) sub("\\.value\\.[a-z]+$", "", file)

  # Give what was sent its names; what comes is forgotten then.
  bind_values <- function() {
    sent <- pieces
    pieces <<- list()
    for (file in names(sent)) tryCatch({
      assign(variable_of(file), unpacked(do.call(c, sent[[file]])), globalenv())
    }, error = function(error) {
      stop(sprintf("%s was sent, but cannot be made here: %s", variable_of(file), conditionMessage(error)))
    })
  }

  send_value <- function(name) {
    text <- tryCatch(
      if (exists(name, globalenv(), inherits = FALSE)) packed(get(name, globalenv()))
      else nothing(sprintf("the code left no variable %s", name)),
      error = function(error) nothing(conditionMessage(error))
    )
    bytes <- charToRaw(enc2utf8(text))
    if (length(bytes) > MOST_FILE) bytes <- charToRaw(nothing("it takes more than a file of a run may have"))
    for (start in seq(1, length(bytes), PIECE)) {
      end <- min(start + PIECE - 1, length(bytes))
      file <- sprintf("%s.value.json", name)
      send("file", run = run, name = file, more = end < length(bytes), body = bytes[start:end])
    }
  }

  nothing <- function(why) sprintf('{"$":"nothing","why":%s}', quoted(substr(why, 1L, 500L)))

  # Names in the output folder that are new or different since the last call.
  changed <- function() {
    before <- seen
    seen <<- regular_files()
    names(seen)[is.na(before[names(seen)]) | before[names(seen)] != seen]
  }

  regular_files <- function() {
    names <- Filter(validUTF8, list.files(outbox, all.files = TRUE, no.. = TRUE)) # others R cannot open
    files <- file.path(outbox, names)
    info <- file.info(files, extra_cols = FALSE)
    is_regular <- !info$isdir %in% c(TRUE, NA) & Sys.readlink(files) == ""
    is_regular[is_regular] <- vapply(files[is_regular], is_regular_file, NA)
    marks <- sprintf("%.6f %.0f", as.numeric(info$ctime), info$size)
    structure(marks, names = names)[is_regular]
  }

  # Only what is empty may be something else. To open a pipe for both ends does not wait, and `raw` refuses it.
  is_regular_file <- function(file) file.size(file) > 0 || tryCatch({
    close(file(file, "r+b", raw = FALSE))
    TRUE
  }, condition = function(c) FALSE)

  send_files <- function() {
    names <- changed()
    fits <- file.size(file.path(outbox, names)) <= MOST_FILE
    fits <- fits & cumsum(fits) <= MOST_FILES
    why <- sprintf("more than %d, or over %.0f MB", MOST_FILES, MOST_FILE / 2^20)
    if (!all(fits)) send_text("stderr", sprintf("[%d files in $OUTPUT_DIR not kept: %s]\n", sum(!fits), why))
    for (name in names[fits]) send_file(name)
  }

  send_file <- function(name) tryCatch({
    file <- file(file.path(outbox, name), "rb", raw = TRUE)
    on.exit(close(file))
    piece <- readBin(file, "raw", PIECE)
    repeat {
      following <- readBin(file, "raw", PIECE)
      send("file", run = run, name = name, more = length(following) > 0L, body = piece)
      if (!length(following)) break
      piece <- following
    }
  }, condition = function(c) NULL) # it is gone, or not to be read

  # --- life ---

  run_cell <- function(number, parse, get, code) {
    if (isTRUE(parse) && !parses(code)) return(send("refused", run = number))
    changed() # whatever lies there now is not this run's
    tryCatch(allowInterrupts(Sys.sleep(0)), interrupt = function(i) NULL) # one that came between runs
    run <<- number
    send("begin", run = run)
    wrong <- if (is.null(unwritten)) tryCatch(bind_values(), error = identity) else simpleError(unwritten)
    status <- if (is.null(wrong)) execute(code) else fail(simpleError(conditionMessage(wrong)))
    unwritten <<- NULL
    if (status == 0L) for (name in get) send_value(name)
    send_files()
    run <<- NULL
    send("done", run = number, status = if (status == 0L) "ok" else "error", exit_status = status)
  }

  serve <- function() {
    send("ready")
    while (!is.null(received <- receive())) {
      head <- received$head
      switch(head$type,
        file = write_input(head$name, head$append, received$body),
        value = take_value(head$name, head$append, received$body),
        run = run_cell(head$run, head$parse, head$get, received$body)
      )
    }
  }

  replace_in_base <- function(name, value) {
    unlockBinding(name, baseenv())
    assign(name, value, baseenv())
    lockBinding(name, baseenv())
  }

  quit <- function(save, status = 0, runLast) invokeRestart("leave", as.integer(status) %% 256L)

  # All but ours.
  close_connections <- function() {
    while (sink.number() > 0L) sink()
    sink(type = "message")
    for (number in setdiff(getAllConnections(), c(0:2, from_host, to_host))) close(getConnection(number))
  }

  set_up <- function() {
    Sys.setlocale("LC_ALL", "C.UTF-8")
    for (name in c("q", "quit")) replace_in_base(name, quit)
    replace_in_base("closeAllConnections", close_connections)
    replace_in_base("browser", function(...) invisible()) # nobody would answer, here or in an editor
    options(editor = function(...) stop("there is no editor"))
    for (hook in c("plot.new", "grid.newpage")) setHook(hook, send_pages)
    loadNamespace("repr") # has options of its own
    options(repr.plot.width = 7, repr.plot.height = 5, repr.plot.res = 120)
    options(device = open_device, keep.source = TRUE, error = quote(invokeRestart("fail")))
  }

  # One of everything, so that the first cell is fast; three times, since R compiles what is called again. To nobody.
  warm_up <- function() {
    channel <- to_host
    to_host <<- file("/dev/null", "wb", raw = TRUE)
    run <<- 0L
    for (i in 1:3) execute(charToRaw('plot(1); data.frame(a = 1, b = "x"); message(1); warning(1); stop(1)'))
    run <<- NULL
    close(to_host)
    to_host <<- channel
  }

  suspendInterrupts({
    set_up()
    warm_up()
    serve()
  })

}, new.env(parent = baseenv()))
