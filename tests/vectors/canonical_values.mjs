// Writes and reads canonical values by docs/spec/canonical-values-v1.md alone, with nothing of the
// package.
//
// Reads JSON like canonical-values-v1.json from its input, and writes what it finds wrong with it:
// an empty list, if nothing.

import { readFileSync } from "node:fs";

const ascii = (bytes) => {
  const text = bytes.toString("latin1");
  if (!/^[\x00-\x7f]*$/.test(text)) throw new Error("not ASCII");
  return text;
};

function matching(pattern, bytes) {
  const found = pattern.exec(ascii(bytes));
  if (found === null || found[0].length !== bytes.length) throw new Error("not the form");
  return found;
}

// Nested parts

function le64(value) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

const pae = (parts) =>
  Buffer.concat([le64(parts.length), ...parts.flatMap((part) => [le64(part.length), part])]);

function parts(bytes) {
  let at = 0;
  const take = (length) => {
    if (at + length > bytes.length) throw new Error("it ends too early");
    return bytes.subarray(at, (at += length));
  };
  const number = () => Number(take(8).readBigUInt64LE());
  const found = [];
  for (let count = number(); count > 0; count--) found.push(take(number()));
  if (at !== bytes.length) throw new Error("it goes on");
  return found;
}

// Types

const integer = {
  write: (value) => Buffer.from(value, "ascii"),
  read: (bytes) => matching(/^(0|-?[1-9][0-9]*)$/, bytes)[0],
};

const SPECIAL = ["NaN", "Infinity", "-Infinity"];

const decimal = {
  write(value) {
    if (typeof value === "string") return Buffer.from(value, "ascii");
    const [sign, digits, exponent] = value;
    const adjusted = exponent + digits.length - 1;
    let text;
    if (exponent <= 0 && adjusted >= -6) {
      const whole = digits.padStart(1 - exponent, "0");
      const point = whole.length + exponent;
      text = exponent === 0 ? whole : whole.slice(0, point) + "." + whole.slice(point);
    } else {
      const fraction = digits.length > 1 ? "." + digits.slice(1) : "";
      text = digits[0] + fraction + "E" + (adjusted < 0 ? "" : "+") + adjusted;
    }
    return Buffer.from((sign ? "-" : "") + text, "ascii");
  },
  read(bytes) {
    if (SPECIAL.includes(ascii(bytes))) return ascii(bytes);
    const [, minus, whole, fraction = "", exponent = "0"] = matching(
      /^(-?)([0-9]+)(?:\.([0-9]+))?(?:E([+-][0-9]+))?$/,
      bytes,
    );
    const digits = (whole + fraction).replace(/^0+(?=[0-9])/, "");
    const value = [minus ? 1 : 0, digits, Number(exponent) - fraction.length];
    if (!decimal.write(value).equals(bytes)) throw new Error("not the form");
    return value;
  },
};

const float = {
  write(value) {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleLE(value === "-0" ? -0 : Number(value));
    return Number.isNaN(Number(value)) ? Buffer.from("000000000000f87f", "hex") : bytes;
  },
  read(bytes) {
    if (bytes.length !== 8) throw new Error("not 8 bytes");
    const value = bytes.readDoubleLE();
    if (Number.isNaN(value) && !float.write("NaN").equals(bytes)) throw new Error("another NaN");
    if (Object.is(value, -0)) return "-0";
    return Number.isFinite(value) ? value : String(value);
  },
};

const DATE = "([0-9]{4})-([0-9]{2})-([0-9]{2})";
const TIME = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\\.[0-9]{6}";

function checkDay(year, month, day) {
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  const days = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
  if (year < 1 || !(day >= 1 && day <= days[month - 1])) throw new Error("not in the calendar");
}

const date = {
  write: (value) => Buffer.from(value, "ascii"),
  read(bytes) {
    const [text, ...numbers] = matching(new RegExp(`^${DATE}$`), bytes);
    checkDay(...numbers.map(Number));
    return text;
  },
};

