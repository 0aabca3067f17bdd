// Verifies audit trails by docs/spec/audit-trail-v1.md alone, with nothing of the package.
//
// Reads JSON like audit-trail-v1.json from its input, with `mac_key` and `trails`, and writes, for
// each trail, the problems that it finds.

import { createCipheriv, createDecipheriv, createHmac } from "node:crypto";

// Encodings

const utf8 = (text) => Buffer.from(text, "utf8");
const hex = (text) => Buffer.from(text, "hex");
const uuid = (text) => hex(text.replaceAll("-", ""));

function le64(value) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt(value));
  return bytes;
}

const pae = (parts) =>
  Buffer.concat([le64(parts.length), ...parts.flatMap((part) => [le64(part.length), part])]);

// Canonical JSON

const SHORT = { '"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t" };

// UTF-16 code units, which a JavaScript string consists of.
const escaped = (unit) =>
  SHORT[unit] ?? (unit >= " " && unit <= "~" ? unit : "\\u" + unit.charCodeAt(0).toString(16).padStart(4, "0"));

const quoted = (text) => '"' + text.split("").map(escaped).join("") + '"';

function byCodePoint([one], [other]) {
  const [left, right] = [[...one], [...other]].map((text) => text.map((each) => each.codePointAt(0)));
  for (let at = 0; at < Math.min(left.length, right.length); at++) {
    if (left[at] !== right[at]) return left[at] - right[at];
  }
  return left.length - right.length;
}

const LARGEST = 2n ** 63n - 1n;

// A parser of its own, because JSON.parse rounds whole numbers above 2^53.
function canonicalJson(source) {
  let at = 0;
  const space = () => {
    while (" \t\n\r".includes(source[at] ?? "x")) at++;
  };
  const take = (wanted) => {
    if (!source.startsWith(wanted, at)) throw new Error(`no ${wanted} at ${at}`);
    at += wanted.length;
    return wanted;
  };
  const text = () => {
    const match = /"(?:[^"\\\x00-\x1f]|\\.)*"/y;
    match.lastIndex = at;
    const [found] = match.exec(source) ?? [];
    if (found === undefined) throw new Error(`no text at ${at}`);
    at += found.length;
    return JSON.parse(found);
  };
  const items = (open, close, item) => {
    const found = [];
    take(open);
    space();
    while (source[at] !== close) {
      if (found.length) take(",");
      space();
      found.push(item());
      space();
    }
    take(close);
    return found;
  };
  const pair = () => {
    const name = text();
    space();
    take(":");
    return [name, value()];
  };
  const value = () => {
    space();
    const next = source[at];
    if (next === '"') return quoted(text());
    if (next === "[") return "[" + items("[", "]", value).join(",") + "]";
    if (next === "{") {
      const pairs = [...new Map(items("{", "}", pair))].sort(byCodePoint);
      return "{" + pairs.map(([name, item]) => `${quoted(name)}:${item}`).join(",") + "}";
    }
    const match = /true|false|null|-?(?:0|[1-9][0-9]*)(?![0-9.eE])/y;
    match.lastIndex = at;
    const [found] = match.exec(source) ?? [];
    if (found === undefined) throw new Error(`no value at ${at}`);
    take(found);
    if (!/[0-9]$/.test(found)) return found;
    const number = BigInt(found);
    if (number > LARGEST || number < -LARGEST) throw new Error(`a number beyond 64 bits at ${at}`);
    return String(number);
  };
  const made = value();
  space();
  if (at !== source.length) throw new Error("something after the value");
  return made;
}

function microseconds(text) {
  // Without a zone, it is UTC.
  const [, seconds, fraction, zone] = /^(.*?)(?:\.(\d{1,6}))?(Z|[+-]\d\d:\d\d)?$/.exec(text);
  return BigInt(Date.parse(seconds + (zone ?? "Z"))) * 1000n + BigInt((fraction ?? "").padEnd(6, "0"));
}

// The message of an event

const TEXTS = ["action", "outcome", "actor_type", "actor_id", "actor_name"];

const message = (row, predecessor) =>
  pae([
    utf8("audit-event-v1"),
    predecessor,
    le64(row.number),
    le64(microseconds(row.occurred_at)),
    ...TEXTS.map((name) => utf8(row[name])),
    row.key_id === null ? Buffer.alloc(0) : uuid(row.key_id),
    utf8(row.key_alias),
    row.version_number === null ? Buffer.alloc(0) : le64(row.version_number),
    utf8(canonicalJson(row.before)),
    utf8(canonicalJson(row.after)),
    utf8(row.address),
    utf8(row.request_id),
    hex(row.mac_version),
  ]);

