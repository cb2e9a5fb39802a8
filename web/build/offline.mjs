// Writes dist/offline.html, the template of the offline page: six markers, and a Content-Security-Policy that names the script and the
// style sheet by their SHA-256, so that nothing else in the page can run. Also rewrites dist/index.html to name the two files.
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';

const dist = new URL(`../${process.env.CLEARHEAD_DIST ?? 'dist'}/`, import.meta.url);
const hash = (name) =>
  `'sha256-${createHash('sha256')
    .update(readFileSync(new URL(name, dist)))
    .digest('base64')}'`;

for (const [name, close] of [
  ['app.js', '</script'],
  ['app.css', '</style'],
]) {
  if (readFileSync(new URL(name, dist), 'utf8').toLowerCase().includes(close))
    throw new Error(`dist/${name} contains "${close}", so it cannot be embedded in a page`);
}

const policy = [
  "default-src 'none'",
  'connect-src clearhead:connect', // a marker: 'none' for a page with its data, 'self' for a site
  `script-src ${hash('app.js')} clearhead:compile`, // a marker: 'wasm-unsafe-eval' for a page that computes, otherwise nothing
  `style-src ${hash('app.css')}`,
  'img-src blob: data:',
  'worker-src blob:',
  "base-uri 'none'",
  "form-action 'none'",
].join('; ');

writeFileSync(
  new URL('index.html', dist),
  `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>clearhead</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="./app.css">
</head>
<body>
<div id="app"></div>
<script src="./app.js"></script>
</body>
</html>
`,
);

writeFileSync(
  new URL('offline.html', dist),
  `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title><!--clearhead:title--></title>
<link rel="icon" href="data:,">
<style>/*clearhead:style*/</style>
</head>
<body>
<div id="app"></div>
<!--clearhead:data-->
<script id="clearhead-app">/*clearhead:script*/</script>
</body>
</html>
`,
);
