// Node's end of what `values/` says of JSON: a value that was sent becomes one of JavaScript's, and one of these goes
// back. A table is an array of records; what is missing is null, a date a Date, an integer beyond 2^53 a BigInt.

import { types } from "node:util";

const TAG = "$";
const MOST_DEPTH = 60;
const UNITS = { s: 1000n, ms: 1n, us: 1000n, ns: 1000000n }; // to milliseconds: s is multiplied, us and ns divided
const NAT = -(1n << 63n);
const WHAT_CAN =
  "what can: null, booleans, numbers, texts, Dates, typed arrays, and arrays, Maps, Sets and plain objects of these";

// --- in ---

export function unpacked(bytes) {
  return decoded(JSON.parse(bytes.toString("utf8")));
}

function decoded(said) {
  if (Array.isArray(said)) return said.map(decoded);
  if (typeof said !== "object" || said === null) return said;
  if (TAG in said) return untagged(said);
  return fromPairs(Object.entries(said).map(([name, value]) => [name, decoded(value)]));
}

function fromPairs(pairs) {
  const made = {};
  for (const [name, value] of pairs) {
    Object.defineProperty(made, name, { value, enumerable: true, writable: true, configurable: true });
  }
  return made;
}

function untagged(said) {
  const decode = DECODERS[said[TAG]];
  if (!decode) throw new Error(`a value of kind ${said[TAG]} has no equal in JavaScript`);
  return decode(said);
}

const DECODERS = {
  int: ({ v }) => BigInt(v),
  float: ({ v }) => ({ nan: NaN, inf: Infinity, "-inf": -Infinity })[v],
  tuple: ({ v }) => v.map(decoded),
  set: ({ v }) => new Set(v.map(decoded)),
  frozenset: ({ v }) => new Set(v.map(decoded)),
  dict: ({ v }) => new Map(v.map(([name, value]) => [decoded(name), decoded(value)])),
  bytes: ({ v }) => Buffer.from(v, "base64"),
  bytearray: ({ v }) => Buffer.from(v, "base64"),
  decimal: ({ v }) => Number(v),
  date: ({ v }) => new Date(`${v}T00:00:00Z`),
  datetime: ({ v, zone, at }) => new Date(zone ? at * 1000 : `${v.slice(0, 23)}Z`),
  timedelta: ({ v: [days, seconds, microseconds] }) => (days * 86400 + seconds) * 1000 + microseconds / 1000,
  array: (said) => shaped(numbers(kindOf(said.dtype), Buffer.from(said.v, "base64"), said.dtype), said.shape),
  scalar: (said) => numbers(kindOf(said.dtype), Buffer.from(said.v, "base64"), said.dtype)[0],
  frame: records,
  series: ({ values }) => vector(values),
  index: ({ v }) => indexValues(v),
  timestamp: ({ v, unit }) => moment(BigInt(v?.v ?? v), unit),
  "pandas-timedelta": ({ v, unit }) => milliseconds(BigInt(v?.v ?? v), unit),
  NA: () => null,
  NaT: () => null,
};

/** An index that only counts is none; any other is among the fields, as pandas' reset_index has it. */
function records({ columns, index, data }) {
  const names = indexValues(columns).map((name) => (Array.isArray(name) ? name.join("_") : String(name)));
  const fields = index.i === "range" ? [] : indexFields(index);
  data.forEach((column, at) => fields.push([names[at], vector(column)]));
  const rows = fields.length ? fields[0][1].length : 0;
  return Array.from({ length: rows }, (_, row) => fromPairs(fields.map(([name, values]) => [name, values[row]])));
}

function indexFields(index) {
  if (index.i === "flat") return [[decoded(index.name) ?? "index", vector(index.values)]];
  const rows = indexValues(index);
  return index.names.map((name, at) => [decoded(name) ?? `level_${at}`, rows.map((row) => row[at])]);
}

function indexValues(index) {
  if (index.i === "flat") return vector(index.values);
  if (index.i === "range") {
    const length = Math.max(0, Math.ceil((index.stop - index.start) / index.step));
    return Array.from({ length }, (_, at) => index.start + at * index.step);
  }
  const levels = index.levels.map((level, at) => {
    const values = vector(level);
    return numbers("int64", Buffer.from(index.codes[at], "base64")).map((code) => values[code] ?? null);
  });
  return levels[0].map((_, row) => levels.map((level) => level[row]));
}

function vector(said) {
  if (said.t === "string") return said.v;
  if (said.t === "object") return said.v.map(decoded);
  const bytes = Buffer.from(said.v, "base64");
  if (said.t === "category") {
    const categories = vector(said.categories);
    return numbers(said.size, bytes).map((code) => (code < 0 ? null : categories[code]));
  }
  if (said.t === "datetime") return bigints(bytes).map((value) => moment(value, said.unit));
  if (said.t === "timedelta") return bigints(bytes).map((value) => milliseconds(value, said.unit));
  const values = numbers(said.t.toLowerCase().replace("boolean", "bool"), bytes);
  const missing = said.na ? Buffer.from(said.na, "base64") : null;
  return values.map((value, at) => (missing?.[at] || Number.isNaN(value) ? null : value));
}

function moment(value, unit) {
  const time = milliseconds(value, unit);
  return time === null ? null : new Date(time);
}

