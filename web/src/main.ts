// Entry point of the page. The same script is the page and, inside an offline page, the worker that recomputes rows or runs the engine. The
// source is the data of an offline page, the host of a page in a frame, or a server.

import './lines.css';
import './timeline.css'; // must come before the rules for narrow windows
import './style.css';
import './itemPanels.css';
import './gallery.css';
import './tour.css';
import './explain.css';
import './heads.css';
import { open } from './app';
import { isEngine, serveEngine } from './source/computing';
import { Host } from './source/host';
import { LiveSource } from './source/live';
import { OfflineSource } from './source/offline';
import { serveRows } from './source/worker';
import { Store, externalState, formatState, parseState } from './state';

if (typeof document === 'undefined') {
  if (isEngine()) serveEngine();
  else serveRows();
} else {
  const root = document.getElementById('app');
  if (root) {
    const offline = OfflineSource.find(document);
    const browserHistory = location.protocol === 'about:' ? null : history; // a frame in a notebook cell has no address to write to
    const apply = (state: string): void => store.applyExternal(externalState(state, store.now));
    const host = Host.find(document, apply);
    const opening = location.hash || (host ? window.name : offline?.state) || '';
    if (!location.hash && offline?.state) browserHistory?.replaceState(null, '', `#${opening}`); // an entry in the history to come back to
    const store = new Store(parseState(opening), browserHistory);
    addEventListener('popstate', () => apply(location.hash)); // not hashchange, before which a write to the old entry could still happen
    if (host) store.listen((state) => host.tell(formatState(state)));
    void open(root, offline ?? new LiveSource('./', host?.transport), store);
  }
}
