// The runner of Node.js: one cell of JavaScript after another, told of in the frames that channel.py describes.
//
//     node node.mjs IN OUT        (numbers of two inherited pipes)
//
// A cell is evaluated by V8's own inspector in REPL mode: it may await, declare a constant again, and the value of
// its last expression is its result. All of this shares one realm with the code, which can break it: the host believes
// nothing that comes from here, and the code harms only itself.

import fs from "node:fs";
import { Session } from "node:inspector";
import Module, { syncBuiltinESMExports } from "node:module";
import net from "node:net";
import path from "node:path";
import { Writable } from "node:stream";
import { setImmediate } from "node:timers";
import { inspect, types } from "node:util";
import vm from "node:vm";
import { packed, unpacked } from "./values.mjs";

const [IN, OUT] = process.argv.slice(2).map(Number);
const FOLDER = process.cwd();
const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = fs.constants;
const PIECE = 1 << 20; // files travel in pieces of this size
const PIPE_HOLDS = 1 << 16; // bytes
const ATOMIC = 4096; // bytes that go into a pipe, and out of it, undivided
const MOST_FILES = 100;
const MOST_FILE = 100 << 20; // bytes
const MOST_HEAD = 1 << 20; // bytes; the host takes no more
const MOST_BODY = 64 << 20;
const MOST_JSON = 1 << 20;
const MOST_DEPTH = 90; // of JSON, counting an object twice
const MOST_MESSAGE = 1 << 15; // characters
const MOST_WHY = 500;
const MOST_TRACEBACK = 1 << 17;
const INTERRUPTED = 130; // the exit status of a program that SIGINT ended
const EMPTY = Buffer.alloc(0);
const { exit, _tickCallback: runMicrotasks } = process; // the code gets another exit

let current = null; // the run whose outputs may be sent: {number, resolve}
let inFrame = false;

// --- frames ---

function send(type, fields = {}, body = EMPTY) {
  const head = Buffer.from(JSON.stringify({ type, ...fields }));
  if (head.length > MOST_HEAD || body.length > MOST_BODY) {
    const size = (head.length + body.length) >> 20;
    return sendNote(fields.run, `[${type} not shown: ${size} MB are too large]\n`);
  }
  const sizes = Buffer.alloc(8);
  sizes.writeUInt32BE(head.length, 0);
  sizes.writeUInt32BE(body.length, 4);
  inFrame = true;
  writeAll(OUT, Buffer.concat([sizes, head, body]));
  inFrame = false;
}

function sendNote(run, text) {
  send("stream", { run, name: "stderr" }, Buffer.from(text));
}

/** Send what the code produced; what comes between runs belongs to nobody and is dropped. */
function output(type, fields, body) {
  if (!current) return;
  takeBack();
  send(type, { run: current.number, ...fields }, body);
}

function writeAll(fd, bytes) {
  while (bytes.length) {
    try {
      bytes = bytes.subarray(fs.writeSync(fd, bytes));
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
      pause(1); // a program that the code started has made the pipe non-blocking
    }
  }
}

function pause(milliseconds) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

const input = new net.Socket({ fd: IN, readable: true, writable: false });
input.on("end", () => exit(0));

async function receive() {
  const sizes = await exactly(8);
  const head = await exactly(sizes.readUInt32BE(0));
  return [JSON.parse(head), await exactly(sizes.readUInt32BE(4))];
}

async function exactly(size) {
  for (;;) {
    const bytes = size ? input.read(size) : EMPTY;
    if (bytes) return bytes;
    await new Promise((resolve) => input.once("readable", resolve));
  }
}

// --- text ---
//
// What the code prints goes straight to descriptors 1 and 2, like the words of programs that it starts. The host reads
// them while the code runs, even where it spins and no timer of ours would ever fire. Only a frame could overtake text:
// so what the host has not read by then is taken back out of the pipe, and sent as a frame before that one.

let latest = "stdout";

/**
 * What is behind process.stdout and process.stderr. It has no state that an interrupt could leave half changed, and the
 * code cannot end it: the next run needs it too.
 */
class Screen extends Writable {
  constructor(fd, name) {
    super({ emitClose: false });
    Object.assign(this, { fd, screen: name, isTTY: false, written: [] });
  }

