// Any evidence: a file, a zip or a folder, to the judge that knows it.
// Never guesses: docs/format.md section 12 says what each looks like.

import { judge, judgeFile, judgeReport } from './evidence.mjs';
import { MANIFEST } from './manifest.mjs';
import { malformed } from './verdict.mjs';

export const VAULT_FILE = 'vault.toml';

/** `evidence` is `{ name, file }` or `{ name, folder }`. */
export async function judgeAny({ file, folder }, options) {
  if (folder) return judgeFolder(folder, options);
  return judgeFile(await file.read(), options);
}

async function judgeFolder(folder, options) {
  if (folder.get(MANIFEST)) return judgeReport(folder, options);
  return judge(options, () => {
    malformed('the folder holds neither vault.toml nor manifest.note: no vault and no report');
  });
}
