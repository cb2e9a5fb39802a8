// Binary frames and their encodings, implemented from docs/viewer-api.md.

const kTypes = [
  [Uint8Array, 'u8'],
  [Uint32Array, 'u32'],
  [Int32Array, 'i32'],
  [Uint16Array, 'f16'],
  [Float32Array, 'f32'],
];

export function frame(header, arrays, shapes = {}) {
  const specs = {};
  let offset = 0;
  for (const [name, array] of Object.entries(arrays)) {
    const dtype = Buffer.isBuffer(array) ? 'utf8' : kTypes.find(([type]) => array instanceof type)[1];
    specs[name] = { dtype, shape: shapes[name] ?? [array.length], offset };
    offset = Math.ceil((offset + array.byteLength) / 8) * 8;
  }
  let json = Buffer.from(JSON.stringify({ ...header, arrays: specs }));
  json = Buffer.concat([json, Buffer.alloc((8 - (json.length % 8)) % 8, ' ')]);
  const out = Buffer.alloc(8 + json.length + offset);
  out.write('CHF1', 0, 'latin1');
  out.writeUInt32LE(json.length, 4);
  json.copy(out, 8);
  for (const [name, array] of Object.entries(arrays))
    Buffer.from(array.buffer, array.byteOffset, array.byteLength).copy(out, 8 + json.length + specs[name].offset);
  return out;
}

export function prefixed(bytes) {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  return Buffer.concat([length, bytes]);
}

export function encode(values, kind = 'log') {
  let hi = 0;
  for (const v of values) if (v > hi) hi = v;
  if (!(hi > 0)) hi = 1e-6;
  const lo = kind === 'log' ? Math.min(1e-6, hi / 10) : 0;
  const codes = new Uint8Array(values.length);
  const decode = (c) => (c < 3 ? 0 : kind === 'log' ? lo * (hi / lo) ** ((c - 3) / 252) : hi * ((c - 2) / 253) ** 2);
  let error = 0;
  for (let i = 0; i < values.length; i++) {
    const v = values[i];
    if (Number.isNaN(v)) continue;
    if (v < 0) codes[i] = 1;
    else if (v <= lo) codes[i] = 2;
    else
      codes[i] =
        kind === 'log'
          ? Math.round(3 + (252 * Math.log(v / lo)) / Math.log(hi / lo))
          : Math.max(2, Math.round(2 + 253 * Math.sqrt(v / hi)));
    if (v >= 0) error = Math.max(error, Math.abs(decode(codes[i]) - v));
  }
  return { codes, spec: { kind, lo, hi, error } };
}

export function toHalf(values) {
  const out = new Uint16Array(values.length);
  const f = new Float32Array(1);
  const u = new Uint32Array(f.buffer);
  for (let i = 0; i < values.length; i++) {
    f[0] = values[i];
    const sign = (u[0] >>> 16) & 0x8000;
    const exponent = ((u[0] >>> 23) & 255) - 112;
    const fraction = (u[0] & 0x7fffff) + 0x1000;
    out[i] = exponent <= 0 ? sign : sign | ((exponent << 10) + (fraction >>> 13));
  }
  return out;
}