  write(chunk, encoding, done) {
    if (typeof encoding === "function") [encoding, done] = [undefined, encoding];
    print(this.screen, this.fd, ArrayBuffer.isView(chunk) ? chunk : Buffer.from(chunk, encoding));
    if (done) this.callLater(done);
    return true;
  }

  /** One tick for all, since a loop may print a million lines. */
  callLater(done) {
    if (!this.written.length) process.nextTick(() => this.written.splice(0).forEach((callback) => callback()));
    this.written.push(done);
  }

  end(...last) {
    if (typeof last[0] === "function") this.callLater(last[0]);
    else if (last.length) this.write(...last);
    this.callLater(() => this.emit("finish")); // who pipes into it waits for that
    return this;
  }

  destroy() {
    return this;
  }
}

function print(name, fd, bytes) {
  if (!current) return;
  if (name !== latest) takeBack(); // there is no order between two pipes
  latest = name;
  try {
    for (const piece of pieces(bytes)) writeAll(fd, piece);
  } catch {
    // the code has closed the descriptor
  }
}

/** Pieces that nobody reads half of, each of whole characters: one may be read, and the next be taken back. */
function* pieces(bytes) {
  for (let start = 0, end; start < bytes.length; start = end) {
    end = Math.min(start + ATOMIC, bytes.length);
    for (let back = 0; back < 3 && (bytes[end] & 0xc0) === 0x80; back++) end--; // in the middle of a character
    yield bytes.subarray(start, end);
  }
}

function takeBack() {
  for (const [fd, name] of [[1, "stdout"], [2, "stderr"]]) {
    const bytes = unread(fd);
    if (bytes.length) send("stream", { run: current.number, name }, bytes);
  }
}

/** What lies in the pipe whose writing end is `fd`. */
function unread(fd) {
  let pipe;
  try {
    pipe = fs.openSync(`/proc/self/fd/${fd}`, O_RDONLY | O_NONBLOCK);
    const bytes = Buffer.allocUnsafe(PIPE_HOLDS);
    return bytes.subarray(0, fs.readSync(pipe, bytes));
  } catch {
    return EMPTY; // the host has read all of it
  } finally {
    if (pipe !== undefined) fs.closeSync(pipe);
  }
}

// --- values ---

const PNG = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");

function show(kind, value, mime) {
  const bundle = shown(value, mime);
  const parts = bundle.map(([type, isJson, bytes]) => [type, isJson, bytes.length]);
  const body = Buffer.concat(bundle.map(([, , bytes]) => bytes));
  output("display", { kind, parts, metadata: {}, display_id: null }, body);
}

/** Rows [type, is JSON, bytes]. */
function shown(value, mime) {
  if (ArrayBuffer.isView(value)) {
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    mime ??= bytes.subarray(0, PNG.length).equals(PNG) ? "image/png" : undefined;
    if (mime) return [[mime, false, isText(mime) ? bytes : Buffer.from(bytes.toString("base64"))]];
  }
  if (mime) return [isJson(mime) ? asJson(mime, value) : [mime, false, Buffer.from(String(value))]];
  const text = ["text/plain", false, Buffer.from(inspect(value))];
  return isObject(value) && isPlain(value) ? [text, asJson("application/json", value)] : [text];
}

function asJson(mime, value) {
  return [mime, true, Buffer.from(JSON.stringify(value) ?? "null")];
}

function isText(mime) {
  return /^text\/|[/+](xml|json)$/.test(mime);
}

function isJson(mime) {
  return /[/+]json$/.test(mime);
}

function isObject(value) {
  return typeof value === "object" && value !== null;
}

/** Whether JSON says all there is to `value`, in less than about a megabyte. */
function isPlain(value, budget = { left: MOST_JSON }, depth = 0) {
  budget.left -= typeof value === "string" ? value.length + 3 : 3;
  if (budget.left < 0 || depth > MOST_DEPTH) return false;
  if (!isObject(value)) return value === null || ["string", "boolean"].includes(typeof value) || Number.isFinite(value);
  if (Array.isArray(value)) return isPlainList(value, budget, depth + 1);
  const isRecord = [Object.prototype, null].includes(Object.getPrototypeOf(value));
  return isRecord && isPlainList(Object.entries(value), budget, depth + 1);
}