function milliseconds(value, unit) {
  if (value === NAT) return null;
  return unit === "s" || unit === "ms" ? Number(value * UNITS[unit]) : Number(value) / Number(UNITS[unit]);
}

function bigints(bytes) {
  return Array.from({ length: bytes.length / 8 }, (_, at) => bytes.readBigInt64LE(at * 8));
}

const READERS = {
  bool: [1, (bytes, at) => bytes[at] !== 0],
  int8: [1, (bytes, at) => bytes.readInt8(at)],
  uint8: [1, (bytes, at) => bytes.readUInt8(at)],
  int16: [2, (bytes, at) => bytes.readInt16LE(at)],
  uint16: [2, (bytes, at) => bytes.readUInt16LE(at)],
  int32: [4, (bytes, at) => bytes.readInt32LE(at)],
  uint32: [4, (bytes, at) => bytes.readUInt32LE(at)],
  int64: [8, (bytes, at) => exact(bytes.readBigInt64LE(at))],
  uint64: [8, (bytes, at) => exact(bytes.readBigUInt64LE(at))],
  float32: [4, (bytes, at) => bytes.readFloatLE(at)],
  float64: [8, (bytes, at) => bytes.readDoubleLE(at)],
};

function numbers(kind, bytes, dtype = kind) {
  if (kind === "text") return characters(bytes, Number(dtype.slice(2)));
  if (!READERS[kind]) throw new Error(`values of ${dtype} have no equal in JavaScript`);
  const [width, read] = READERS[kind];
  return Array.from({ length: bytes.length / width }, (_, at) => read(bytes, at * width));
}

function kindOf(dtype) {
  if (dtype.startsWith("<U")) return "text";
  const kinds = { b: "bool", i: "int", u: "uint", f: "float" };
  const name = dtype.startsWith(">") ? undefined : kinds[dtype[1]];
  return name === "bool" ? name : `${name}${8 * Number(dtype.slice(2))}`;
}

function characters(bytes, width) {
  return Array.from({ length: bytes.length / (4 * width) }, (_, at) => {
    const codes = Array.from({ length: width }, (_, place) => bytes.readUInt32LE(4 * (at * width + place)));
    return String.fromCodePoint(...codes).replace(/\0+$/, "");
  });
}

function exact(value) {
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

function shaped(values, shape) {
  if (shape.length === 0) return values[0];
  if (shape.length === 1) return values;
  const size = shape.slice(1).reduce((product, each) => product * each, 1);
  return Array.from({ length: shape[0] }, (_, at) => shaped(values.slice(at * size, (at + 1) * size), shape.slice(1)));
}

// --- out ---

export function packed(value) {
  return Buffer.from(JSON.stringify(encoded(value, 0)));
}

const DTYPES = {
  Int8Array: "|i1", Uint8Array: "|u1", Uint8ClampedArray: "|u1", Int16Array: "<i2", Uint16Array: "<u2",
  Int32Array: "<i4", Uint32Array: "<u4", BigInt64Array: "<i8", BigUint64Array: "<u8",
  Float32Array: "<f4", Float64Array: "<f8",
};

function encoded(value, depth) {
  if (depth > MOST_DEPTH) throw new Error(`it is nested more than ${MOST_DEPTH} deep, or into itself`);
  if (value === null || value === undefined) return null;
  if (typeof value === "boolean") return value;
  if (typeof value === "string") return text(value);
  if (typeof value === "number") return Number.isFinite(value) ? value : { [TAG]: "float", v: notFinite(value) };
  if (typeof value === "bigint") return { [TAG]: "int", v: String(value) };
  if (typeof value !== "object") throw noWay(typeof value);
  return encodedObject(value, (each) => encoded(each, depth + 1));
}

function encodedObject(value, encode) {
  if (Array.isArray(value)) return Array.from(value, encode);
  if (types.isDate(value)) return encodedDate(value);
  if (Buffer.isBuffer(value)) return { [TAG]: "bytes", v: value.toString("base64") };
  if (types.isTypedArray(value)) return encodedNumbers(value);
  if (types.isMap(value)) return { [TAG]: "dict", v: [...value].map(([name, each]) => [encode(name), encode(each)]) };
  if (types.isSet(value)) return { [TAG]: "set", v: [...value].map(encode) };
  if (![Object.prototype, null].includes(Object.getPrototypeOf(value))) throw noWay(value.constructor?.name);
  const pairs = Object.entries(value);
  if (TAG in value) return { [TAG]: "dict", v: pairs.map(([name, each]) => [text(name), encode(each)]) };
  return fromPairs(pairs.map(([name, each]) => [text(name), encode(each)]));
}

function encodedDate(value) {
  if (Number.isNaN(value.getTime())) return { [TAG]: "NaT" };
  return { [TAG]: "datetime", v: value.toISOString().slice(0, -1), zone: { offset: 0 }, fold: 0 };
}

function encodedNumbers(value) {
  const dtype = DTYPES[Object.prototype.toString.call(value).slice(8, -1)];
  if (!dtype) throw noWay("typed array");
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  return { [TAG]: "array", dtype, shape: [value.length], v: bytes.toString("base64") };
}

function text(value) {
  if (!value.isWellFormed?.() && /[\ud800-\udfff]/u.test(value)) throw new Error("a text in it has half a character");
  return value;
}

function notFinite(value) {
  return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

function noWay(kind) {
  return new Error(`a value of type ${kind} cannot travel; ${WHAT_CAN}`);
}
