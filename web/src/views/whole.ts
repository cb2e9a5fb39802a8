// The views that take the whole page, each with its panel. A new one is a file that implements View, an entry here, and its name in state.ts,
// src/viewer/view_state.cc and src/viewer/export.cc. Its panel has the class NAME-panel, and its strings, in a file that strings.ts joins, begin
// with view.NAME and view.NAME.title. Its style sheet, if it needs one, is imported by main.ts.

import { type Context, type View, unavailableReason } from '../context';
import type { ViewName } from '../state';
import { CompareView } from './compare/compare';
import { ModelView, fitsModelView } from './model/model';
import { NeuronView, hasNeurons } from './neuron/neuron';
import { WhatIfView } from './what-if/whatIf';
import { WhyView } from './why/why';

interface WholePage {
  make(ctx: Context): View;
  isAvailable(ctx: Context): boolean;
}

export const kWholePageViews: Partial<Record<ViewName, WholePage>> = {
  model: { make: (ctx) => new ModelView(ctx), isAvailable: fitsModelView },
  neuron: { make: (ctx) => new NeuronView(ctx), isAvailable: hasNeurons },
  why: { make: (ctx) => new WhyView(ctx), isAvailable: (ctx) => !unavailableReason(ctx, 'why') },
  'what-if': { make: (ctx) => new WhatIfView(ctx), isAvailable: (ctx) => !unavailableReason(ctx, 'what-if') },
  compare: { make: (ctx) => new CompareView(ctx), isAvailable: (ctx) => !unavailableReason(ctx, 'compare') },
};
