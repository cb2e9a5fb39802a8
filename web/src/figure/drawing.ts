// A figure as a list of marks on white paper, and its file formats: SVG and TikZ. PDF is the SVG printed by a server or the browser.
//
// Lengths are in points (1/72 inch) from the upper left corner, x to the right, y down. Text stays text. The font is Helvetica or its
// substitute, so text is measured without a font: by Adobe's metrics, plus 8 % for substitutes that are wider.
//
// The terminal has no browser and draws the same marks by the same rules (src/viewer/figure/drawing.h). tests/goldens/figures requires
// equal output from both, so a change here needs the same change there.

import { type Rgb, type Theme, diverge as divergeOn, inkOn as inkNameOn, mix, shade as shadeOn } from '../paint/ramp';

export interface Area {
  left: number;
  top: number;
  width: number;
  height: number;
}

type Anchor = 'start' | 'middle' | 'end';

export interface Text {
  x: number; // position of the anchor on the base line
  y: number;
  text: string;
  size?: number;
  anchor?: Anchor;
  colour?: Rgb;
  bold?: boolean;
  turn?: number; // rotation in degrees, counter-clockwise about (x, y)
}

export type Mark =
  | { kind: 'box'; area: Area; fill?: Rgb | null; stroke?: Rgb | null; line?: number }
  | { kind: 'curve'; x0: number; y0: number; x1: number; y1: number; stroke: Rgb; line?: number; opacity?: number; bent?: boolean } // bent: horizontal at both ends
  | ({ kind: 'text' } & Text)
  | { kind: 'pixels'; area: Area; width: number; height: number; rgb: Uint8Array }
  | { kind: 'pointer'; x: number; y: number }; // a small triangle above (x, y) that points at it

export interface Drawing {
  width: number;
  height: number;
  title: string; // for screen readers; the description contains the command that reproduces the figure
  description: string;
  marks: Mark[];
}

export const kPaper: Rgb = [255, 255, 255];
export const kInk: Rgb = [26, 26, 26];
export const kSoft: Rgb = [90, 90, 96];
export const kAccent: Rgb = [180, 18, 60];
/** Colours of the pinned heads (Okabe and Ito 2008), as on the page. */
export const kPins: readonly Rgb[] = [
  [0, 114, 178],
  [213, 94, 0],
  [0, 135, 95],
  [180, 80, 138],
  [138, 109, 0],
  [91, 91, 214],
];
const kTheme: Theme = { dark: false, paper: kPaper, ink: kInk };

/** The colour of an intensity 0…1 on paper: 0 is white, more is darker. */
export const shade = (t: number): Rgb => shadeOn(Math.max(0, Math.min(1, t)), kTheme);
/** The colour of a change −1…1: blue is a decrease, orange an increase. Used only by the page's own figures. */
export const diverge = (t: number): Rgb => divergeOn(Math.max(-1, Math.min(1, t)), kTheme);
export const inkOn = (colour: Rgb): Rgb => (inkNameOn(colour) === '#000' ? [0, 0, 0] : [255, 255, 255]);
export const tone = (t: number): Rgb => mix(kPaper, kInk, t);

// Widths of the printable ASCII characters in thousandths of the font's size, from Adobe's metrics of Helvetica (Core 14 AFM files).
const kHelvetica = [
  278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278,
  278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778, 667, 778, 722, 667, 611, 722,
  667, 944, 667, 667, 611, 278, 278, 278, 469, 556, 333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556,
  556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
];
const kStandIn = 1.08; // Noto Sans and DejaVu Sans are wider than Helvetica

function widthOf(code: number): number {
  if (code >= 32 && code < 127) return kHelvetica[code - 32];
  const within = (from: number, to: number): boolean => code >= from && code < to;
  if (within(0x300, 0x370) || within(0x200b, 0x2010) || within(0xfe00, 0xfe10)) return 0;
  const wide = within(0x1100, 0x1160) || within(0x2e80, 0xd7b0) || within(0xf900, 0xfb00) || within(0xff00, 0xff61) || code >= 0x1f000;
  return wide ? 1000 / kStandIn : code === 0x202f || code === 0x2009 ? 200 : 600;
}

