// Dialogs: help, export, verify, run.

import { membersOf } from '../heads';
import type { Context, View } from '../context';
import { unavailableReason, commandOf, missingReason, positionLabel, summaryOf } from '../context';
import { head as headName, power, whole, messageOf } from '../format';
import { rowLabel } from '../rows';
import { isAbort, type ExportKind, type Missing, type Span } from '../source/source';
import { formatState } from '../state';
import { type Exported, kWidths } from '../figure/figure';
import { type FigureKind, type SavedFile, figureFile, figurePng, kFigureKinds } from '../figure/files';
import { commandText, dialog, h, segmented } from './dom';
import { glossaryList } from './glossary';
import { picturePng } from './snapshot';
import { csv, exportNumbers, exportOffline } from '../export';

export function helpDialog(ctx: Context): void {
  const { t, info } = ctx;
  const keys = t('help.keys')
    .split('\n')
    .map((line) => {
      const [key, what] = line.split('\t');
      return h('tr', {}, h('th', { scope: 'row' }, ...key.split(' ').map((k) => h('kbd', {}, k))), h('td', {}, what));
    });
  const reasons = new Map<string, { names: string[]; first: Missing }>();
  for (const m of info.missing) {
    const known = reasons.get(missingReason(ctx, m));
    if (known) known.names.push(t(`feature.${m.feature}`));
    else reasons.set(missingReason(ctx, m), { names: [t(`feature.${m.feature}`)], first: m });
  }
  const missing = [...reasons.values()].map(({ names, first }) =>
    h(
      'li',
      {},
      h('strong', {}, names.join(t('list.comma'))),
      h('p', {}, missingReason(ctx, { ...first, command: null })),
      commandLine(ctx, first.command),
    ),
  );
  dialog(
    t('help'),
    t('close'),
    h('p', {}, t('help.intro')),
    h('table', { class: 'keys' }, h('tbody', {}, ...keys)),
    h('h3', {}, t('glossary')),
    glossaryList(t),
    h('h3', {}, t('help.here')),
    h(
      'p',
      {},
      `${info.name} · ${summaryOf(ctx, ctx.store.now.heads[0])} · ${t('help.size', { layers: ctx.family.layers, heads: ctx.family.heads, tokens: whole(ctx.text.count) })}`,
    ),
    ...info.notes.map((n) => h('p', {}, n)),
    missing.length ? h('h3', {}, t('help.missing')) : null,
    missing.length ? h('ul', { class: 'missing' }, ...missing) : null,
    h('p', {}, commandText(info.command)),
    h('p', { class: 'caption' }, `clearhead ${info.clearhead} · ${info.id} · ${Object.values(info.versions).join(' · ')}`),
  );
}

const commandLine = (ctx: Context, command: string | null): HTMLElement | null =>
  command ? h('p', {}, ctx.t('command', { command: '' }), commandText(command)) : null;

const kNames: Record<string, string> = { tikz: 'TikZ', print: 'PNG 300' };

/** The export dialog. `shown` returns the current view as a figure. */
export function exportDialog(ctx: Context, root: HTMLElement, shown: () => Promise<Exported>, view: View): void {
  const { t } = ctx;
  let width = kWidths.page;
  const state = (): string => formatState(ctx.store.now);
  const note = h('p', { class: 'caption', role: 'status' });
  const button = (
    kind: ExportKind | FigureKind | 'png' | 'print' | 'csv',
    make: () => Promise<SavedFile | null>,
    reason: string | null,
  ): HTMLElement =>
    h(
      'button',
      {
        type: 'button',
        class: 'export',
        'data-export': kind,
        disabled: Boolean(reason),
        title: reason ?? '',
        onclick: () => {
          note.textContent = t('loading');
          make().then(
            (file) => {
              if (file) save(file.blob, file.name);
              note.textContent = file ? t('export.done', { name: file.name }) : t('figure.print');
            },
            (error: unknown) => (note.textContent = messageOf(error)),
          );
        },
      },
      h('strong', {}, kNames[kind] ?? kind.toUpperCase()),
      h('span', {}, reason ?? t(`export.${kind}`)),
    );
  const exported = (kind: ExportKind): (() => Promise<SavedFile>) => {
    if (view.numbers && kind !== 'html') return async () => exportNumbers(ctx, kind, await view.numbers!());
    return ctx.source.offline && kind !== 'html' ? () => exportOffline(ctx, kind, view) : () => ctx.source.export(kind, state());
  };
  const csvFile = async (): Promise<SavedFile> => {
    const { blob, name } = await exported('npy')();
    const isOfTokens = !view.numbers && !view.offlineNumbers; // each other view has axes of its own
    const texts = Array.from({ length: isOfTokens ? ctx.text.count : 0 }, (_, id) => ctx.text.label(id));
    return { blob: new Blob([csv(await blob.arrayBuffer(), texts)], { type: 'text/csv' }), name: name.replace(/npy$/, 'csv') };
  };
  dialog(
    t('export'),
    t('close'),
    h('p', {}, t('export.intro')),
    segmented(
      t('figure.width'),
      (['column', 'page'] as const).map((v) => ({ value: v, label: t(`figure.${v}`), title: t(`figure.${v}.title`) })),
      'page',
      (value) => (width = kWidths[value]),
    ),
    h(
      'div',
      { class: 'exports' },
      ...kFigureKinds.map((kind) => button(kind, async () => figureFile(ctx, await shown(), kind, width), null)),
      button('print', async () => figurePng(ctx, await shown(), width), null),
      button('png', () => picturePng(ctx, root), null),
      button('json', exported('json'), null),
      button('npy', exported('npy'), null),
      button('csv', csvFile, null),
      button('html', exported('html'), unavailableReason(ctx, 'export')),
    ),
    note,
    h('p', { class: 'caption' }, t('export.again')),
    h('p', {}, commandText(commandOf(ctx), { 'data-testid': 'export-command' })),
  );
}