// The key of the trail, which a local root key wrapped

const xor = (one, other) => Buffer.from(one.map((byte, at) => byte ^ other[at]));

function aes(key, block) {
  const cipher = createCipheriv("aes-256-ecb", key, null);
  return Buffer.concat([cipher.setAutoPadding(false).update(block), cipher.final()]);
}

function derive(key, prefix) {
  const zero = aes(key, Buffer.alloc(16));
  const doubled = Buffer.from(zero.map((byte, at) => (byte << 1) | ((zero[at + 1] ?? 0) >> 7)));
  if (zero[0] & 0x80) doubled[15] ^= 0x87;
  const half = (counter) =>
    aes(key, xor(Buffer.concat([Buffer.from([0, counter, 0x58, 0]), prefix]), doubled));
  return Buffer.concat([half(1), half(2)]);
}

function unwrapped(key) {
  const [root, wrapped] = [Buffer.from(key.root_key_base64, "base64"), hex(key.wrapped_material)];
  if (wrapped[0] !== 1 || wrapped.length !== 73) throw new Error("not wrapped by a local root key");
  const context = pae([
    utf8("master-key-version"), uuid(key.id), hex(key.version_id), le64(1), utf8("generate_verify_mac"),
  ]);
  const decipher = createDecipheriv("aes-256-gcm", derive(root, wrapped.subarray(1, 13)), wrapped.subarray(13, 25));
  decipher.setAAD(context);
  decipher.setAuthTag(wrapped.subarray(57));
  return Buffer.concat([decipher.update(wrapped.subarray(25, 57)), decipher.final()]);
}

// Verification

function parseHead(text) {
  const match = /^(0(?=:0*$)|[1-9][0-9]{0,18}):([0-9a-f]{64})$/.exec(text);
  if (match === null) throw new Error(`not a head: ${text}`);
  return { number: BigInt(match[1]), mac: match[2] };
}

function verify(trail, key) {
  const problems = [];
  const add = (first, last, cause) => {
    const before = problems.at(-1);
    if (before?.cause === cause && before.last === first - 1n) before.last = last;
    else problems.push({ first, last, cause });
  };
  const known = parseHead(trail.known_head ?? `0:${"0".repeat(64)}`);
  const stored = parseHead(trail.head_row);
  let last = parseHead(`0:${"0".repeat(64)}`);
  let predecessors = [last.mac];
  for (const row of trail.events) {
    const number = BigInt(row.number);
    if (number > last.number + 1n) {
      add(last.number + 1n, number - 1n, "missing");
      predecessors = [];
    }
    let expected = [];
    try {
      if (key !== null) {
        expected = predecessors.map((mac) =>
          createHmac("sha256", key.material).update(message(row, hex(mac))).digest("hex"),
        );
      }
    } catch {
      // There is no message, so there is no MAC that the event may have.
    }
    const previous = number === 1n ? null : String(number - 1n);
    let cause = null;
    if (key === null || row.mac_version !== key.version_id) cause = "forged";
    else if (predecessors.length === 0) cause = "unproven";
    else if (!expected.includes(row.mac) || row.previous !== previous) cause = "changed";
    else if (number === known.number && row.mac !== known.mac) cause = "replaced";
    if (cause !== null) add(number, number, cause);
    predecessors = cause === null ? [row.mac] : [row.mac, ...expected].slice(0, 4);
    last = { number, mac: row.mac };
  }
  const there = known.number > stored.number ? known.number : stored.number;
  if (there > last.number) add(last.number + 1n, there, "cut");
  if (stored.number <= last.number && (stored.number !== last.number || stored.mac !== last.mac)) {
    add(last.number, last.number, "head");
  }
  if (problems.length === 0 && trail.events.length === 0 && key !== null) add(1n, 1n, "emptied");
  return problems.map(({ first, last, cause }) => ({ first: Number(first), last: Number(last), cause }));
}

function refuses(act) {
  try {
    act();
  } catch {
    return true;
  }
  return false;
}

let input = "";
for await (const part of process.stdin) input += part;
const { mac_key, trails, json = [], invalid_mac_keys = [], heads = { valid: [], invalid: [] } } =
  JSON.parse(input);
const key = { material: unwrapped(mac_key), version_id: mac_key.version_id };
console.log(
  JSON.stringify({
    trails: trails.map((trail) => verify(trail, trail.key ? key : null)),
    json: json.map(({ written }) => canonicalJson(written)),
    refused_mac_keys: invalid_mac_keys.map((each) => refuses(() => unwrapped(each))),
    refused_heads: heads.valid.concat(heads.invalid).map((text) => refuses(() => parseHead(text))),
  }),
);
