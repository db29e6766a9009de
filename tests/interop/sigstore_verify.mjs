// SPDX-License-Identifier: Apache-2.0
// Verifies Sigstore bundles with the Sigstore project's own JavaScript verifier: with a public key, or a trusted root.
// Usage: node sigstore_verify.mjs KEY.pem HINT BUNDLE.json...
//        node sigstore_verify.mjs --root TRUSTED_ROOT.json IDENTITY BUNDLE.json...
//        node sigstore_verify.mjs --logged TRUSTED_ROOT.json KEY.pem BUNDLE.json...
// One line for each bundle; exit status 1 if one fails.
import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

// Packages are looked for where the caller installed them (NODE_MODULES_PARENT), else beside this file.
const require = createRequire(`${process.env.NODE_MODULES_PARENT ?? import.meta.dirname}/x.js`);
const { bundleFromJSON } = require('@sigstore/bundle');
const { Verifier, toSignedEntity, toTrustMaterial } = require('@sigstore/verify');

function rootOf(path, keys) {
  const { TrustedRoot } = require('@sigstore/protobuf-specs');
  return toTrustMaterial(TrustedRoot.fromJSON(JSON.parse(readFileSync(path, 'utf8'))), keys);
}

function logged(path, keyPath) {
  const keys = () => ({ publicKey: createPublicKey(readFileSync(keyPath)), validFor: () => true });
  const thresholds = { ctlogThreshold: 0, tlogThreshold: 1, timestampThreshold: 1 };
  return [new Verifier(rootOf(path, keys), thresholds), undefined];
}

function withKey(keyPath, hint) {
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
  return [new Verifier(trust, { ctlogThreshold: 0, tlogThreshold: 0, timestampThreshold: 0 }), undefined];
}

function withRoot(path, identity) {
  const thresholds = { ctlogThreshold: 1, tlogThreshold: 1, timestampThreshold: 1 };
  return [new Verifier(rootOf(path), thresholds), { subjectAlternativeName: identity }];
}

const words = process.argv.slice(2);
const modes = { '--root': withRoot, '--logged': logged };
const mode = modes[words[0]] ?? withKey;
const rest = words[0] in modes ? words.slice(1) : words;
const [verifier, policy] = mode(rest[0], rest[1]);
for (const path of rest.slice(2)) {
  try {
    verifier.verify(toSignedEntity(bundleFromJSON(JSON.parse(readFileSync(path, 'utf8')))), policy);
    console.log(`good ${path}`);
  } catch (error) {
    console.log(`bad ${path}: ${error.message}`);
    process.exitCode = 1;
  }
}
