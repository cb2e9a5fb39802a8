// The minimap: the whole text as one strip, with segments as bands, the profile of the pinned line, column mass, search hits, and the
// visible part.

import { type Rgb, type Theme, css, mix, shade } from './ramp';

interface Strip {
  length: number; // of the text, in UTF-16 units
  bands: readonly { from: number; to: number }[];
  profile: Float32Array | null; // intensities 0…1, top to bottom
  received: Float32Array | null; // intensities 0…1
  hits: readonly number[]; // UTF-16 offsets
  marks: readonly number[]; // the selected tokens
}

/** Paints everything except the visible part, which alone changes while scrolling. */
export function paintStrip(context: CanvasRenderingContext2D, width: number, height: number, strip: Strip, theme: Theme): void {
  const y = (offset: number): number => (strip.length ? (offset / strip.length) * height : 0);
  const tone = (t: number): string => css(mix(theme.paper, theme.ink, t));
  context.clearRect(0, 0, width, height);
  strip.bands.forEach((band, i) => {
    context.fillStyle = tone(i % 2 ? 0.14 : 0.07);
    context.fillRect(0, y(band.from), 4, Math.max(1, y(band.to) - y(band.from) - 1));
  });
  if (strip.received) bars(context, strip.received, height, width - 9, 8, (t) => mix(theme.paper, theme.ink, t * 0.5));
  if (strip.profile) bars(context, strip.profile, height, 6, width - 17, (t) => shade(0.25 + 0.75 * t, theme));
  context.fillStyle = tone(0.9);
  for (const hit of strip.hits) context.fillRect(width - 6, Math.round(y(hit)), 6, 1.5);
  context.fillStyle = css(theme.ink);
  for (const mark of strip.marks) {
    context.beginPath();
    context.moveTo(0, y(mark) - 4);
    context.lineTo(6, y(mark));
    context.lineTo(0, y(mark) + 4);
    context.fill();
  }
}

/** Paints the visible part of the text over the strip. */
export function paintView(
  context: CanvasRenderingContext2D,
  width: number,
  height: number,
  view: { from: number; to: number },
  length: number,
  theme: Theme,
): void {
  const from = length ? (view.from / length) * height : 0;
  const tall = Math.min(height, Math.max(6, (length ? (view.to / length) * height : height) - from));
  const top = Math.min(from, height - tall);
  context.fillStyle = theme.dark ? 'rgb(255 255 255 / 0.09)' : 'rgb(0 0 0 / 0.07)';
  context.fillRect(0, top, width, tall);
  context.strokeStyle = css(mix(theme.paper, theme.ink, 0.55));
  context.strokeRect(0.5, Math.round(top) + 0.5, width - 1, Math.round(tall) - 1);
}

function bars(
  context: CanvasRenderingContext2D,
  values: Float32Array,
  height: number,
  x: number,
  width: number,
  colour: (t: number) => Rgb,
): void {
  const tall = height / values.length;
  for (let i = 0; i < values.length; i++) {
    if (!(values[i] > 0.02)) continue;
    context.fillStyle = css(colour(values[i]));
    context.fillRect(x, i * tall, Math.max(1, width * values[i]), Math.max(1, tall));
  }
}
