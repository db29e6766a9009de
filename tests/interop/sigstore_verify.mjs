// SPDX-License-Identifier: Apache-2.0
// Verifies Sigstore bundles with the Sigstore project's own JavaScript verifier: with a public key, or a trusted root.
// Usage: node sigstore_verify.mjs KEY.pem HINT BUNDLE.json...
//        node sigstore_verify.mjs --root TRUSTED_ROOT.json IDENTITY BUNDLE.json...
// One line for each bundle; exit status 1 if one fails.
import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

// Packages are looked for where the caller installed them (NODE_MODULES_PARENT), else beside this file.
const require = createRequire(`${process.env.NODE_MODULES_PARENT ?? import.meta.dirname}/x.js`);
const { bundleFromJSON } = require('@sigstore/bundle');
const { Verifier, toSignedEntity, toTrustMaterial } = require('@sigstore/verify');

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
  const { TrustedRoot } = require('@sigstore/protobuf-specs');
  const trust = toTrustMaterial(TrustedRoot.fromJSON(JSON.parse(readFileSync(path, 'utf8'))));
  const thresholds = { ctlogThreshold: 1, tlogThreshold: 1, timestampThreshold: 1 };
  return [new Verifier(trust, thresholds), { subjectAlternativeName: identity }];
}

const words = process.argv.slice(2);
const rooted = words[0] === '--root';
const [verifier, policy] = rooted ? withRoot(words[1], words[2]) : withKey(words[0], words[1]);
for (const path of words.slice(rooted ? 3 : 2)) {
  try {
    verifier.verify(toSignedEntity(bundleFromJSON(JSON.parse(readFileSync(path, 'utf8')))), policy);
    console.log(`good ${path}`);
  } catch (error) {
    console.log(`bad ${path}: ${error.message}`);
    process.exitCode = 1;
  }
}