function isPlainList(list, budget, depth) {
  return list.length <= budget.left && list.every((value) => isPlain(value, budget, depth));
}

// --- errors ---

class Exit extends Error {} // unwinds code that called process.exit()

/** Stacks without the runner's own frames, wherever the code looks at one. */
Error.prepareStackTrace = (error, frames) => {
  const theirs = frames.filter((frame) => !OURS.test(frame.getFileName()));
  return [Error.prototype.toString.call(error), ...theirs.map((frame) => `    at ${frame}`)].join("\n");
};
const OURS = /node\.mjs$|^node:(inspector|internal|vm)/;

/** Tell of an error that nobody caught: it ends the run. */
function fail(error) {
  if (error instanceof Exit) return;
  output("error", described(error));
  end(1);
}

function interrupted() {
  output("error", report("KeyboardInterrupt", "", "KeyboardInterrupt"));
  end(INTERRUPTED);
}

function described(error) {
  try {
    if (types.isNativeError(error)) return report(error.name, error.message, inspect(error));
    return report("Error", inspect(error), `Uncaught ${inspect(error)}`);
  } catch {
    return report("Error", "<unprintable>", "<unprintable>");
  }
}

function report(name, message, text) {
  return {
    ename: String(name).slice(0, MOST_MESSAGE),
    evalue: String(message).slice(0, MOST_MESSAGE),
    traceback: text.slice(0, MOST_TRACEBACK).split("\n"),
  };
}

// --- evaluation ---

const session = new Session();
session.connect();

const GUARDED = Symbol.for("ipy_codeinterp.guarded");
const guard = new vm.Script(`globalThis[Symbol.for("${GUARDED.description}")]()`, { filename: "node.mjs" });

/**
 * Call `f`, and throw here when SIGINT comes, even out of an endless loop. While the code awaits, the same signal is an
 * event. An endless loop that begins in a later callback is beyond both: the host kills it.
 */
function interruptible(f) {
  Object.defineProperty(globalThis, GUARDED, { value: f, configurable: true });
  try {
    guard.runInThisContext({ breakOnSigint: true, displayErrors: false });
  } catch (error) {
    if (isInterrupt(error) && inFrame) exit(1); // nothing can mend half a frame
    throw error;
  }
}

function isInterrupt(error) {
  return error?.code === "ERR_SCRIPT_EXECUTION_INTERRUPTED";
}

/** The inspector's answer. It is asked outside of any microtask, so that those of the code run inside the guard. */
function evaluated(expression) {
  const options = { expression, replMode: true, awaitPromise: true, silent: true };
  return new Promise((resolve, reject) => {
    const evaluate = () => {
      session.post("Runtime.evaluate", options, (error, answer) => (error ? reject(error) : resolve(answer)));
      runMicrotasks();
    };
    setImmediate(() => {
      try {
        interruptible(evaluate);
      } catch (error) {
        reject(error);
      }
    });
  });
}

const keeper = { value: undefined };
const keeperId = idOf(keeper);

function idOf(object) {
  let id;
  globalThis.keeper = object;
  session.post("Runtime.evaluate", { expression: "keeper" }, (_, answer) => (id = answer.result.objectId));
  delete globalThis.keeper;
  return id;
}

/** The value itself: the inspector only tells of values by ids, but takes these as arguments. */
function fetched({ objectId, unserializableValue, value }) {
  const argument = objectId ? { objectId } : unserializableValue ? { unserializableValue } : { value };
  const functionDeclaration = "function (value) { this.value = value; }";
  session.post("Runtime.callFunctionOn", { objectId: keeperId, functionDeclaration, arguments: [argument] });
  if (objectId) session.post("Runtime.releaseObject", { objectId });
  const found = keeper.value;
  keeper.value = undefined;
  return found;
}

