// Puts LICENSE and THIRD_PARTY_NOTICES into each platform's package under platforms/, after
// `napi create-npm-dirs` has made them: `npm run platforms`. npm packs only what `files` names.
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const here = import.meta.dirname
const legal = { LICENSE: join(here, '../../../LICENSE'), THIRD_PARTY_NOTICES: join(here, 'THIRD_PARTY_NOTICES') }

for (const platform of readdirSync(join(here, 'platforms'))) {
  const folder = join(here, 'platforms', platform)
  for (const [name, source] of Object.entries(legal)) copyFileSync(source, join(folder, name))
  const path = join(folder, 'package.json')
  const manifest = JSON.parse(readFileSync(path, 'utf8'))
  manifest.files = [...new Set([...manifest.files, ...Object.keys(legal)])]
  writeFileSync(path, JSON.stringify(manifest, null, 2) + '\n')
}
