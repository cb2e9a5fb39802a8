// The page: loads a source, builds the regions and keeps them in sync with the state.

import { canShow } from './heads';
import { type Context, type View, isInside, quoted, visibleSpace } from './context';
import { shortShare, messageOf } from './format';
import type { Exported } from './figure/figure';
import { Focus } from './focus';
import { themeOf } from './paint/theme';
import { familyOf, firstSelection, firstHead, hasGallery, openingOf } from './opening';
import { selectedPlace } from './rows';
import { type Info, type Source, isAbort, isStale } from './source/source';
import { type State, type Store, type ViewName, forAnotherText, formatState, kInitial, parseState } from './state';
import { strings } from './strings';
import { TextModel } from './text/model';
import { listenToKeys } from './ui/keys';
import { exportDialog, helpDialog, runDialog, verify } from './ui/dialogs';
import { commandText, h, replace } from './ui/dom';
import { regions } from './ui/regions';
import { SearchBox } from './ui/searchBox';
import { type Actions, TopBar } from './ui/topBar';
import { TourView, tourState } from './ui/tour';
import { Answers, announcement } from './views/read/answers';
import { ReadView } from './views/read/read';
import { LinesView } from './views/lines/lines';
import { MapView } from './views/map/map';
import { AtlasView } from './views/atlas/atlas';
import { Gallery } from './views/gallery/gallery';
import { Timeline } from './views/timeline/timeline';
import { kWholePageViews } from './views/whole';

/** Shows what the state selects: one trace, or the gallery of several. `before` is the trace that was shown last. */
export async function open(root: HTMLElement, source: Source, store: Store, before: number | null = null): Promise<void> {
  const t = strings(store.now.lang ?? (navigator.language.startsWith('zh') ? 'zh' : 'en'));
  let info: Info;
  for (const old of root.querySelectorAll<HTMLElement>(':scope > *')) old.inert = true; // ignore clicks on the old page, which would be resolved against the old family's ranges
  try {
    info = await source.info();
    if (info.protocol !== 1) throw new Error(`protocol ${info.protocol}: this page speaks 1`);
    const steps = [...info.checkpoints.map((c) => c.step), ...info.traces.map((trace) => trace.number)];
    const isChoice = hasGallery(info);
    const step = store.now.step ?? (isChoice ? null : (info.traces[0]?.number ?? null));
    if (step !== null && steps.includes(step)) info = await source.switchTo(step);
    else if (step !== null && steps.length > 0) store.set({ step: null });
    if (isChoice && store.now.step === null) {
      source.restore?.();
      new Gallery(root, source, info.traces, store, t, before, () => void open(root, source, store));
      return;
    }
    const { own, described, problem } = await computed(source, info);
    info = described;
    const [text, segments] = await Promise.all([own.text(0), own.segments(0)]);
    const family = familyOf(info, store.now.family);
    const model = new TextModel(text, segments, info.special);
    const isOther = !isOfText(info, model, store.now.id);
    store.set({ ...(isOther ? forAnotherText(store.now) : {}), id: model.digest });
    const heads = store.now.heads.filter((at) => canShow(info, family, at));
    if (heads.length === 0 || heads.length < store.now.heads.length) store.set({ heads: heads.length ? heads : [firstHead(family)] });
    const { q, k } = store.now;
    const isPart = family.query_range[1] - family.query_range[0] < model.count || family.key_range[1] - family.key_range[0] < model.count;
    if (q.length === 0 && k.length === 0) store.set({ q: firstSelection(model, family, store.now.words, info.answered) });
    else if (isPart && !(isInside(family.query_range, q) && isInside(family.key_range, k)))
      store.set({ q: firstSelection(model, family, store.now.words, info.answered), k: [], direction: 'out' });
    const life = new AbortController();
    const focus = new Focus(own, store, model, family, life.signal);
    build(
      root,
      { source: own, info, family, text: model, keyText: model, segments, store, focus, life, t },
      () => void open(root, source, store, info.step),
      isOther,
      problem,
    );
  } catch (error) {
    const message = messageOf(error);
    replace(root, h('main', { class: 'broken' }, h('h1', {}, 'clearhead'), h('p', { class: 'bad', role: 'alert' }, message)));
  }
}

/** The source of one trace: the engine in the page if there is one, and otherwise, or if it does not start, the data of the page. */
async function computed(source: Source, info: Info): Promise<{ own: Source; described: Info; problem: string | null }> {
  try {
    const own = source.computing?.();
    return own ? { own, described: await own.info(), problem: null } : { own: source, described: info, problem: null };
  } catch (error) {
    source.restore?.();
    return { own: source, described: info, problem: messageOf(error) };
  }
}

