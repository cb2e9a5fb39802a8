// A canvas at the resolution of the screen that reports changes of its size.

export interface Surface {
  element: HTMLCanvasElement;
  context: CanvasRenderingContext2D;
  width: number; // CSS pixels
  height: number;
  ratio: number;
}

export function surface(element: HTMLCanvasElement, changed: () => void): Surface {
  const context = element.getContext('2d');
  if (!context) throw new Error('canvas 2d is not available');
  const self: Surface = { element, context, width: 0, height: 0, ratio: 1 };
  new ResizeObserver(() => {
    const rect = element.getBoundingClientRect();
    const ratio = window.devicePixelRatio || 1;
    if (rect.width === self.width && rect.height === self.height && ratio === self.ratio) return;
    Object.assign(self, { width: rect.width, height: rect.height, ratio });
    element.width = Math.max(1, Math.round(rect.width * ratio));
    element.height = Math.max(1, Math.round(rect.height * ratio));
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    changed();
  }).observe(element);
  return self;
}

/** Wraps `work` so that it runs at most once per animation frame, however often it is requested. */
export function oncePerFrame(work: () => void): () => void {
  let scheduled = false;
  return () => {
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(() => {
      scheduled = false;
      work();
    });
  };
}
