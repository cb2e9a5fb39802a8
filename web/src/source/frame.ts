// Frames: one JSON header followed by named little-endian arrays (docs/viewer-api.md, "Frames").
//
// A frame is decoded without copying: arrays are views into its buffer, so the buffer must begin at the frame. In a stream each frame
// follows its length as u32, which leaves it unaligned: `readFrames` copies it out.

export type FrameArray = Uint8Array | Uint32Array | Int32Array | Float32Array | Uint16Array;

interface ArraySpec {
  dtype: 'u8' | 'u32' | 'i32' | 'f16' | 'f32' | 'utf8';
  shape: number[];
  offset: number;
}

export interface Frame<Header> {
  header: Header;
  arrays: Record<string, FrameArray>;
  shapes: Record<string, number[]>;
}

const kMagic = 0x31464843; // "CHF1", little-endian

class FrameError extends Error {}

export function decodeFrame<Header>(buffer: ArrayBuffer): Frame<Header> {
  const view = new DataView(buffer);
  if (buffer.byteLength < 8 || view.getUint32(0, true) !== kMagic) throw new FrameError('frame: does not begin with CHF1');
  const headerLength = view.getUint32(4, true);
  const payload = 8 + headerLength;
  if (payload > buffer.byteLength) throw new FrameError(`frame: header says ${headerLength} bytes, ${buffer.byteLength - 8} are there`);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, headerLength))) as Header & {
    arrays: Record<string, ArraySpec>;
  };
  const arrays: Record<string, FrameArray> = {};
  const shapes: Record<string, number[]> = {};
  for (const [name, spec] of Object.entries(header.arrays)) {
    const count = spec.shape.reduce((a, b) => a * b, 1);
    arrays[name] = viewOf(buffer, payload + spec.offset, count, spec.dtype, name);
    shapes[name] = spec.shape;
  }
  return { header, arrays, shapes };
}

function viewOf(buffer: ArrayBuffer, at: number, count: number, dtype: ArraySpec['dtype'], name: string): FrameArray {
  const size = dtype === 'u8' || dtype === 'utf8' ? 1 : dtype === 'f16' ? 2 : 4;
  if (at + count * size > buffer.byteLength) throw new FrameError(`frame: array "${name}" ends beyond the frame`);
  switch (dtype) {
    case 'u8':
    case 'utf8':
      return new Uint8Array(buffer, at, count);
    case 'f16':
      return new Uint16Array(buffer, at, count);
    case 'u32':
      return new Uint32Array(buffer, at, count);
    case 'i32':
      return new Int32Array(buffer, at, count);
    case 'f32':
      return new Float32Array(buffer, at, count);
  }
}

/** Returns an array of a frame; throws FrameError if it is missing or of another type. */
export function requireArray<T extends FrameArray>(frame: Frame<unknown>, name: string, kind: new (n: number) => T): T {
  const found = frame.arrays[name];
  if (!(found instanceof kind)) throw new FrameError(`frame: array "${name}" is missing or of another type`);
  return found;
}

/** Reads a stream of length-prefixed frames, calling `onFrame` for each in order. */
export async function readFrames<Header>(stream: ReadableStream<Uint8Array>, onFrame: (frame: Frame<Header>) => void): Promise<void> {
  const reader = stream.getReader();
  let pending = new Uint8Array(0);
  for (;;) {
    const { done, value } = await reader.read();
    if (value) pending = concat(pending, value);
    let at = 0;
    while (pending.length - at >= 4) {
      const length = new DataView(pending.buffer, pending.byteOffset + at, 4).getUint32(0, true);
      if (pending.length - at - 4 < length) break;
      onFrame(decodeFrame<Header>(pending.slice(at + 4, at + 4 + length).buffer as ArrayBuffer));
      at += 4 + length;
    }
    pending = pending.slice(at);
    if (done) break;
  }
  if (pending.length > 0) throw new FrameError('stream: ends inside a frame');
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const all = new Uint8Array(a.length + b.length);
  all.set(a);
  all.set(b, a.length);
  return all;
}

// ---- codes: u8 values of a picture that represent weights

export interface Codes {
  kind: 'linear' | 'sqrt' | 'log';
  lo: number;
  hi: number;
  error: number;
}

export const kHidden = 0; // the attention spec hides every pair of the cell
export const kUnscored = 1; // scored by no window: hatched, not zero

/** The 256 weights that the codes represent; NaN where there is no weight. */
export function codeTable(codes: Codes): Float32Array {
  const table = new Float32Array(256);
  table[kHidden] = NaN;
  table[kUnscored] = NaN;
  for (let c = 3; c < 256; c++) {
    const t = (c - 2) / 253;
    if (codes.kind === 'linear') table[c] = codes.hi * t;
    else if (codes.kind === 'sqrt') table[c] = codes.hi * t * t;
    else table[c] = codes.lo * Math.pow(codes.hi / codes.lo, (c - 3) / 252);
  }
  return table;
}

/** Converts IEEE half precision to single precision, for the f16 arrays. */
export function halfToFloat(half: Uint16Array): Float32Array {
  const out = new Float32Array(half.length);
  for (let i = 0; i < half.length; i++) {
    const bits = half[i];
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 0) out[i] = sign * fraction * 2 ** -24;
    else if (exponent === 31) out[i] = fraction ? NaN : sign * Infinity;
    else out[i] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return out;
}
