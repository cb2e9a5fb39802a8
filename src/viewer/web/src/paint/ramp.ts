// Cividis: a ramp that reads the same with and without colour vision, and in grey. On paper more weight is more ink (pale yellow to
// navy); on a dark page more weight is more light (navy to yellow). Source of the ramp: Nuñez, Anderton, Renslow 2018.

export type Rgb = readonly [number, number, number];

const kCividis: readonly Rgb[] = [
  [0, 32, 77],
  [0, 42, 102],
  [18, 53, 112],
  [43, 63, 109],
  [59, 73, 108],
  [73, 83, 108],
  [87, 93, 109],
  [99, 103, 112],
  [112, 113, 115],
  [125, 124, 120],
  [138, 134, 121],
  [152, 146, 118],
  [166, 157, 115],
  [180, 169, 109],
  [195, 182, 101],
  [210, 195, 91],
  [226, 208, 78],
  [241, 223, 62],
  [254, 234, 60],
];

export function cividis(t: number): Rgb {
  const x = Math.max(0, Math.min(1, t)) * (kCividis.length - 1);
  const i = Math.min(kCividis.length - 2, Math.floor(x));
  return mix(kCividis[i], kCividis[i + 1], x - i);
}

export const mix = (a: Rgb, b: Rgb, t: number): Rgb => [0, 1, 2].map((c) => Math.round(a[c] + (b[c] - a[c]) * t)) as unknown as Rgb;

export interface Theme {
  dark: boolean;
  paper: Rgb;
  ink: Rgb;
}

/** The colour of an intensity 0…1; nothing is paper, so that light weights fade out instead of beginning with a stain. */
export function shade(t: number, theme: Theme): Rgb {
  const fade = Math.min(1, t / 0.18);
  const colour = theme.dark ? cividis(0.16 + 0.84 * t) : cividis(1 - t);
  return mix(theme.paper, colour, theme.dark ? Math.min(1, t / 0.3) : fade);
}

/** Black or white, whichever is read better on the colour; one of them always reaches 4.5 : 1. */
export function inkOn(colour: Rgb): string {
  const l = luminance(colour);
  return (l + 0.05) / 0.05 >= 1.05 / (l + 0.05) ? '#000' : '#fff';
}

export function luminance(colour: Rgb): number {
  const [r, g, b] = colour.map((c) => {
    const s = c / 255;
    return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

export const css = (c: Rgb): string => `rgb(${c[0]} ${c[1]} ${c[2]})`;

/** 64 steps are enough for shading text, and let the browser share styles. */
export const kSteps = 64;

/** Colours of the pinned heads, in the order of pinning (Okabe and Ito 2008); each also has its number. */
export const kPinColours = {
  light: ['#0072b2', '#d55e00', '#00875f', '#b4508a', '#8a6d00', '#5b5bd6'],
  dark: ['#56b4e9', '#ff8b3d', '#2fc79a', '#e79ac6', '#e6c229', '#a5a5ff'],
};
