// A headless Chromium driven through chromedriver's own HTTP protocol. Debian: chromium,
// chromium-driver. Never reaches a network: names do not resolve, and the page is a file.

import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const DRIVER = ['/usr/bin/chromedriver', '/usr/lib/chromium/chromedriver'].find(existsSync);
const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser'].find(existsSync);
export const needsBrowser = { skip: DRIVER && CHROMIUM ? false : 'needs chromium and chromium-driver', timeout: 300_000 };

const ELEMENT = 'element-6066-11e4-a52e-4f735466cecf';

function freePort() {
  return new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}

export class Browser {
  static async open() {
    const browser = new Browser();
    browser.profile = mkdtempSync(join(tmpdir(), 'verify-chromium-'));
    const port = await freePort();
    browser.base = `http://127.0.0.1:${port}`;
    browser.driver = spawn(DRIVER, [`--port=${port}`, '--allowed-ips=127.0.0.1'], { stdio: 'ignore' });
    await browser.#ready();
    const { sessionId } = await browser.#send('POST', '/session', {
      capabilities: {
        alwaysMatch: {
          browserName: 'chrome',
          'goog:chromeOptions': {
            binary: CHROMIUM,
            args: [
              '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
              '--disable-component-update', '--disable-sync', '--host-resolver-rules=MAP * ~NOTFOUND', '--window-size=900,1400',
              `--user-data-dir=${browser.profile}`,
            ],
          },
        },
      },
    });
    browser.session = `/session/${sessionId}`;
    return browser;
  }

  // Until the driver answers; it says so itself.
  async #ready() {
    for (let left = 200; left > 0; left--) {
      try {
        const { ready } = await this.#send('GET', '/status');
        if (ready) return;
      } catch {
        await new Promise((done) => setTimeout(done, 50));
      }
    }
    throw new Error('chromedriver does not answer');
  }

  async #send(method, path, body) {
    const response = await fetch(this.base + path, {
      method,
      headers: { 'content-type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const { value } = await response.json();
    if (!response.ok) throw new Error(`${method} ${path}: ${value?.error}: ${value?.message}`);
    return value;
  }

  goto(url) {
    return this.#send('POST', `${this.session}/url`, { url });
  }

  /** Runs `script` in the page; it may return a promise. */
  run(script, ...args) {
    return this.#send('POST', `${this.session}/execute/sync`, { script, args });
  }

  async #element(css) {
    const found = await this.#send('POST', `${this.session}/element`, { using: 'css selector', value: css });
    return `${this.session}/element/${found[ELEMENT]}`;
  }

  async choose(css, ...paths) {
    await this.#send('POST', `${await this.#element(css)}/value`, { text: paths.join('\n') });
  }

  async click(css) {
    await this.#send('POST', `${await this.#element(css)}/click`, {});
  }

  async screenshot(path) {
    const image = await this.#send('GET', `${this.session}/screenshot`);
    writeFileSync(path, Buffer.from(image, 'base64'));
  }

  async size(width, height) {
    await this.#send('POST', `${this.session}/window/rect`, { width, height });
  }

  /** Waits for a state of the page: `script` returns something true. */
  async until(script, ...args) {
    for (let left = 600; left > 0; left--) {
      const value = await this.run(script, ...args);
      if (value) return value;
      await new Promise((done) => setTimeout(done, 50));
    }
    throw new Error(`the page never came to: ${script}`);
  }

  async close() {
    if (this.session) await this.#send('DELETE', this.session).catch(() => {});
    this.driver.kill();
    await new Promise((done) => this.driver.once('exit', done));
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}
