// Entry point of the page. The same script is the page and, inside an offline page, the worker that recomputes rows.

import './timeline.css'; // must come before the rules for narrow windows
import './style.css';
import './itemPanels.css';
import './gallery.css';
import './tour.css';
import './explain.css';
import { open } from './app';
import { LiveSource } from './source/live';
import { OfflineSource } from './source/offline';
import { serveRows } from './source/worker';
import { Store, parseState } from './state';

if (typeof document === 'undefined') {
  serveRows();
} else {
  const root = document.getElementById('app');
  if (root) {
    const offline = OfflineSource.find(document);
    const browserHistory = location.protocol === 'about:' ? null : history; // a frame in a notebook cell has no address to write to
    const opening = location.hash || `#${offline?.state ?? ''}`;
    if (!location.hash && offline?.state) browserHistory?.replaceState(null, '', opening); // an entry in the history to come back to
    void open(root, offline ?? new LiveSource('./'), new Store(parseState(opening), browserHistory));
  }
}