/** Width of a text in points, at a font size. */
export function textWidth(text: string, size: number): number {
  let sum = 0;
  for (const c of text) sum += widthOf(c.codePointAt(0) ?? 0);
  return (sum * size * kStandIn) / 1000;
}

/** The text, truncated with … to at most `width` points. */
export function fitted(text: string, width: number, size: number): string {
  if (textWidth(text, size) <= width) return text;
  const room = width - textWidth('…', size);
  let kept = '';
  for (const c of text) {
    if (textWidth(kept + c, size) > room) break;
    kept += c;
  }
  return `${kept}…`;
}

/** The body of POST api/pdf: pixels are encoded in base64. */
export function posted(d: Drawing): object {
  const letters = (bytes: Uint8Array): string => {
    let out = '';
    for (let at = 0; at < bytes.length; at += 3 << 12) out += btoa(String.fromCharCode(...bytes.subarray(at, at + (3 << 12))));
    return out;
  };
  return { ...d, marks: d.marks.map((m) => (m.kind === 'pixels' ? { ...m, rgb: letters(m.rgb) } : m)) };
}

const hex = (c: Rgb): string => `#${c.map((v) => v.toString(16).padStart(2, '0')).join('')}`;

/** Two decimals: a hundredth of a point is less than a printer's dot. */
const number = (value: number): string => String(Math.floor(value * 100 + 0.5) / 100 || 0);

/** Escapes text between tags; characters that XML 1.0 cannot represent become U+FFFD. */
const escaped = (text: string): string =>
  text
    // eslint-disable-next-line no-control-regex
    .replace(/[\u0000-\u0008\u000b-\u001f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, '\ufffd')
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/>/g, '&gt;');

/** Renders a drawing as SVG. `urlOf` returns the data URL of a picture. */
export function svg(d: Drawing, urlOf: (mark: Mark & { kind: 'pixels' }) => string): string {
  const mm = 25.4 / 72;
  const place = (a: Area): string => `x="${number(a.left)}" y="${number(a.top)}" width="${number(a.width)}" height="${number(a.height)}"`;
  const element = (m: Mark): string => {
    switch (m.kind) {
      case 'box': {
        const stroke = m.stroke ? ` stroke="${hex(m.stroke)}" stroke-width="${number(m.line ?? 0.75)}"` : '';
        return `<rect ${place(m.area)} fill="${m.fill ? hex(m.fill) : 'none'}"${stroke}/>`;
      }
      case 'curve': {
        const [to, reach] = [`${number(m.x1)} ${number(m.y1)}`, m.x1 - m.x0];
        const way = m.bent
          ? `C${number(m.x0 + 0.45 * reach)} ${number(m.y0)} ${number(m.x0 + 0.55 * reach)} ${number(m.y1)} ${to}`
          : `L${to}`;
        const how = `stroke="${hex(m.stroke)}" stroke-width="${number(m.line ?? 0.75)}" stroke-opacity="${number(m.opacity ?? 1)}"`;
        return `<path d="M${number(m.x0)} ${number(m.y0)}${way}" fill="none" ${how}/>`;
      }
      case 'text': {
        const anchor = m.anchor && m.anchor !== 'start' ? ` text-anchor="${m.anchor}"` : '';
        const turn = m.turn ? ` transform="rotate(${number(-m.turn)} ${number(m.x)} ${number(m.y)})"` : '';
        const how = `font-size="${number(m.size ?? 8)}"${anchor}${m.bold ? ' font-weight="bold"' : ''}${turn}`;
        return `<text x="${number(m.x)}" y="${number(m.y)}" ${how} fill="${hex(m.colour ?? kInk)}">${escaped(m.text)}</text>`;
      }
      case 'pixels':
        return `<image ${place(m.area)} preserveAspectRatio="none" image-rendering="pixelated" href="${urlOf(m)}"/>`;
      case 'pointer':
        return `<path d="M${number(m.x - 3)} ${number(m.y - 5)}h6l-3 5z" fill="${hex(kAccent)}"/>`;
    }
  };
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${number(d.width * mm)}mm" height="${number(d.height * mm)}mm" viewBox="0 0 ${number(d.width)} ${number(d.height)}" role="img" font-family="Helvetica, Arial, 'Liberation Sans', 'Noto Sans', sans-serif">`,
    `<title>${escaped(d.title)}</title>`,
    `<desc>${escaped(d.description)}</desc>`,
    `<rect x="0" y="0" width="${number(d.width)}" height="${number(d.height)}" fill="#ffffff"/>`,
    ...d.marks.map(element),
    '</svg>\n',
  ].join('\n');
}

