// The controls in the head of the map: how a cell pools its weights, and what the columns are.

import type { Context } from '../../context';
import type { Pool } from '../../paint/picture';
import type { MapAxes } from '../../state';
import { segmented } from '../../ui/dom';

export const poolControl = ({ t }: Context, pool: Pool, choose: (pool: Pool) => void): HTMLFieldSetElement =>
  segmented(
    t('map.pool'),
    (['max', 'mean'] as const).map((value) => ({ value, label: t(`map.${value}`), title: t(`map.${value}.title`) })),
    pool,
    choose,
  );

export function axesControl({ t, store }: Context, axes: MapAxes): HTMLFieldSetElement {
  const control = segmented(
    t('map.axes'),
    (['key', 'offset'] as const).map((value) => ({ value, label: t(`map.axes.${value}`), title: t(`map.axes.${value}.title`) })),
    axes,
    (chosen) => store.set({ axes: chosen, rect: null }, 'push'),
  );
  control.dataset['control'] = 'axes';
  return control;
}