const time = {
  write: (value) => Buffer.from(value, "ascii"),
  read: (bytes) => matching(new RegExp(`^${TIME}$`), bytes)[0],
};

const datetime = {
  write(value) {
    const zone = /[+-]\d\d:\d\d$/.exec(value);
    if (zone === null) return Buffer.from(value, "ascii");
    const utc = new Date(value.slice(0, 19) + zone[0]).toISOString().slice(0, 19);
    return Buffer.from(utc + value.slice(19, 26) + "Z", "ascii");
  },
  read(bytes) {
    const [text, ...numbers] = matching(new RegExp(`^${DATE}T${TIME}Z?$`), bytes);
    checkDay(...numbers.slice(0, 3).map(Number));
    return text;
  },
};

const uuid = {
  write: (value) => Buffer.from(value.replaceAll("-", ""), "hex"),
  read(bytes) {
    if (bytes.length !== 16) throw new Error("not 16 bytes");
    return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  },
};

const ipAddress = {
  write(value) {
    const dotted = /(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(value);
    const four = dotted === null ? null : Buffer.from(dotted.slice(1).map(Number));
    if (four !== null && !value.includes(":")) return four;
    const groups = dotted === null ? value : value.replace(dotted[0], four.toString("hex").replace(/^..../, "$&:"));
    const [before, after] = groups.split("::").map((side) => side.split(":").filter(Boolean));
    const zeros = Array(8 - before.length - (after ?? []).length).fill("0");
    const all = [...before, ...zeros, ...(after ?? [])];
    return Buffer.from(all.map((group) => group.padStart(4, "0")).join(""), "hex");
  },
  // How an address is shown is not part of the specification: it is compared as bytes.
  read(bytes) {
    if (![4, 16].includes(bytes.length)) throw new Error("neither 4 nor 16 bytes");
    return bytes;
  },
};

const TYPES = {
  text: {
    write: (value) => Buffer.from(value, "utf8"),
    read: (bytes) => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes),
  },
  integer,
  boolean: {
    write: (value) => Buffer.from(String(value), "ascii"),
    read: (bytes) => matching(/^(true|false)$/, bytes)[0] === "true",
  },
  decimal,
  float,
  date,
  time,
  datetime,
  duration: integer,
  uuid,
  "ip address": ipAddress,
  binary: {
    write: (value) => Buffer.from(value, "hex"),
    read: (bytes) => bytes.toString("hex"),
  },
};

const array = (of) => ({
  write: (values) =>
    pae(values.map((value) => (value === null ? Buffer.from([0]) : Buffer.concat([Buffer.from([1]), of.write(value)])))),
  read: (bytes) =>
    parts(bytes).map((part) => {
      if (part.length === 1 && part[0] === 0) return null;
      if (part[0] !== 1) throw new Error("neither NULL nor a value");
      return of.read(part.subarray(1));
    }),
});

const named = (name) =>
  name.startsWith("array of ") ? array(named(name.slice("array of ".length))) : TYPES[name];

// The vectors

const { valid, invalid } = JSON.parse(readFileSync(0, "utf8"));
const wrong = [];
for (const vector of valid) {
  const type = named(vector.type);
  const bytes = Buffer.from(vector.bytes, "hex");
  if (!type.write(vector.value).equals(bytes)) wrong.push({ ...vector, written: type.write(vector.value).toString("hex") });
  const expected = vector.type === "ip address" ? bytes : (vector.read ?? vector.value);
  const read = type.read(bytes);
  if (JSON.stringify(read) !== JSON.stringify(expected)) wrong.push({ ...vector, found: read });
}
for (const vector of invalid) {
  try {
    wrong.push({ ...vector, accepted: named(vector.type).read(Buffer.from(vector.bytes, "hex")) });
  } catch {
    // refused, as it has to be
  }
}
console.log(JSON.stringify(wrong));
