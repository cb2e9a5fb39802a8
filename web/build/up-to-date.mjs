// Fails unless dist/ is exactly what the sources build to, and small enough.
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const root = new URL('../', import.meta.url);
const cwd = fileURLToPath(root);
const files = ['app.js', 'app.css', 'index.html', 'offline.html'];
const kMost = 150_000;

execFileSync('npx', ['vite', 'build', '--logLevel', 'error', '--outDir', '.check'], { cwd, stdio: 'inherit' });
execFileSync(process.execPath, ['build/offline.mjs'], { cwd, env: { ...process.env, CLEARHEAD_DIST: '.check' } });
const stale = files.filter((name) => !readFileSync(new URL(`.check/${name}`, root)).equals(readFileSync(new URL(`dist/${name}`, root))));
rmSync(new URL('.check/', root), { recursive: true });
if (stale.length) {
  process.stderr.write(`dist/ is older than the sources (${stale.join(', ')}): run npm run build in web/ and commit dist/\n`);
  process.exit(1);
}
const size = files.slice(0, 2).reduce((sum, name) => sum + gzipSync(readFileSync(new URL(`dist/${name}`, root))).length, 0);
process.stdout.write(`dist/ is up to date; script and style are ${(size / 1000).toFixed(1)} KB gzipped (at most ${kMost / 1000})\n`);
if (size > kMost) process.exit(1);