const kLatex: Record<string, string> = {
  '\\': '\\textbackslash{}',
  '~': '\\textasciitilde{}',
  '^': '\\textasciicircum{}',
  '<': '\\textless{}',
  '>': '\\textgreater{}',
  '|': '\\textbar{}',
  '"': '\\textquotedbl{}',
  '\u202f': '\\,',
  '\u2009': '\\,',
  '√': '\\ensuremath{\\surd}',
  '→': '\\ensuremath{\\rightarrow}',
  '…': '\\dots{}',
  '·': '\\textperiodcentered{}',
};

const latex = (text: string): string =>
  [...text].map((c) => kLatex[c] ?? ('{}$&#_%'.includes(c) ? `\\${c}` : c < ' ' ? ' ' : c === '\ufffd' ? '?' : c)).join('');

/** True if the drawing contains pictures, which TikZ does not support. */
export const hasPictures = (d: Drawing): boolean => d.marks.some((m) => m.kind === 'pixels');

/** Renders a drawing without pictures as a tikzpicture. */
export function tikz(d: Drawing): string {
  const colour = (c: Rgb): string => `{rgb,255:red,${c[0]};green,${c[1]};blue,${c[2]}}`;
  const at = (x: number, y: number): string => `(${number(x)},${number(y)})`;
  const command = (m: Mark): string => {
    switch (m.kind) {
      case 'box': {
        const how = [
          m.fill ? `fill=${colour(m.fill)}` : '',
          m.stroke ? `draw=${colour(m.stroke)},line width=${number(m.line ?? 0.75)}bp` : '',
        ].filter(Boolean);
        const { left, top, width, height } = m.area;
        return `\\path[${how.join(',')}] ${at(left, top)} rectangle ${at(left + width, top + height)};`;
      }
      case 'curve': {
        const reach = m.x1 - m.x0;
        const way = m.bent ? `.. controls ${at(m.x0 + 0.45 * reach, m.y0)} and ${at(m.x0 + 0.55 * reach, m.y1)} ..` : '--';
        const how = `draw=${colour(m.stroke)},line width=${number(m.line ?? 0.75)}bp,opacity=${number(m.opacity ?? 1)}`;
        return `\\draw[${how}] ${at(m.x0, m.y0)} ${way} ${at(m.x1, m.y1)};`;
      }
      case 'text': {
        const anchor = m.anchor === 'middle' ? 'base' : m.anchor === 'end' ? 'base east' : 'base west';
        const turn = m.turn ? `,rotate=${number(m.turn)}` : '';
        const bold = m.bold ? ',font=\\sffamily\\bfseries\\fontsize{8}{9}\\selectfont' : '';
        return `\\node[anchor=${anchor},text=${colour(m.colour ?? kInk)}${turn}${bold}] at ${at(m.x, m.y)} {${latex(m.text)}};`;
      }
      case 'pointer':
        return `\\fill[fill=${colour(kAccent)}] ${at(m.x - 3, m.y - 5)} -- ${at(m.x + 3, m.y - 5)} -- ${at(m.x, m.y)} -- cycle;`;
      case 'pixels':
        return '';
    }
  };
  return [
    `% ${`${d.title}\n${d.description}`.replace(/\n/g, '\n% ')}`,
    '% Needs \\usepackage{tikz} and \\usepackage[T1]{fontenc}; for scripts other than Latin, use XeLaTeX or LuaLaTeX.',
    '\\begin{tikzpicture}[x=1bp,y=-1bp,every node/.style={inner sep=0pt,outer sep=0pt,font=\\sffamily\\fontsize{8}{9}\\selectfont}]',
    ...d.marks.map(command),
    '\\end{tikzpicture}\n',
  ].join('\n');
}
