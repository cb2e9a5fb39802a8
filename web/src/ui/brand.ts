// Parts of every page: the logo and the button for the other language.

import type { Strings } from '../strings';
import { h } from './dom';

export const brand = (): HTMLElement => h('div', { class: 'brand' }, brandMark(), h('span', { class: 'brand-name' }, 'clearhead'));

export const languageButton = (t: Strings, onclick: () => void): HTMLButtonElement =>
  h(
    'button',
    {
      type: 'button',
      class: 'action language',
      lang: t.language === 'en' ? 'zh' : 'en',
      'data-action': 'language',
      title: t('language.title'),
      onclick,
    },
    t('language'),
  );

/** The logo: rows of a causal attention map. */
function brandMark(): SVGSVGElement {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 20 20');
  svg.setAttribute('class', 'brand-mark');
  svg.setAttribute('aria-hidden', 'true');
  const cells: [number, number, number][] = [
    [0, 0, 1],
    [0, 1, 0.35],
    [1, 1, 1],
    [0, 2, 0.5],
    [1, 2, 0.2],
    [2, 2, 1],
    [0, 3, 0.15],
    [1, 3, 0.85],
    [2, 3, 0.3],
    [3, 3, 0.6],
  ];
  for (const [x, y, o] of cells) {
    const rect = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
    for (const [name, value] of Object.entries({ x: x * 5, y: y * 5, width: 4.2, height: 4.2, rx: 1, opacity: o }))
      rect.setAttribute(name, String(value));
    svg.append(rect);
  }
  return svg;
}
