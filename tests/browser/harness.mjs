// Helpers of the browser tests: one Chromium per file, pages that fail on any script error, and functions that read what the page
// shows.

import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { launch, noBrowser } from './browser.mjs';

export const skip = noBrowser() ?? false;

/** A browser for the tests of one file; `open` returns a page that records its requests and errors. */
export function useBrowser() {
  const state = { browser: null, pages: [] };
  before(async () => {
    if (!skip) state.browser = await launch(['--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1']);
  });
  after(async () => {
    await state.browser?.close(); // also if a page threw: an open browser would keep the process alive
    for (const page of state.pages) assert.deepEqual(page.errors, [], 'the page threw');
  });
  return {
    async open(url, options = {}) {
      const context = await state.browser.newContext({
        viewport: { width: 1280, height: 860 },
        locale: 'en-US',
        ...options,
      });
      const page = await context.newPage();
      page.errors = [];
      page.requests = [];
      page.on('pageerror', (error) => page.errors.push(String(error.stack)));
      page.on('console', (message) => {
        if (message.type() === 'error' && !/403|404|409/.test(message.text())) page.errors.push(message.text());
      });
      page.on('request', (request) => page.requests.push(request.url()));
      page.waitForFunction = (test, argument) => until(page, test, argument); // the library's version evaluates strings, which the page's content security policy forbids
      state.pages.push(page);
      await page.goto(url);
      return page;
    },
  };
}

async function until(page, test, argument) {
  for (const end = Date.now() + 60_000; ; await new Promise((done) => setTimeout(done, 40))) {
    if (await page.evaluate(test, argument)) return;
    if (Date.now() > end) throw new Error(`not within 60 s: ${test}, ${JSON.stringify(argument)}`);
  }
}

/**
 * Waits for a part of an explanation. If the page expects it to take long, as on a busy machine, it asks first: then this starts the
 * explanation.
 */
export const explained = (page, selector) =>
  page.waitForFunction((found) => {
    const button = document.querySelector('.explain-progress button:not([hidden])');
    if (button && /^(Start|开始)$/.test(button.textContent)) button.click();
    return document.querySelector(found) !== null;
  }, selector);

/** Waits until the list of answers belongs to a token; returns its lines as {token, weight text}. */
export async function answers(page, token) {
  await page.waitForFunction(
    (t) =>
      document.querySelector('.box.query')?.dataset.box === String(t) && document.querySelector('[data-testid=answers] button') !== null,
    token,
  );
  return page.$$eval('[data-testid=answers] button', (list) =>
    list.map((b) => ({
      token: Number(b.dataset.token),
      weight: b.querySelector('.answer-weight').textContent,
    })),
  );
}

/** Asserts that a printed share equals the exact weight to its last printed digit. */
export function assertPrinted(text, weight) {
  const digits = text.replace(/[\s\u202f\u2009≈%]/g, '');
  const power = /^(-?[\d.]+)·10(.+)$/.exec(digits);
  if (power) {
    const exponent = Number([...power[2]].map((c) => (c === '⁻' ? '-' : '⁰¹²³⁴⁵⁶⁷⁸⁹'.indexOf(c))).join(''));
    assert.ok(
      Math.abs(Number(power[1]) - (weight * 100) / 10 ** exponent) <= 0.51 / 10 ** (power[1].split('.')[1]?.length ?? 0),
      `${text} is not ${weight}`,
    );
    return;
  }
  const places = digits.split('.')[1]?.length ?? 0;
  assert.ok(Math.abs(Number(digits) - weight * 100) <= 0.5000001 / 10 ** places, `${text} is not ${weight}`);
}

/** The state in the page's URL. */
export const stateOf = (page) => Object.fromEntries(new URLSearchParams(new URL(page.url()).hash.slice(1)));

/** Waits until `check` holds, for at most a minute. Its error is the message of a failure. */
export async function eventually(check, says) {
  for (const end = Date.now() + 60_000; Date.now() < end; await new Promise((go) => setTimeout(go, 50))) if (await check()) return;
  throw new Error(`after a minute still not: ${says}`);
}

export async function settled(page) {
  await page.waitForTimeout(250); // the URL is updated 150 ms after a move
}