type PageData = Omit<Context, 'theme' | 'announce' | 'notify' | 'reveal' | 'picking'>;

function build(root: HTMLElement, data: PageData, reload: () => void, isOther: boolean, problem: string | null): void {
  const live = h('div', { class: 'visually-hidden', 'aria-live': 'polite', 'data-testid': 'live' });
  const notices = h('div', { class: 'notices', role: 'status' });
  const ctx: Context = {
    ...data,
    picking: null,
    theme: () => themeOf(root),
    announce: announcer(live),
    notify: notifier(notices),
    reveal: (token, remember) => {
      if (remember) answers.remember(ctx.text.tokenAt(Math.floor(read.pane.visibleRange().from)));
      read.reveal(token);
    },
  };
  document.documentElement.lang = ctx.t.language;
  const read = new ReadView(ctx);
  const map = new MapView(ctx);
  const lines = new LinesView(ctx);
  const atlas = new AtlasView(ctx);
  const whole = Object.entries(kWholePageViews).map(([name, { make }]) => [name, make(ctx)] as const);
  const answers = new Answers(ctx);
  const search = new SearchBox(
    () => ctx,
    (hits, hit) => read.setHits(hits, hit),
    (key) => ctx.t(key),
  );
  const timeline = Timeline.of(ctx);
  const tour = new TourView(ctx);
  const layout = regions(ctx.t, {
    atlas: atlas.element,
    text: read.element,
    lines: lines.element,
    map: map.element,
    answers: answers.element,
    whole: whole.map(([, view]) => view.element),
  });
  const views: Partial<Record<ViewName, View>> = { read, lines, map, atlas, ...Object.fromEntries(whole) };
  const current = (): View => views[ctx.store.now.view] ?? read;
  const exported = async (): Promise<Exported> => {
    const view = current();
    if (!view.figure) throw new Error(ctx.t('export.none'));
    const shown = await view.figure();
    return timeline ? { ...shown, parts: [...shown.parts, ...timeline.figure().parts] } : shown;
  };
  const save = (): void => {
    exportDialog(ctx, root, exported, current());
  };
  const actions = actionsOf(ctx, map, reload, () => layout.toggleAtlas(), save);
  const bar = new TopBar(ctx, search.element, actions);
  replace(
    root,
    bar.element,
    lookForBanner(ctx) ?? answerBanner(ctx),
    banner(ctx, isOther),
    layout.element,
    timeline?.element ?? null,
    tour.element,
    notices,
    live,
  );
  if (problem) ctx.notify(problem, 'bad');
  wire(ctx, root, { bar, read, views: Object.values(views), whole, answers, timeline, tour }, actions);
  listenToKeys(ctx, { read, answers, search: () => search.focus(), play: () => timeline?.toggle(), actions });
}

function actionsOf(ctx: Context, map: MapView, reload: () => void, toggleAtlas: () => void, save: () => void): Actions {
  const again = (patch: Partial<State>, how: 'push' | 'replace'): void => {
    ctx.life.abort(); // ends every listener and stream of the old page
    ctx.store.set(patch, how);
    reload();
  };
  const reset = (): void => again(forAnotherText(ctx.store.now), 'push');
  return {
    copyLink: () => copyLink(ctx),
    exportDialog: save,
    help: () => helpDialog(ctx),
    toggleAtlas,
    runDialog: () =>
      runDialog(ctx, (state) => {
        const { heads, q } = parseState(state);
        again({ ...forAnotherText(ctx.store.now), q, ...(heads.length > 0 ? { heads, family: null, direction: 'out' } : {}) }, 'push');
      }),
    reset,
    reload: () => again({}, 'replace'),
    family: (id) => again({ family: id, heads: [], rect: null }, 'push'),
    trace: (number) => {
      const one = ctx.info.traces.find((trace) => trace.number === number);
      if (one) again(openingOf(one, ctx.store.now.lang), 'push');
    },
    gallery: () => {
      if (hasGallery(ctx.info)) again({ ...kInitial, lang: ctx.store.now.lang, present: ctx.store.now.present }, 'push');
    },
    turn: (by) => {
      const cards = ctx.info.traces.filter((one) => one.card !== null);
      const next = cards[cards.findIndex((one) => one.number === ctx.info.step) + by];
      if (next && hasGallery(ctx.info)) again({ ...openingOf(next, ctx.store.now.lang), present: ctx.store.now.present }, 'push');
      return next !== undefined;
    },
    present: () => {
      const present = !ctx.store.now.present;
      ctx.store.set({ present }, 'push');
      if (present)
        void document.documentElement.requestFullscreen?.().catch(() => undefined); // large type also without full screen
      else if (document.fullscreenElement) void document.exitFullscreen();
    },
    tour: () => ctx.store.set(tourState(ctx, 1), 'push'),
    verify: () => void verify(ctx, visiblePart(ctx, map)),
    language: () => again({ lang: ctx.t.language === 'en' ? 'zh' : 'en' }, 'replace'),
  };
}

