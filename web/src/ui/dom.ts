// DOM helpers: one function that creates elements, and the few controls that the page repeats. Text is always inserted as text, never as
// markup.

type Attribute = string | number | boolean | null | undefined | ((event: never) => void);
type Child = Node | string | null | false;

/** h('button', {class: 'x', onclick: f, 'aria-label': '…'}, 'text'). false and null attributes are left out. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, Attribute> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === 'style')
      element.style.cssText = String(value); // through CSSOM: the page's content security policy allows no style attributes
    else if (typeof value === 'function') element.addEventListener(name.slice(2), value as EventListener);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.filter((c): c is Node | string => c !== null && c !== false));
  return element;
}

const kSvg = 'http://www.w3.org/2000/svg';

/** Line icons on a 16 × 16 grid; each is a path drawn in the text's colour. */
const kIcons = {
  link: 'M6.5 9.5l3-3M7 4.5l1.2-1.2a3 3 0 0 1 4.3 4.3L11.3 8.8M9 11.5l-1.2 1.2a3 3 0 0 1-4.3-4.3L4.7 7.2',
  export: 'M8 2v8M5 7l3 3 3-3M3 13h10',
  verify: 'M2.5 8.5l3.5 3.5 7.5-8',
  run: 'M4.5 3l8 5-8 5z',
  pause: 'M5.5 3v10M10.5 3v10',
  help: 'M5.5 6a2.5 2.5 0 1 1 3.6 2.2c-.8.4-1.1.8-1.1 1.8M8 12.6v.2',
  table: 'M2.5 3.5h11v9h-11zM2.5 6.5h11M6.5 6.5v6',
  plus: 'M8 3v10M3 8h10',
  minus: 'M3 8h10',
  fit: 'M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10',
  close: 'M4 4l8 8M12 4l-8 8',
  back: 'M9.5 3.5L5 8l4.5 4.5',
  panel: 'M2.5 3h11v10h-11zM6 3v10',
  search: 'M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.3 10.3l3.2 3.2',
  up: 'M4 10l4-4 4 4',
  grid: 'M2.5 2.5h4.5v4.5h-4.5zM9 2.5h4.5v4.5h-4.5zM2.5 9h4.5v4.5h-4.5zM9 9h4.5v4.5h-4.5z',
  down: 'M4 6l4 4 4-4',
} as const;
export type Icon = keyof typeof kIcons;

/** An element of SVG. */
export function svgElement<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Record<string, string | number>,
  ...children: (Node | string)[]
): SVGElementTagNameMap[K] {
  const element = document.createElementNS(kSvg, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

export function icon(name: Icon): SVGSVGElement {
  return svgElement('svg', { viewBox: '0 0 16 16', class: 'icon', 'aria-hidden': 'true' }, svgElement('path', { d: kIcons[name] }));
}

export function iconButton(name: Icon, label: string, onclick: () => void): HTMLButtonElement {
  return h('button', { class: 'icon-button', type: 'button', title: label, 'aria-label': label, onclick }, icon(name));
}

export interface SegmentOption<T extends string> {
  value: T;
  label: string;
  title: string;
}

let nextGroup = 0;

/** A row of radio buttons that looks like one control. */
export function segmented<T extends string>(
  label: string,
  choices: SegmentOption<T>[],
  chosen: T,
  onChange: (value: T) => void,
): HTMLFieldSetElement {
  const name = `group-${nextGroup++}`;
  return h(
    'fieldset',
    { class: 'segmented' },
    h('legend', {}, label),
    h(
      'div',
      { class: 'choices' },
      ...choices.map((c) =>
        h(
          'label',
          { title: c.title, 'data-value': c.value },
          h('input', {
            type: 'radio',
            name,
            value: c.value,
            checked: c.value === chosen,
            onchange: () => onChange(c.value),
          }),
          h('span', {}, c.label),
        ),
      ),
    ),
  );
}

export function setChosen(group: HTMLFieldSetElement, value: string): void {
  for (const input of group.querySelectorAll('input')) input.checked = input.value === value;
}

/** A command in monospace, breakable between words. */
export function commandText(command: string, attributes: Record<string, Attribute> = {}): HTMLElement {
  const words = command.split(' ').flatMap((word, i) => [i > 0 ? ' ' : '', h('span', { class: 'word' }, word)]);
  return h('span', { class: 'mono', ...attributes }, ...words);
}

/** A dialog that closes on Esc, with its button, or on a click outside it. */
export function dialog(title: string, closeLabel: string, ...content: Child[]): HTMLDialogElement {
  const box = h(
    'dialog',
    { class: 'dialog', 'aria-label': title },
    h(
      'div',
      { class: 'dialog-body' },
      h(
        'div',
        { class: 'dialog-head' },
        h('h2', {}, title),
        iconButton('close', closeLabel, () => box.close()),
      ),
      ...content,
    ),
  );
  box.addEventListener('close', () => box.remove());
  box.addEventListener('click', (event) => {
    if (event.target === box) box.close();
  });
  document.body.append(box);
  box.showModal();
  return box;
}

export function replace(parent: Element, ...children: Child[]): void {
  parent.replaceChildren(...children.filter((c): c is Node | string => c !== null && c !== false));
}
