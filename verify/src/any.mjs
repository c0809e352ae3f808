// Any evidence: a file, a zip or a folder, to the judge that knows it.
// Never guesses: docs/format.md section 12 says what each looks like.

import { judge, judgeFile, judgeReport } from './evidence.mjs';
import { MANIFEST } from './manifest.mjs';
import { malformed, Refusal } from './verdict.mjs';
import { VAULT_FILE } from './home.mjs';
import { judgeVault } from './vault.mjs';
import { isZip, openZip } from './zip.mjs';

/**
 * `evidence` is `{ name, file }` or `{ name, folder }`; options as evidence.mjs has them. With a
 * file may come `beside(name)`, which gives another file of its directory, or nothing.
 */
export async function judgeAny({ file, folder, beside }, options) {
  if (folder) return judgeFolder(folder, options);
  if (!isZip(await file.read(0, Math.min(4, file.size)))) return judgeFile(file, options, beside);
  let members;
  try {
    members = await openZip(file);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return judge(options, () => {
      throw error;
    });
  }
  return judgeFolder(members, options);
}

async function judgeFolder(folder, options) {
  if (folder.get(VAULT_FILE)) return judgeVault(folder, options);
  if (folder.get(MANIFEST)) return judgeReport(folder, options);
  return judge(options, () => {
    malformed('the folder holds neither vault.toml nor manifest.note: no vault and no report');
  });
}
