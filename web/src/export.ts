// JSON, NPY and CSV exports made by the page itself: for offline pages, which have no server, and for views that provide their own numbers
// (`numbers()` of View in context.ts). CSV is made from NPY, whose numbers a page or a server has written.

import { type Context, type Numbers, type View, commandOf } from './context';
import type { ExportKind, LineRequest } from './source/source';

async function exportHere(ctx: Context, kind: ExportKind): Promise<{ blob: Blob; name: string }> {
  const { store, focus, source } = ctx;
  const requests = store.now.heads.map((at) => focus.requestFor(store.now, at, null)).filter((r): r is LineRequest => r !== null);
  if (requests.length === 0) throw new Error(ctx.t('answers.how'));
  const lines = await Promise.all(requests.map((r, i) => source.line(r, `export-${i}`)));
  if (kind === 'json') {
    const field = store.now.direction === 'out' ? 'rows' : 'columns';
    const heads = lines.map((line, i) => ({
      ...requests[i].at,
      badge: line.badge,
      error: line.error,
      [field]: {
        of: requests[i].spans.map((s) => [s.begin, s.end]),
        values: line.values ? [...line.values] : null,
        top: line.top,
        total: line.total,
        sink_mass: line.sinkMass,
      },
    }));
    return jsonFile(ctx, { heads });
  }
  const values = lines.map((l) => l.values).filter((v): v is Float32Array => v !== null);
  if (values.length < lines.length) throw new Error(ctx.t('export.top-only'));
  return { blob: new Blob([npy(values, commandOf(ctx))]), name: 'clearhead.npy' };
}

/** The numbers of a view of an offline page, in the fields of the server's exports (docs/viewer-api.md, api/export). */
export async function exportOffline(ctx: Context, kind: 'json' | 'npy', view: View): Promise<{ blob: Blob; name: string }> {
  return view.offlineNumbers ? exportNumbers(ctx, kind, await view.offlineNumbers()) : exportHere(ctx, kind);
}

export function exportNumbers(ctx: Context, kind: 'json' | 'npy', numbers: Numbers): { blob: Blob; name: string } {
  const { view } = ctx.store.now;
  if (kind === 'json') return jsonFile(ctx, { view, ...numbers.json }, `-${view}`);
  return { blob: new Blob([npy(numbers.rows, commandOf(ctx), numbers.shape)]), name: `clearhead-${view}.npy` };
}

function jsonFile(ctx: Context, numbers: Record<string, unknown>, of = ''): { blob: Blob; name: string } {
  const { info, family } = ctx;
  const body = { command: commandOf(ctx), clearhead: info.clearhead, id: info.id, name: info.name, family: family.id, ...numbers };
  return { blob: new Blob([JSON.stringify(body)], { type: 'application/json' }), name: `clearhead${of}.json` };
}

/** NPY version 1: float32 [lines, items], or the given shape. The command is appended after the data, where readers ignore it. */
export function npy(
  rows: readonly Float32Array[],
  command: string,
  shape: readonly number[] = [rows.length, rows[0]?.length ?? 0],
): Uint8Array {
  const size = rows.reduce((n, row) => n + row.length, 0);
  const dict = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(', ')}), }`;
  const header = dict.padEnd(Math.ceil((10 + dict.length + 1) / 64) * 64 - 11) + '\n';
  const text = new TextEncoder();
  const tail = text.encode(`\n# ${command}\n`);
  const out = new Uint8Array(10 + header.length + size * 4 + tail.length);
  out.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length & 255, header.length >> 8]);
  out.set(text.encode(header), 10);
  let at = 10 + header.length;
  for (const row of rows) {
    out.set(new Uint8Array(row.buffer, row.byteOffset, row.byteLength), at);
    at += row.byteLength;
  }
  out.set(tail, at);
  return out;
}

/**
 * The numbers of an NPY file as CSV: a line for each entry of the last axis, with its text if there are texts; a column for each entry of the
 * axes before it, named by their indices. NaN is empty.
 */
export function csv(file: ArrayBuffer, texts: readonly string[]): string {
  const data = new DataView(file);
  const begin = 10 + data.getUint16(8, true);
  const [, dimensions] = /\(([^)]*)/.exec(new TextDecoder().decode(file.slice(10, begin))) ?? [];
  const shape = (dimensions.match(/\d+/g) ?? []).map(Number);
  const count = shape.pop() ?? 1;
  const names = shape.reduce<string[]>(
    (all, size) => all.flatMap((name) => [...Array(size).keys()].map((i) => `${name} ${i}`.trim())),
    [''],
  );
  const lines = Array.from({ length: count }, (_, item) => {
    const numbers = names.map((_, row) => data.getFloat32(begin + 4 * (row * count + item), true));
    const text = texts.slice(item, item + 1).map((one) => `"${one.replaceAll('"', '""')}"`);
    return [item, ...text, ...numbers.map((value) => (Number.isNaN(value) ? '' : value))];
  });
  return [['item', ...(texts.length ? ['text'] : []), ...names], ...lines].map((line) => `${line.join(',')}\n`).join('');
}