interface Views {
  bar: TopBar;
  read: ReadView;
  views: readonly View[]; // all, also read
  whole: readonly (readonly [string, View])[]; // by name
  answers: Answers;
  timeline: Timeline | null;
  tour: TourView;
}

/** Connects state, focus, URL and theme to the views, for the life of this page. */
function wire(ctx: Context, root: HTMLElement, parts: Views, actions: Actions): void {
  const { bar, read, answers, timeline, tour } = parts;
  const { store, focus } = ctx;
  const { signal } = ctx.life;
  const views: View[] = [bar, ...parts.views, tour, ...(timeline ? [timeline] : [])];
  const showAnchor = (): void => {
    const place = selectedPlace(ctx, store.now);
    if (place !== null) read.reveal(place);
  };
  const update = (state: State, before: State): void => {
    root.dataset['view'] = state.view;
    root.dataset['whole'] = String(state.view in kWholePageViews);
    for (const [name, view] of parts.whole) view.element.classList.toggle('shown', name === state.view);
    root.dataset['present'] = String(state.present);
    for (const view of views) view.update(state, before);
    if (state.view !== before.view) requestAnimationFrame(showAnchor);
    if (state.step !== before.step && ctx.info.traces.length > 0) return actions.reload();
    if (state.step !== before.step) void showCheckpoint(ctx, views, state.step);
    if (state.words !== before.words || state.sink !== before.sink || state.direction !== before.direction) answers.show(focus.shown);
  };
  focus.listen({
    front: (shown) => {
      answers.show(shown);
      if (shown && !shown.preview) ctx.announce(announcement(ctx, shown));
    },
    fail: (error) => {
      answers.fail(error);
      if (isStale(error) && !root.querySelector('[data-testid=stale]')) bar.element.after(staleBanner(ctx, actions.reset));
    },
  });
  store.listen(update, signal);
  store.handleExternal((state) => {
    const turns = state.step !== store.now.step && ctx.info.traces.length > 0; // switches to another trace, which has its own text
    const isOwn = turns || isOfText(ctx.info, ctx.text, state.id);
    store.load(isOwn ? state : { ...forAnotherText(state), id: ctx.text.digest });
    if (!isOwn) ctx.notify(ctx.t('banner.other'));
    if (!turns && !isBuiltFor(ctx, store.now)) return actions.reload();
    showAnchor();
  }, signal);
  for (const query of ['(prefers-color-scheme: dark)', '(forced-colors: active)']) {
    matchMedia(query).addEventListener('change', () => parts.views.forEach((view) => view.retheme?.()), {
      signal,
    });
  }
  update(store.now, store.now);
  answers.show(null);
  focus.refresh();
  requestAnimationFrame(showAnchor);
}

/** Shows another checkpoint of a training run; null is the last checkpoint. */
async function showCheckpoint(ctx: Context, views: readonly View[], step: number | null): Promise<void> {
  const { checkpoints } = ctx.info;
  const wanted = step ?? checkpoints[checkpoints.length - 1]?.step;
  if (!checkpoints.some((c) => c.step === wanted)) return;
  try {
    ctx.info = await ctx.source.switchTo(wanted);
    ctx.family = ctx.info.families.find((f) => f.id === ctx.family.id) ?? ctx.family;
    ctx.focus.refresh();
    for (const view of views) view.refetch?.();
  } catch (error) {
    if (!isAbort(error)) ctx.notify(messageOf(error), 'bad');
  }
}

/** The question and the answer of this trace, and what to look for in it, if the trace is one of a gallery. */
function lookForBanner({ info, t }: Context): HTMLElement | null {
  const choice = info.traces.find((one) => one.number === info.step);
  const card = choice?.card;
  if (!card || choice.id !== info.id || !hasGallery(info)) return null; // another id: of a text that was run since
  const element = h(
    'div',
    { class: 'banner look-for', role: 'region', 'aria-label': t('gallery.look'), 'data-testid': 'look-for' },
    h(
      'p',
      {},
      h('strong', {}, card.title[t.language]),
      card.answer && ` → ${card.answer}`,
      h('br'),
      t('gallery.look'),
      ' ',
      card.look_for[t.language],
    ),
    h('button', { type: 'button', class: 'quiet', onclick: () => element.remove() }, t('close')),
  );
  return element;
}

