// Pointer, wheel and keys on the map.

import type { MapView } from './map';

const kClick = 4; // pixels that the pointer may move during a click

export function listenToMap(map: MapView): void {
  const element = map.canvas.element;
  let start: { x: number; y: number; k0: number; q0: number; spans: boolean } | null = null;
  const at = (event: MouseEvent): { x: number; y: number } => {
    const rect = element.getBoundingClientRect();
    return { x: event.clientX - rect.left, y: event.clientY - rect.top };
  };

  element.addEventListener(
    'wheel',
    (event) => {
      event.preventDefault();
      const { x, y } = at(event);
      map.zoomBy(Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.05 : 0.002)), x, y);
    },
    { passive: false },
  );

  element.addEventListener('pointerdown', (event) => {
    if (event.button !== 0) return;
    element.setPointerCapture(event.pointerId);
    start = { ...at(event), k0: map.rect.k0, q0: map.rect.q0, spans: event.shiftKey };
  });

  element.addEventListener('pointermove', (event) => {
    const { x, y } = at(event);
    if (!start || !(event.buttons & 1)) {
      map.point({ x, y });
      return;
    }
    if (Math.hypot(x - start.x, y - start.y) < kClick) return;
    if (start.spans) {
      map.select = spanned(map, start, { x, y });
      map.draw();
    } else {
      map.show(start.k0 - (x - start.x) / map.across, start.q0 - (y - start.y) / map.down, map.zoom);
    }
  });

  element.addEventListener('pointerup', (event) => {
    if (!start) return;
    const { x, y } = at(event);
    const moved = Math.hypot(x - start.x, y - start.y) >= kClick;
    const select = map.select;
    start = null;
    map.select = null;
    if (select) {
      const [first, last] = [map.keyAt(select.q0, select.k0), map.keyAt(select.q1 - 1, select.k1 - 1)];
      const keys = { begin: Math.max(0, first), end: Math.min(map.ctx.family.keys, last + 1) };
      map.choose([{ begin: select.q0, end: select.q1 }], [keys]);
    }
    const pair = moved ? null : map.pairAt(x, y);
    if (pair) map.choose([{ begin: pair.query, end: pair.query + 1 }], [{ begin: pair.key, end: pair.key + 1 }]);
  });

  element.addEventListener('pointerleave', () => map.point(null));
  element.addEventListener('dblclick', (event) => {
    const { x, y } = at(event);
    map.zoomBy(4, x, y);
  });
  element.addEventListener('keydown', (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || !onKey(map, event.key)) return;
    event.preventDefault();
    event.stopPropagation();
  });
}

function spanned(
  map: MapView,
  a: { x: number; y: number },
  b: { x: number; y: number },
): { k0: number; q0: number; k1: number; q1: number } {
  const { left, top } = map.margins;
  const { k0, q0, k1, q1 } = map.whole;
  const key = (x: number): number => Math.max(k0, Math.min(k1, map.rect.k0 + (x - left) / map.across));
  const query = (y: number): number => Math.max(q0, Math.min(q1, map.rect.q0 + (y - top) / map.down));
  return {
    k0: Math.floor(key(Math.min(a.x, b.x))),
    k1: Math.max(Math.ceil(key(Math.max(a.x, b.x))), Math.floor(key(Math.min(a.x, b.x))) + 1),
    q0: Math.floor(query(Math.min(a.y, b.y))),
    q1: Math.max(Math.ceil(query(Math.max(a.y, b.y))), Math.floor(query(Math.min(a.y, b.y))) + 1),
  };
}

/** Arrow keys move the selected pair; + − 0 zoom. */
function onKey(map: MapView, key: string): boolean {
  if (key === '+' || key === '=') map.zoomBy(2);
  else if (key === '-') map.zoomBy(0.5);
  else if (key === '0') map.fit();
  else if (key.startsWith('Arrow')) {
    const { q, k } = map.ctx.store.now;
    const { query_range, key_range } = map.ctx.family;
    const [[q0, q1], [k0, k1]] = [query_range, key_range];
    const clamp = (v: number, begin: number, end: number): number => Math.max(begin, Math.min(end - 1, v));
    const query = clamp((q[0]?.begin ?? 0) + (key === 'ArrowDown' ? 1 : key === 'ArrowUp' ? -1 : 0), q0, q1);
    const column = clamp((k[0]?.begin ?? 0) + (key === 'ArrowRight' ? 1 : key === 'ArrowLeft' ? -1 : 0), k0, k1);
    map.choose([{ begin: query, end: query + 1 }], [{ begin: column, end: column + 1 }], 'replace');
    map.point(null); // the status line shows the selected pair
  } else return false;
  return true;
}
