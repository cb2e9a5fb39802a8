// The editing tools: cut, keep only, replace, edit the text, knock out a head; and the list of edits, each of which can be removed.

import { isMean } from '../../heads';
import { type Context, unavailableReason } from '../../context';
import { head as headName } from '../../format';
import type { HeadId, Span } from '../../source/source';
import { sameHead } from '../../state';
import type { TextModel } from '../../text/model';
import { dialog, h, icon, replace } from '../../ui/dom';
import { type Edit, formatEdits, parseEdits, withEdit } from './edits';

/** The input of the tools. */
interface ToolbarInput {
  text: TextModel;
  selection: Span | null;
  front: HeadId;
  words(span: Span): string;
}

export class Toolbar {
  readonly element = h('div', { class: 'explain-controls', role: 'group' });
  readonly list = h('div', { class: 'edit-list', 'data-testid': 'if-edits' });
  private readonly swap = h('input', { type: 'text', 'data-testid': 'if-swap' });
  private input: ToolbarInput | null = null;

  constructor(private readonly ctx: Context) {
    const { t } = ctx;
    this.element.setAttribute('aria-label', t('if.edits'));
    this.swap.setAttribute('aria-label', t('if.swap'));
    this.swap.addEventListener('keydown', (event) => {
      if (event.key === 'Enter') this.swapWord();
    });
  }

  get edits(): Edit[] {
    return parseEdits(this.ctx.store.now.edit);
  }

  update(input: ToolbarInput): void {
    this.input = input;
    const { ctx, edits } = this;
    const { t } = ctx;
    const { selection: span, front } = input;
    const noText = unavailableReason(ctx, 'run');
    const out = edits.findIndex((e) => e.kind === 'knock-out' && sameHead(e, front) && e.family === ctx.family.id);
    const needs = span ? null : t('if.selection.none');
    const none = edits.length ? null : t('if.edits.none');
    const knockOut = (): void =>
      out < 0 ? this.add({ kind: 'knock-out', family: ctx.family.id, layer: front.layer, head: front.head }) : this.remove(out);
    const focused = this.element.contains(document.activeElement) ? (document.activeElement as HTMLElement).dataset['edit'] : undefined;
    replace(
      this.element,
      h('span', { class: 'explain-field' }, span ? t('if.selection', { what: input.words(span) }) : t('if.selection.none')),
      this.button('cut', t('if.cut'), t('if.cut.title'), () => span && this.add({ kind: 'cut', ids: span }), needs),
      this.button('keep', t('if.keep'), t('if.keep.title'), () => span && this.add({ kind: 'keep', ids: span }), needs),
      h('label', { class: 'explain-field' }, h('span', {}, t('if.swap')), this.swap),
      this.button('swap', t('if.swap.go'), t('if.swap'), () => this.swapWord(), needs ?? noText),
      this.button('text', t('if.text'), t('if.text.title'), () => this.editText(), noText),
      this.button(
        'head',
        t(out < 0 ? 'if.head' : 'if.head.back', { head: headName(front) }),
        t(out < 0 ? 'if.head.title' : 'if.head.back.title'),
        knockOut,
        isMean(front) ? t('one-head') : null,
      ),
      this.button('undo', t('if.undo'), t('if.undo'), () => this.remove(edits.length - 1), none),
      this.button('reset', t('if.reset'), t('if.reset'), () => ctx.store.set({ edit: '' }, 'push'), none),
    );
    this.swap.disabled = Boolean(needs ?? noText);
    if (focused) this.element.querySelector<HTMLElement>(`[data-edit="${focused}"]`)?.focus(); // restore the keyboard focus after rebuilding
    this.showList();
  }

  private button(key: string, label: string, title: string, run: () => void, reason: string | null = null): HTMLButtonElement {
    const disabled = reason !== null;
    return h('button', { type: 'button', class: 'quiet', 'data-edit': key, title: reason ?? title, disabled, onclick: run }, label);
  }

  /** The edits in words, for a caption. */
  get description(): string {
    const { t } = this.ctx;
    const list = this.edits.map((edit) => this.nameOf(edit)).join(t('list.comma'));
    return list ? t('if.edits.said', { list }) : '';
  }

  private showList(): void {
    const { t } = this.ctx;
    const chip = (edit: Edit, i: number): HTMLElement => {
      const attributes = { type: 'button', class: 'quiet', 'aria-label': t('if.edit.remove', { edit: this.nameOf(edit) }) };
      return h('button', { ...attributes, onclick: () => this.remove(i) }, h('span', {}, this.nameOf(edit)), icon('close'));
    };
    const { edits } = this;
    replace(this.list, ...(edits.length ? edits.map(chip) : [h('span', { class: 'explain-field' }, t('if.edits.none'))]));
  }

  private add(edit: Edit): void {
    this.ctx.store.set({ edit: formatEdits(withEdit(this.edits, edit)) }, 'push');
  }

  private remove(index: number): void {
    this.ctx.store.set({ edit: formatEdits(this.edits.filter((_, i) => i !== index)) }, 'push');
  }

  private nameOf(edit: Edit): string {
    const { t } = this.ctx;
    if (edit.kind === 'knock-out') return t('if.edit.knock-out', { head: headName(edit) });
    if (edit.kind === 'text') return t('if.edit.text');
    return t(`if.edit.${edit.kind}`, { what: this.input?.words(edit.ids) ?? '' });
  }

  /** The text that can be edited: of two texts the first, which is the model's input. */
  private editable(): string {
    const text = this.input?.text ?? this.ctx.text;
    const second = text.segments.find((s) => s.begin > 0 && ['target', 'second'].includes(s.name));
    if (!second) return text.text;
    let at = text.text.length; // start of the first token with text
    for (let id = second.end - 1; id >= second.begin; id--) if (text.end[id] > text.begin[id]) at = text.begin[id];
    const line = text.text.lastIndexOf('\n', at);
    return line >= 0 ? text.text.slice(0, line) : text.text;
  }

  private swapWord(): void {
    const { input } = this;
    const span = input?.selection;
    const old = this.editable();
    if (!input || !span || this.swap.disabled || input.text.end[span.end - 1] > old.length) return;
    const [from, to] = [input.text.begin[span.begin], input.text.end[span.end - 1]];
    const lead = /^\s*/.exec(old.slice(from, to))?.[0] ?? '';
    const { value } = this.swap;
    this.swap.value = '';
    this.add({ kind: 'text', text: old.slice(0, from) + lead + value + old.slice(to) });
  }

  private editText(): void {
    const { t } = this.ctx;
    const before = this.editable();
    const area = h('textarea', { rows: 9, 'aria-label': t('if.text.title'), 'data-testid': 'if-text' });
    area.value = before;
    const run = (): void => {
      box.close();
      if (area.value !== before) this.add({ kind: 'text', text: area.value });
    };
    const go = h('button', { type: 'button', class: 'primary', onclick: run }, t('if.text.go'));
    const label = h('label', {}, h('span', {}, t('run.text')), area);
    const box = dialog(t('if.text.title'), t('close'), label, h('div', { class: 'dialog-actions' }, go));
  }
}