async function execute(code, name) {
  const run = current;
  try {
    const { result, exceptionDetails } = await evaluated(`${withImports(code)}\n//# sourceURL=${name}`);
    if (exceptionDetails) throw located(fetched(exceptionDetails.exception), exceptionDetails, code, name);
    let value = fetched(result);
    if (types.isPromise(value)) value = await value; // who ends with `main()` means it to be run to its end
    if (value !== undefined && run === current) interruptible(() => show("execute_result", value));
    setImmediate(() => run === current && end(statusOf(process.exitCode))); // unhandled rejections come before
  } catch (error) {
    if (run !== current) return; // it ended before, by exit or interrupt
    if (isInterrupt(error)) interrupted();
    else fail(error);
  }
}

/** A syntax error does not say where it is, but the inspector does. */
function located(error, { lineNumber, columnNumber, stackTrace }, code, name) {
  if (error instanceof SyntaxError && !stackTrace) {
    const line = code.split("\n")[lineNumber] ?? "";
    const place = `${name}:${lineNumber + 1}:${columnNumber + 1}`;
    error.stack = `${line}\n${" ".repeat(columnNumber)}^\nSyntaxError: ${error.message}\n    at ${place}`;
  }
  return error;
}

// The inspector's code has no loader for import(), so it calls ours: everywhere but in comments and texts. Where this
// takes something for a text that is none, import() does not work.
const COMMENT = /\/\/.*|\/\*[^]*?\*\//;
const TEXT = /'(?:\\[^]|[^'\\\n])*'|"(?:\\[^]|[^"\\\n])*"|`(?:\\[^]|[^`\\])*`/;
const IMPORT = /(?<![\w$.#])import(?=\s*\()/;
const TOKENS = new RegExp([COMMENT, TEXT, IMPORT].map((token) => token.source).join("|"), "g");

function withImports(code) {
  return code.replace(TOKENS, (token) => (token === "import" ? "$import" : token));
}

function parses(code) {
  return [code, `(async () => {${code}\n})`].some((text) => {
    try {
      return new vm.Script(text);
    } catch {
      return false;
    }
  });
}

// --- what the code finds ---

const LENT = `module.exports = {
  require, module, exports, __filename, __dirname, $import: (name, options) => import(name, options)
}`;

/** What a module has that lies in the folder of the code, and `display`. */
function furnish() {
  const module = new Module(path.join(FOLDER, "cell.js"));
  module.filename = module.id;
  module.paths = Module._nodeModulePaths(FOLDER);
  module._compile(LENT, module.filename);
  const globals = { ...module.exports, display: (value, mime) => show("display_data", value, mime) };
  module.exports = globals.exports;
  globals.require.main = module;
  for (const [name, value] of Object.entries(globals)) {
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });
  }
}

function replaceProcess() {
  for (const [name, fd] of [["stdout", 1], ["stderr", 2]]) {
    Object.defineProperty(process, name, { value: new Screen(fd, name), configurable: true, enumerable: true });
  }
  process.argv = [process.execPath, path.join(FOLDER, "cell.js")];
  process.exit = (status = process.exitCode) => {
    end(statusOf(status));
    throw new Exit(`process.exit(${status ?? ""})`);
  };
  syncBuiltinESMExports();
  process.on("uncaughtException", fail);
  process.on("unhandledRejection", fail);
  process.on("SIGINT", interrupted);
}

function statusOf(code) {
  return Number(code ?? 0) & 255;
}

// --- files ---

const outbox = { folder: process.env.OUTPUT_DIR, seen: new Map() }; // by name: {size, mark}
let unwritten = null; // why a file of the next run is not there: half a file is worse than none

function writeInput({ name, append }, bytes) {
  try {
    fs.writeFileSync(path.join(FOLDER, name), bytes, { flag: append ? "a" : "w" });
  } catch (error) {
    unwritten = error;
  }
}

/** Names in the output folder that are new or different since the last call. */
function changed() {
  const before = outbox.seen;
  outbox.seen = new Map(regularFiles());
  return [...outbox.seen.keys()].filter((name) => before.get(name)?.mark !== outbox.seen.get(name).mark);
}

function regularFiles() {
  try {
    return fs.readdirSync(outbox.folder).sort().flatMap(asRegular);
  } catch {
    return []; // there is no such folder
  }
}