/** The answers of the model on this text. */
function answerBanner(ctx: Context): HTMLElement | null {
  const { t, info } = ctx;
  const said = info.answered.map(({ name, probability, token }) => {
    const of = token === null ? '' : `“${quoted(ctx, { begin: token, end: token + 1 })}” → `;
    return `${of}“${name.trim() || visibleSpace(name)}” ${shortShare(probability)}`;
  });
  if (said.length === 0) return null;
  const text = t('sentence.answer', { answer: said.join(t('list.comma')) });
  return h('div', { class: 'banner', role: 'region', 'aria-label': t('if.answers'), 'data-testid': 'answered' }, h('p', {}, text));
}

/** True if a state was made for this text. A state without an id is assumed to be. Links of earlier versions use the trace's id. */
const isOfText = (info: Info, text: TextModel, id: string | null): boolean =>
  id === null || id === text.digest || id === info.id || info.checkpoints.some((one) => one.id === id);

/** False if a state has another family or language than the page, or a head that the family lacks. */
const isBuiltFor = ({ info, family, t }: Context, { family: id, lang, heads }: State): boolean =>
  familyOf(info, id).id === family.id && (lang ?? t.language) === t.language && heads.every((at) => canShow(info, familyOf(info, id), at));

/** The opening note of an offline page, and the warning for a link that was made for another text. */
function banner(ctx: Context, wrong: boolean): HTMLElement | null {
  const { t, info } = ctx;
  if (!wrong && !ctx.source.offline) return null;
  const list = (keys: string[]): string => keys.map((key) => t(key)).join(t('list.comma'));
  const holds = list(['holds.always', ...ctx.source.contents.map((what) => `holds.${what}`)]);
  const lacks = list(info.missing.map((m) => `feature.${m.feature}`));
  const rest = info.missing.find((m) => m.feature === 'weights')?.command ?? info.missing.find((m) => m.command)?.command;
  const text = wrong ? [t('banner.other')] : [t('banner.offline', { holds }), lacks && t('banner.lacks', { lacks })];
  const element = h(
    'div',
    { class: `banner${wrong ? ' warn' : ''}`, role: 'region', 'aria-label': t('banner.more'), 'data-testid': 'banner' },
    h(
      'p',
      { tabindex: 0 },
      text.filter(Boolean).join(' '),
      !wrong && rest ? ` ${t('banner.rest')} ` : ' ',
      !wrong && rest ? commandText(rest) : null,
    ),
    h('button', { type: 'button', class: 'quiet more', onclick: () => helpDialog(ctx) }, t('banner.more')),
    h('button', { type: 'button', class: 'quiet', onclick: () => element.remove() }, t('close')),
  );
  return element;
}

/** Another tab ran another text: a single warning, with a button that loads the new text. */
function staleBanner(ctx: Context, reload: () => void): HTMLElement {
  const { t } = ctx;
  return h(
    'div',
    { class: 'banner warn', role: 'alert', 'data-testid': 'stale' },
    h('p', {}, t('banner.stale'), ' ', h('button', { type: 'button', class: 'quiet', onclick: reload }, t('banner.reload'))),
  );
}

function copyLink(ctx: Context): void {
  const state = formatState(ctx.store.now);
  const hasLink = location.protocol.startsWith('http'); // of a server or a site; not of a file or a frame
  const text = hasLink ? `${location.origin}${location.pathname}#${state}` : state;
  navigator.clipboard.writeText(text).then(
    () => ctx.notify(ctx.t(hasLink ? 'link.done' : 'link.state')),
    () => ctx.notify(text),
  );
}

/** The rows and keys that the map shows: all of them, unless it is zoomed in. */
function visiblePart(ctx: Context, map: MapView): { rows: { begin: number; end: number }; keys: { begin: number; end: number } } {
  const { q0, q1 } = map.rect;
  const [k0, k1] = [map.keyAt(q0, map.rect.k0), map.keyAt(q1, map.rect.k1)];
  const clip = (from: number, to: number, [begin, end]: [number, number]): { begin: number; end: number } => ({
    begin: Math.max(begin, Math.floor(from)),
    end: Math.min(end, Math.ceil(to)),
  });
  return { rows: clip(q0, q1, ctx.family.query_range), keys: clip(k0, k1, ctx.family.key_range) };
}

function announcer(live: HTMLElement): (sentence: string) => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  return (sentence) => {
    clearTimeout(timer);
    timer = setTimeout(() => (live.textContent = sentence), 180);
  };
}

function notifier(notices: HTMLElement): (message: string, kind?: 'plain' | 'bad') => void {
  return (message, kind = 'plain') => {
    const notice = h('p', { class: `notice ${kind}` }, message);
    notices.replaceChildren(notice);
    setTimeout(() => notice.remove(), kind === 'bad' ? 9000 : 3500);
  };
}
