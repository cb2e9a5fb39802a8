// PNG files of canvases. Adds to a PNG a tEXt chunk with the command that reproduces the picture, before IEND.

const kCrc = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c >>> 0;
});

export function crc32(bytes: Uint8Array): number {
  let c = 0xffffffff;
  for (const b of bytes) c = kCrc[(c ^ b) & 255] ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}

/** The picture of a canvas as a PNG with a comment. */
export async function pngOf(canvas: HTMLCanvasElement, comment: string): Promise<Blob> {
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, 'image/png'));
  if (!blob) throw new Error('canvas: PNG is not available');
  return new Blob([withComment(new Uint8Array(await blob.arrayBuffer()), comment)], { type: 'image/png' });
}

export function withComment(png: Uint8Array, comment: string): Uint8Array {
  const latin = comment.replace(/[^\x20-\x7e]/g, '?'); // tEXt is Latin-1
  const data = new TextEncoder().encode(`tEXtComment\0${latin}`);
  const chunk = new Uint8Array(data.length + 8);
  new DataView(chunk.buffer).setUint32(0, data.length - 4);
  chunk.set(data, 4);
  new DataView(chunk.buffer).setUint32(4 + data.length, crc32(data));
  const end = png.length - 12; // IEND is 12 bytes
  const out = new Uint8Array(png.length + chunk.length);
  out.set(png.subarray(0, end));
  out.set(chunk, end);
  out.set(png.subarray(end), end + chunk.length);
  return out;
}
