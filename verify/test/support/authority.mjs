// A time-stamp authority of openssl's, in a directory of its own.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const needsOpenssl = { skip: spawnSync('openssl', ['version']).status === 0 ? false : 'needs openssl' };

const CONFIG = `
[req]
distinguished_name = name
prompt = no
[name]
CN = Test authority
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[plain]
basicConstraints = critical, CA:FALSE
[stamp]
basicConstraints = CA:FALSE
extendedKeyUsage = critical, timeStamping
[loose]
extendedKeyUsage = timeStamping
[more]
extendedKeyUsage = critical, timeStamping, codeSigning
[tsa]
default_tsa = own
[own]
serial = SERIAL
crypto_device = builtin
signer_digest = DIGEST
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1, millisecs:500, microsecs:100
ess_cert_id_alg = ESS
ess_cert_id_chain = no
`;

export class Authority {
  constructor({ ec = false, digest = 'sha256', ess = 'sha256', usage = 'stamp', ca = 'ca' } = {}) {
    this.home = mkdtempSync(join(tmpdir(), 'verify-tsa-'));
    const config = CONFIG.replace('SERIAL', this.path('serial')).replace('DIGEST', digest).replace('ESS', ess);
    writeFileSync(this.path('config'), config);
    writeFileSync(this.path('serial'), '01\n');
    const key = ec ? ['ec', '-pkeyopt', 'ec_paramgen_curve:P-384'] : ['rsa:2048'];
    this.run('req', '-x509', '-newkey', ...key, '-nodes', '-keyout', this.path('ca.key'), '-out', this.path('ca.pem'), '-days', '9', '-config', this.path('config'), '-extensions', ca, `-${digest}`, '-subj', '/CN=CA');
    this.run('req', '-new', '-newkey', ...key, '-nodes', '-keyout', this.path('tsa.key'), '-out', this.path('tsa.csr'), '-config', this.path('config'), '-subj', '/CN=TSA');
    this.run('x509', '-req', '-in', this.path('tsa.csr'), '-CA', this.path('ca.pem'), '-CAkey', this.path('ca.key'), '-set_serial', '7', '-out', this.path('tsa.pem'), '-days', '8', `-${digest}`, '-extfile', this.path('config'), '-extensions', usage);
  }

  path(name) {
    return join(this.home, name);
  }

  run(...words) {
    const { status, stderr } = spawnSync('openssl', words, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`openssl ${words[0]}: ${stderr}`);
  }

  der(name) {
    this.run('x509', '-in', this.path(`${name}.pem`), '-outform', 'DER', '-out', this.path(`${name}.der`));
    return new Uint8Array(readFileSync(this.path(`${name}.der`)));
  }

  /** `{ query, response }` over a hash. */
  stamp(hash, { certificates = true } = {}) {
    this.run('ts', '-query', '-digest', Buffer.from(hash).toString('hex'), '-sha256', ...(certificates ? ['-cert'] : []), '-out', this.path('q'));
    this.run('ts', '-reply', '-queryfile', this.path('q'), '-config', this.path('config'), '-section', 'own', '-inkey', this.path('tsa.key'), '-signer', this.path('tsa.pem'), '-out', this.path('r'));
    return { query: new Uint8Array(readFileSync(this.path('q'))), response: new Uint8Array(readFileSync(this.path('r'))) };
  }

  close() {
    rmSync(this.home, { recursive: true });
  }
}