function asRegular(name) {
  const stat = fs.lstatSync(path.join(outbox.folder, name), { bigint: true, throwIfNoEntry: false });
  return stat?.isFile() ? [[name, { size: stat.size, mark: `${stat.mtimeNs} ${stat.size} ${stat.ino}` }]] : [];
}

function sendFiles(run) {
  const names = changed();
  const fitting = names.filter((name) => outbox.seen.get(name).size <= MOST_FILE).slice(0, MOST_FILES);
  const dropped = names.length - fitting.length;
  const why = `more than ${MOST_FILES}, or over ${MOST_FILE >> 20} MB`;
  if (dropped) sendNote(run, `[${dropped} files in $OUTPUT_DIR not kept: ${why}]\n`);
  for (const name of fitting) sendFile(run, name);
}

function sendFile(run, name) {
  let file;
  try {
    file = fs.openSync(path.join(outbox.folder, name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    for (let piece = read(file), more = true; more; ) {
      const following = read(file);
      more = following.length > 0;
      send("file", { run, name, more }, piece);
      piece = following;
    }
  } catch {
    // it is gone, or not to be read
  } finally {
    if (file !== undefined) fs.closeSync(file);
  }
}

function read(file) {
  const piece = Buffer.allocUnsafe(PIECE);
  return piece.subarray(0, fs.readSync(file, piece));
}

// --- variables ---

const arrived = new Map(); // of values that were sent, by the name of their file

function takeValue({ name, append }, bytes) {
  arrived.set(name, append ? [...arrived.get(name), bytes] : [bytes]);
}

/** Give what was sent its names; what came is forgotten then. */
function bindValues() {
  const sent = [...arrived];
  arrived.clear();
  for (const [file, parts] of sent) {
    const name = file.replace(/\.value\.[a-z]+$/, "");
    try {
      globalThis[name] = unpacked(Buffer.concat(parts));
    } catch (error) {
      throw new Error(`${name} was sent, but cannot be made here: ${error.message}`);
    }
  }
}

function sendValue(run, name) {
  const bytes = packedValue(name);
  for (let start = 0; start < bytes.length; start += PIECE) {
    const more = start + PIECE < bytes.length;
    send("file", { run, name: `${name}.value.json`, more }, bytes.subarray(start, start + PIECE));
  }
}

function packedValue(name) {
  try {
    const value = valueOf(name);
    if (value === undefined) return nothing(`the code left no variable ${name}`);
    const bytes = packed(value);
    return bytes.length > MOST_FILE ? nothing("it takes more than a file of a run may have") : bytes;
  } catch (error) {
    return nothing(String(error?.message ?? error));
  }
}

/** Also of a `let` or a `const`: those are no properties of the global object, but scripts see them. */
function valueOf(name) {
  let answer;
  const expression = `typeof ${name} === "undefined" ? undefined : ${name}`;
  session.post("Runtime.evaluate", { expression, silent: true }, (_, found) => (answer = found));
  return answer?.result && !answer.exceptionDetails ? fetched(answer.result) : undefined;
}

function nothing(why) {
  return Buffer.from(JSON.stringify({ $: "nothing", why: why.slice(0, MOST_WHY) }));
}

// --- life ---

function end(status) {
  current?.resolve(status);
  current = null;
}

function begin(code, name) {
  try {
    bindValues();
  } catch (error) {
    return fail(error);
  }
  execute(code, name);
}

async function runCell({ run, parse, get = [] }, code) {
  if (parse && !parses(code)) return send("refused", { run });
  changed(); // whatever lies there now is not this run's
  process.exitCode = undefined;
  const ended = new Promise((resolve) => (current = { number: run, resolve }));
  send("begin", { run });
  if (unwritten) fail(new Error(`attached file not written: ${unwritten.message}`));
  else begin(code, `cell${run}.js`);
  unwritten = null;
  const status = await ended;
  if (!status) for (const name of get) sendValue(run, name);
  sendFiles(run);
  send("done", { run, status: status ? "error" : "ok", exit_status: status });
}

async function serve() {
  send("ready");
  for (;;) {
    const [head, body] = await receive();
    if (head.type === "file") writeInput(head, body);
    else if (head.type === "value") takeValue(head, body);
    else await runCell(head, body.toString());
  }
}

furnish();
replaceProcess();
serve().catch(() => exit(1));
