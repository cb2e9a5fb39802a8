// Figures as files, for the export dialog and its keys.

import { type Context, commandOf, familyName, weightName } from '../context';
import { head as headName } from '../format';
import { SourceError } from '../source/source';
import { pngOf } from '../png';
import { h } from '../ui/dom';
import { type Drawing, type Mark, hasPictures, svg, tikz } from './drawing';
import { type Exported, type Figure, draw } from './figure';

export const kFigureKinds = ['svg', 'pdf', 'tikz'] as const;
export type FigureKind = (typeof kFigureKinds)[number];

export interface SavedFile {
  blob: Blob;
  name: string;
}

/** Adds the caption: what is shown, the model and heads, and the rules for weights, scale and sinks. */
function figureOf(ctx: Context, { parts, description, badge, rules: own }: Exported): Figure {
  const { t, info, store, family } = ctx;
  const state = store.now;
  const heads = state.view === 'atlas' ? '' : state.heads.map(headName).join(' ');
  const rules = own ?? [
    t('figure.rules', { weight: weightName(ctx), scale: t(`scale.${state.scale}`) }),
    family.sinks.length > 0 ? t('figure.sinks', { rule: t(`sink.${state.sink}`) }) : '',
  ];
  const about = [info.name, own ? '' : `${familyName(ctx, family)}${heads ? ` ${heads}` : ''}`, ...rules, t(`badge.name.${badge}`)]
    .filter(Boolean)
    .join(' · ');
  return { name: `${info.name} ${heads}`.trim(), caption: `${description} ${about}`.trim(), command: commandOf(ctx), parts };
}

/** Renders a figure as a file. Returns null if the browser's print dialog saves it instead: PDF without a server that can make it. */
export async function figureFile(ctx: Context, shown: Exported, kind: FigureKind, millimetres: number): Promise<SavedFile | null> {
  const drawing = draw(figureOf(ctx, shown), millimetres);
  const name = `clearhead-${ctx.store.now.view}.${kind === 'tikz' ? 'tex' : kind}`;
  if (kind === 'tikz') {
    if (hasPictures(drawing)) throw new Error(ctx.t('figure.no-tikz'));
    return { blob: new Blob([tikz(drawing)], { type: 'text/x-tex' }), name };
  }
  const text = svg(drawing, urlOf);
  if (kind === 'svg') return { blob: new Blob([text], { type: 'image/svg+xml' }), name };
  try {
    return { blob: await ctx.source.pdf(drawing), name };
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    if (error.code !== 'kUnsupported') throw error;
    print(text, drawing);
    return null;
  }
}

const kDotsPerInch = 300;
const kMostPixels = 16_000; // on a side, in every browser's canvas

/** Renders a figure as a picture of 300 dots per inch, or fewer if its canvas would be too large. */
export async function figurePng(ctx: Context, shown: Exported, millimetres: number): Promise<SavedFile> {
  const drawing = draw(figureOf(ctx, shown), millimetres);
  const scale = Math.min(kDotsPerInch / 72, kMostPixels / Math.max(drawing.width, drawing.height));
  const url = URL.createObjectURL(new Blob([svg(drawing, urlOf)], { type: 'image/svg+xml' }));
  const image = new Image();
  image.src = url;
  await image.decode().finally(() => URL.revokeObjectURL(url));
  const canvas = h('canvas', { width: Math.round(drawing.width * scale), height: Math.round(drawing.height * scale) });
  const context = canvas.getContext('2d');
  if (!context) throw new Error('canvas 2d is not available');
  context.fillStyle = '#fff';
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return { blob: await pngOf(canvas, commandOf(ctx)), name: `clearhead-${ctx.store.now.view}-300dpi.png` };
}

function urlOf(mark: Mark & { kind: 'pixels' }): string {
  const canvas = h('canvas', { width: mark.width, height: mark.height });
  const context = canvas.getContext('2d');
  if (!context) throw new Error('canvas 2d is not available');
  const image = context.createImageData(mark.width, mark.height);
  for (let i = 0; i < mark.width * mark.height; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = mark.rgb[3 * i + c];
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas.toDataURL('image/png');
}

/** Prints the figure alone, on a page of its size. If saved as PDF, its text remains text. */
function print(text: string, { width, height }: Drawing): void {
  const element = new DOMParser().parseFromString(text, 'image/svg+xml').documentElement;
  const holder = h('div', { class: 'print-figure' }, document.importNode(element, true));
  const sheet = new CSSStyleSheet();
  const mm = (points: number): string => `${((points * 25.4) / 72).toFixed(2)}mm`;
  sheet.replaceSync(`
    @page { size: ${mm(width)} ${mm(height + 1)}; margin: 0 }
    @media screen { .print-figure { display: none } }
    @media print { body > :not(.print-figure) { display: none !important } html, body { margin: 0; background: #fff } .print-figure svg { display: block } }
  `);
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  document.body.append(holder);
  const after = (): void => {
    holder.remove();
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
  };
  window.addEventListener('afterprint', after, { once: true });
  window.print();
}
