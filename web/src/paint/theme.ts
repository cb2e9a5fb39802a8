// The colours of the page, for canvases.

import type { Rgb, Theme } from './ramp';

export function themeOf(root: HTMLElement): Theme {
  const style = getComputedStyle(root);
  const colour = (name: string): Rgb => {
    const hex = style.getPropertyValue(name).trim().slice(1);
    return [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)) as unknown as Rgb;
  };
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  return { dark, paper: colour('--paper'), ink: colour('--ink') };
}
