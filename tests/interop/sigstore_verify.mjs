// SPDX-License-Identifier: Apache-2.0
// Verifies Sigstore bundles with the Sigstore project's own JavaScript verifier and a public key.
// Usage: node sigstore_verify.mjs KEY.pem HINT BUNDLE.json...   One line for each bundle; exit status 1 if one fails.
import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

// Packages are looked for where the caller installed them (NODE_MODULES_PARENT), else beside this file.
const require = createRequire(`${process.env.NODE_MODULES_PARENT ?? import.meta.dirname}/x.js`);
const { bundleFromJSON } = require('@sigstore/bundle');
const { Verifier, toSignedEntity } = require('@sigstore/verify');

const [keyPath, hint, ...bundles] = process.argv.slice(2);
const key = { publicKey: createPublicKey(readFileSync(keyPath)), validFor: () => true };
const trust = {
  certificateAuthorities: [],
  timestampAuthorities: [],
  tlogs: [],
  ctlogs: [],
  publicKey: (asked) => {
    if (asked !== hint) throw new Error(`the bundle names the key ${asked}`);
    return key;
  },
};
const verifier = new Verifier(trust, { ctlogThreshold: 0, tlogThreshold: 0, timestampThreshold: 0 });
for (const path of bundles) {
  try {
    verifier.verify(toSignedEntity(bundleFromJSON(JSON.parse(readFileSync(path, 'utf8')))));
    console.log(`good ${path}`);
  } catch (error) {
    console.log(`bad ${path}: ${error.message}`);
    process.exitCode = 1;
  }
}
