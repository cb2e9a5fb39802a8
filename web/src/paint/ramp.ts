// Cividis: a colour ramp that reads the same with and without colour vision, and in grey. On paper more weight is more ink (pale yellow to
// navy); on a dark page more weight is more light (navy to yellow). Source: Nuñez, Anderton, Renslow 2018.

export type Rgb = readonly [number, number, number];

// Every fifth of its 256 colours, as in the engine (src/observe/picture.cc), so that both make the same pictures and figures.
const kCividis: readonly Rgb[] = (
  '00224e 002656 002a5f 002d68 003070 083370 163770 203a6f 273e6e 2e416d 34456c 3a486c 3f4c6c ' +
  '444f6c 49536c 4e566c 535a6d 575d6d 5c616e 60646f 656870 696b71 6d6f72 727274 767676 7a7a78 ' +
  '7e7d78 838179 888578 8d8878 928c78 969077 9b9476 a09875 a59c74 aaa073 afa471 b5a86f baac6d ' +
  'bfb06b c4b468 c9b965 cfbd62 d4c15f dac65b dfca57 e5cf52 ead34c f0d846 f6dd3f fce236 fee838'
)
  .split(' ')
  .map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)) as unknown as Rgb);

export function cividis(t: number): Rgb {
  const level = Math.floor(255 * Math.max(0, Math.min(1, t)) + 0.5);
  const [at, part] = [Math.floor(level / 5), level % 5];
  const [from, to] = [kCividis[at], kCividis[Math.min(at + 1, kCividis.length - 1)]];
  return [0, 1, 2].map((c) => Math.floor((from[c] * (5 - part) + to[c] * part + 2) / 5)) as unknown as Rgb;
}

export const mix = (a: Rgb, b: Rgb, t: number): Rgb => [0, 1, 2].map((c) => Math.round(a[c] + (b[c] - a[c]) * t)) as unknown as Rgb;

export interface Theme {
  dark: boolean;
  paper: Rgb;
  ink: Rgb;
}

/** The colour of an intensity 0…1; zero is the paper colour, so that light weights fade out instead of beginning with a stain. */
export function shade(t: number, theme: Theme): Rgb {
  const fade = Math.min(1, t / 0.18);
  const colour = theme.dark ? cividis(0.16 + 0.84 * t) : cividis(1 - t);
  return mix(theme.paper, colour, theme.dark ? Math.min(1, t / 0.3) : fade);
}

/**
 * The colour of a change −1…1: blue is a decrease, orange an increase, distinguishable with every kind of colour vision; zero is the paper
 * colour.
 */
export function diverge(t: number, theme: Theme): Rgb {
  const more: Rgb = theme.dark ? [255, 150, 66] : [196, 86, 0];
  const less: Rgb = theme.dark ? [86, 170, 240] : [0, 92, 170];
  return mix(theme.paper, t < 0 ? less : more, Math.min(1, Math.abs(t)));
}

/** Black or white, whichever is more legible on the colour; one of them always reaches 4.5 : 1. */
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

/** Number of shades of text: 64 are enough, and let the browser share styles. */
export const kSteps = 64;

/** Colours of the pinned heads, in the order of pinning (Okabe and Ito 2008); each head also has a number. */
export const kPinColours = {
  light: ['#0072b2', '#d55e00', '#00875f', '#b4508a', '#8a6d00', '#5b5bd6'],
  dark: ['#56b4e9', '#ff8b3d', '#2fc79a', '#e79ac6', '#e6c229', '#a5a5ff'],
};
