// SPDX-License-Identifier: Apache-2.0
// Fetches targets of a TUF repository with the Sigstore project's own client, tuf-js.
// Usage: node tuf_fetch.mjs FOLDER URL NAME...
// FOLDER/root.json is the trusted root; metadata is kept in FOLDER, targets come into FOLDER/got. One line of JSON for
// each: its path and what the metadata says of it; exit status 1, and the error, where one is refused.
import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';

// Packages are looked for where the caller installed them (NODE_MODULES_PARENT), else beside this file.
const require = createRequire(`${process.env.NODE_MODULES_PARENT ?? import.meta.dirname}/x.js`);
const { Updater } = require('tuf-js');

const [folder, url, ...names] = process.argv.slice(2);
const updater = new Updater({
  metadataDir: folder,
  metadataBaseUrl: `${url}/metadata`,
  targetDir: `${folder}/got`,
  targetBaseUrl: `${url}/targets`,
});
mkdirSync(`${folder}/got`, { recursive: true });
try {
  await updater.refresh();
  for (const name of names) {
    const target = await updater.getTargetInfo(name);
    if (target === undefined) throw new Error(`no target ${name}`);
    const path = await updater.downloadTarget(target);
    console.log(JSON.stringify({ path, length: target.length, hashes: target.hashes, custom: target.custom }));
  }
} catch (error) {
  console.log(`${error.name}: ${error.message}`);
  process.exitCode = 1;
}