function save(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  h('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export async function verify(ctx: Context, rect: { rows: Span; keys: Span }): Promise<void> {
  const { t } = ctx;
  const state = ctx.store.now;
  const all = ([begin, end]: [number, number]): Span[] => [{ begin, end }];
  const map = state.view === 'map';
  const out = state.direction === 'out';
  const rows = map ? [rect.rows] : out && state.q.length ? [...state.q] : out ? [rect.rows] : all(ctx.family.query_range);
  const keys = map ? [rect.keys] : out ? all(ctx.family.key_range) : state.k.length ? [...state.k] : [rect.keys];
  const note = h('p', { 'data-testid': 'verify' }, t('verify.busy'));
  const box = dialog(t('verify'), t('close'), h('p', {}, t('verify.what')), note);
  try {
    const r = await ctx.source.verify({
      family: ctx.family.id,
      heads: state.heads.flatMap((at) => membersOf(ctx.family, at)),
      rows,
      keys,
      weight: state.weight,
    });
    const at = `${headName(r.at)} ${rowLabel(ctx, r.at.query)} → ${positionLabel(ctx, r.at.key)}`;
    note.textContent = t(r.within ? 'verify.good' : 'verify.bad', {
      checked: whole(r.checked),
      of: whole(r.of),
      difference: power(r.largest_difference, 2),
      bound: power(r.bound, 2),
      at,
      seconds: r.seconds < 0.01 ? r.seconds.toPrecision(1) : r.seconds.toFixed(2),
    });
    note.className = r.within ? 'good' : 'bad';
  } catch (error) {
    if (isAbort(error)) box.close();
    note.textContent = messageOf(error);
    note.className = 'bad';
  }
}

export function runDialog(ctx: Context, done: (state: string) => void): void {
  const { t, info } = ctx;
  const text = h('textarea', { rows: 8, name: 'text', 'aria-label': t('run.text'), 'data-testid': 'run-text' });
  text.value = info.given?.[0] ?? (ctx.text.text.length < 20_000 ? ctx.text.text : '');
  const writes = info.families.some((family) => family.kind === 'cross'); // a translation of the text, which is then no pair
  const pair = h('textarea', { rows: 3, name: 'pair', 'aria-label': t('run.pair') });
  pair.value = writes ? '' : (info.given?.[1] ?? '');
  const progress = h('progress', { max: 1, value: 0, hidden: true, 'aria-label': t('run') });
  const note = h('p', { class: 'caption', role: 'status' }, info.max_tokens ? t('run.limit', { n: whole(info.max_tokens) }) : '');
  const abort = new AbortController();
  const go = h('button', { type: 'button', class: 'primary', onclick: () => void run() }, t('run.go'));
  const run = async (): Promise<void> => {
    go.disabled = true;
    progress.hidden = false;
    try {
      const state = await ctx.source.run(
        text.value,
        pair.value || null,
        (value, what) => {
          progress.value = value;
          note.textContent = what;
        },
        abort.signal,
      );
      box.close();
      done(state);
    } catch (error) {
      if (!isAbort(error)) note.textContent = messageOf(error);
      go.disabled = false;
      progress.hidden = true;
    }
  };
  const box = dialog(
    t('run'),
    t('close'),
    h('label', {}, h('span', {}, t('run.text')), text),
    writes ? null : h('label', {}, h('span', {}, t('run.pair')), pair),
    progress,
    note,
    h('div', { class: 'dialog-actions' }, go),
  );
  box.addEventListener('close', () => abort.abort());
}
