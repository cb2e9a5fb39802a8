// Starts Debian's Chromium. If there is none, tests are skipped with a message, or fail if CLEARHEAD_REQUIRE_BROWSER=1.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(new URL('../../web/package.json', import.meta.url));
const path = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((p) => existsSync(p));

function core() {
  try {
    return require('playwright-core');
  } catch {
    return null;
  }
}

/** The reason why no browser is available; null if one is. */
export function noBrowser() {
  const reason = !path ? 'no Chromium (apt-get install chromium)' : !core() ? 'no playwright-core (npm ci in web/)' : null;
  if (reason && process.env.CLEARHEAD_REQUIRE_BROWSER === '1') throw new Error(`CLEARHEAD_REQUIRE_BROWSER=1, but ${reason}`);
  return reason;
}

export async function launch(extra = []) {
  return core().chromium.launch({
    executablePath: path,
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      ...extra,
    ],
  });
}

export const axeSource = () => require('axe-core').source;
