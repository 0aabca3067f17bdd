// Makes values of blind indexes by docs/spec/blind-index-v1.md and the tables of Unicode alone, with
// nothing of the package.
//
// Reads JSON like blind-index-v1.json from its input, with the tables in `tables`, and writes what
// it finds wrong with it: an empty list, if nothing.

import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";

const vectors = JSON.parse(readFileSync(0, "utf8"));
const { classes, compositions, decompositions, foldings, digits: zeros } = vectors.tables;

// Text

const hex = (letter) => letter.codePointAt(0).toString(16);
const classOf = (letter) => classes[hex(letter)] ?? 0;

function apart(letter) {
  const syllable = letter.codePointAt(0) - 0xac00;
  if (syllable < 0 || syllable >= 11172) return [...(decompositions[hex(letter)] ?? letter)];
  const tail = syllable % 28;
  const codes = [0x1100 + Math.floor(syllable / 588), 0x1161 + Math.floor((syllable % 588) / 28)];
  return String.fromCodePoint(...codes, ...(tail ? [0x11a7 + tail] : [])).split("");
}

function joined(first, second) {
  const [a, b] = [first.codePointAt(0), second.codePointAt(0)];
  if (a >= 0x1100 && a < 0x1113 && b >= 0x1161 && b < 0x1176) {
    return String.fromCodePoint(0xac00 + ((a - 0x1100) * 21 + (b - 0x1161)) * 28);
  }
  const isOpen = a >= 0xac00 && a < 0xd7a4 && (a - 0xac00) % 28 === 0;
  if (isOpen && b > 0x11a7 && b < 0x11c3) return String.fromCodePoint(a + b - 0x11a7);
  return compositions[first + second];
}

function nfkc(text) {
  const letters = [...text].flatMap(apart);
  for (let end = 1; end < letters.length; end++) {
    const own = classOf(letters[end]);
    for (let at = end; own > 0 && at > 0 && classOf(letters[at - 1]) > own; at--) {
      [letters[at - 1], letters[at]] = [letters[at], letters[at - 1]];
    }
  }
  const found = [];
  let starter = -1;
  for (const letter of letters) {
    const between = found.slice(starter + 1).map(classOf);
    const blocked = between.some((each) => each === 0 || each >= classOf(letter));
    const whole = starter >= 0 && !blocked ? joined(found[starter], letter) : undefined;
    if (whole !== undefined) {
      found[starter] = whole;
      continue;
    }
    found.push(letter);
    if (classOf(letter) === 0) starter = found.length - 1;
  }
  return found.join("");
}

const folded = (text) => [...text].map((letter) => foldings[hex(letter)] ?? letter).join("");
const fold = (text) => nfkc(folded(nfkc(text)));

function digits(text) {
  const starts = zeros.map((zero) => parseInt(zero, 16));
  const digitOf = (letter) => {
    const start = starts.find((each) => letter.codePointAt(0) - each >>> 0 < 10);
    return start === undefined ? "" : String(letter.codePointAt(0) - start);
  };
  return [...text].map(digitOf).join("");
}

const WHITE =
  "[\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+";
const stripped = (text) => text.replace(new RegExp(`^${WHITE}`), "").replace(new RegExp(`${WHITE}$`), "");

function dateOf(text) {
  if (!/T.*[+-]\d\d:\d\d$/.test(text)) return text;
  return new Date(text).toISOString();
}

const normalisers = {
  exact: (text) => text,
  casefold: fold,
  email: (text) => fold(stripped(text)),
  digits,
  last_four: (text) => (digits(text).length < 4 ? "" : digits(text).slice(-4)),
  domain: (text) => normalisers.email(text).split("@").at(-1),
  year: (text) => String(Number(dateOf(text).slice(0, 4))),
  month: (text) => String(Number(dateOf(text).slice(5, 7))),
};

// Numbers, and scalars in JSON

function decimal(text) {
  const parts = /^(-?)(\d+)(?:\.(\d+))?(?:E([+-]\d+))?$/.exec(text);
  if (parts === null) return text; // of no number
  const [, sign, whole, fraction = "", power = "0"] = parts;
  const given = (whole + fraction).replace(/^0+/, "");
  const digits = given.replace(/0+$/, "");
  if (digits === "") return "0";
  const exponent = Number(power) - fraction.length + given.length - digits.length;
  const adjusted = exponent + digits.length - 1;
  if (exponent > 0 || adjusted < -6) {
    const rest = digits.length > 1 ? `.${digits.slice(1)}` : "";
    return `${sign}${digits[0]}${rest}E${adjusted < 0 ? "" : "+"}${adjusted}`;
  }
  if (exponent === 0) return sign + digits;
  const padded = digits.padStart(1 - exponent, "0");
  return `${sign}${padded.slice(0, exponent)}.${padded.slice(exponent)}`;
}

const float = (hexadecimal) =>
  hexadecimal === "0000000000000080" ? "0000000000000000" : hexadecimal;

function shortest(number) {
  const [mantissa, power] = number.toExponential().split("e");
  const exponent = Number(power);
  if (exponent >= -4) return String(number); // and less than 16: greater ones are integers
  return `${mantissa}e-${String(-exponent).padStart(2, "0")}`;
}

function json(text) {
  if (!/^[-\d]/.test(text)) return JSON.stringify(JSON.parse(text));
  if (!/[.eE]/.test(text)) return BigInt(text).toString();
  const number = Number(text);
  return Number.isInteger(number) ? BigInt(number).toString() : shortest(number);
}

const reduced = { decimal, float, json };

// Messages

function le64(value) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

const pae = (...parts) =>
  Buffer.concat([le64(parts.length), ...parts.flatMap((part) => [le64(part.length), part])]);
const bytesOf = (text) => Buffer.from(text, "utf8");

function message(given) {
  const scope = given.scope.flatMap(([name, value]) => [bytesOf(name), Buffer.from(value, "hex")]);
  return pae(
    bytesOf("index-v1"),
    bytesOf(given.kind),
    bytesOf(given.name),
    pae(bytesOf(given.normalizer), le64(given.normalizer_version), bytesOf(given.part)),
    pae(...scope),
    le64(given.spread),
    pae(...given.forms.map((form) => Buffer.from(form, "hex"))),
  );
}

function value(given) {
  const digest = createHmac("sha256", Buffer.from(vectors.key, "hex")).update(message(given)).digest();
  return digest.subarray(0, 16).toString("hex") + vectors.version_id;
}

const wrong = [
  ...vectors.normal_forms.filter((each) => normalisers[each.normalizer](each.value) !== each.form),
  ...vectors.no_normal_form.filter((each) => normalisers[each.normalizer](each.value) !== ""),
  ...vectors.reduced.filter((each) => reduced[each.type](each.value) !== each.form),
  ...[...vectors.values, ...vectors.different.flat()].filter(
    (each) => message(each).toString("hex") !== each.message || value(each) !== each.value,
  ),
  ...vectors.different.filter(([one, other]) => value(one) === value(other)),
];
process.stdout.write(JSON.stringify(wrong));
