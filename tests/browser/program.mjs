// The real program: starts `clearhead view` as a server, and finds the binaries.

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const build = process.env.CLEARHEAD_BUILD ?? fileURLToPath(new URL('../../build/release/', import.meta.url));
export const binary = join(build, 'clearhead');
const running = [];

/** Stops every server that was started here. */
export function endAll() {
  for (const child of running) child.kill('SIGINT');
}

/** Starts the viewer and returns the address that it prints. */
export const view = (...args) => viewWith({}, ...args);

/** The same, with more environment variables. */
export function viewWith(environment, ...args) {
  const child = spawn(binary, ['view', ...args, '--no-browser'], { env: { ...process.env, ...environment } });
  running.push(child);
  return new Promise((resolve, reject) => {
    let out = '';
    let error = '';
    child.stderr.on('data', (d) => (error += d));
    child.stdout.on('data', (d) => {
      out += d;
      const url = /http:\/\/127\.0\.0\.1:\d+\/\?token=\w+/.exec(out)?.[0];
      if (url) resolve({ url, base: url.split('?')[0], token: url.split('=')[1] });
    });
    child.on('exit', (code) => reject(new Error(`clearhead view ended with ${code}: ${error}`)));
  });
}

export const get = (server, path) =>
  fetch(`${server.base}api/${path}`, {
    headers: { Authorization: `Bearer ${server.token}` },
  });
export const json = async (server, path) => (await get(server, path)).json();
