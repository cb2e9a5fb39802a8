// Takes a screenshot of the page: node tests/browser/shot.mjs OUT URL#state [width height] [dark|light] [forced]
import { launch } from './browser.mjs';

const [out, url, width = '1440', height = '900', scheme = 'light', forced] = process.argv.slice(2);
const browser = await launch();
const page = await browser.newPage({
  viewport: { width: Number(width), height: Number(height) },
  colorScheme: scheme,
  forcedColors: forced ? 'active' : 'none',
  locale: 'en-US',
});
page.on('console', (m) => m.type() === 'error' && process.stderr.write(`console: ${m.text()}\n`));
page.on('pageerror', (e) => process.stderr.write(`page: ${e.stack}\n`));
await page.goto(url);
await page.waitForTimeout(Number(process.env.WAIT ?? 1500));
await page.screenshot({ path: out });
await browser.close();
