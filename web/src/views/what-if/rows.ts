// Names of the rows of an edited run, and the caption of the selected ones.

import { type Context, quoted } from '../../context';
import { head as headName } from '../../format';
import { type RowText, areWritten, rowLabel, rowName } from '../../rows';
import type { Span } from '../../source/source';
import type { PlaceNames, Show } from '../compare/pairMap';
import type { Run } from './run';

/** The names of places: of their ids in the edited text, else in the original. */
export function placeNames(ctx: Context, run: Run | null, numbered = false): PlaceNames {
  const name = (place: number, of: 'row' | 'key'): string => {
    const after = run?.alignment.after[place] ?? -1;
    const [id, { family, text }] = run && after >= 0 ? [after, run] : [run?.alignment.before[place] ?? -1, ctx];
    if (id < 0) return '';
    const [rows, span] = [
      { family, text, t: ctx.t },
      { begin: id, end: id + 1 },
    ];
    if (of === 'row') return numbered ? rowLabel(rows, id) : rowName(rows, span);
    return `${numbered ? `#${id} ` : ''}${quoted({ text }, span)}`;
  };
  return { row: (place) => name(place, 'row'), key: (place) => name(place, 'key') };
}

/** The caption of the selected rows, in the front head. */
export function captionOfRows(ctx: Context, of: RowText, rows: Span, show: Show): string {
  const at = ctx.store.now.heads[0] ?? { layer: 0, head: 0 };
  const key = `if.caption${show === 'difference' ? '' : `.${show}`}${areWritten(of, [rows]) ? '.written' : ''}`;
  return ctx.t(key, { whom: rowName({ ...of, t: ctx.t }, rows), head: headName(at) });
}
