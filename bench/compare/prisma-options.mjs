// Prisma with its read-replicas extension, where its packages are installed: they are large, and nothing else here needs them.
import { execFile } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { POOL_SIZE } from './statements.mjs'

const require = createRequire(import.meta.url)
const PACKAGES = ['prisma', '@prisma/client', '@prisma/adapter-pg', '@prisma/extension-read-replicas']
const missing = PACKAGES.filter(name => {
  try {
    require.resolve(`${name}/package.json`)
    return false
  } catch (error) {
    // A package that does not show its manifest is there.
    return error.code === 'MODULE_NOT_FOUND'
  }
})

export const prismaMissing =
  missing.length === 0
    ? undefined
    : `Prisma's read-replicas extension is not installed (npm install --no-save ${PACKAGES.map(name => `${name}@${name.startsWith('@prisma/ext') ? '0.5' : '7'}`).join(' ')})`

const SCHEMA = `generator client {
  provider = "prisma-client-js"
  output   = "./client"
}
datasource db {
  provider = "postgresql"
}
model Photo {
  id      Int @id
  version Int
  @@map("photos")
}
`

// Below the project, so that it finds Prisma's runtime.
const DIRECTORY = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '.tmp', 'compare-prisma')
let generated

/** Prisma's client for the comparison's table; made once in this process. */
function client() {
  generated ??= generate()
  return generated
}

async function generate() {
  mkdirSync(DIRECTORY, { recursive: true })
  const schema = join(DIRECTORY, 'schema.prisma')
  writeFileSync(schema, SCHEMA)
  const command = join(dirname(require.resolve('prisma/package.json')), 'build', 'index.js')
  await promisify(execFile)(process.execPath, [command, 'generate', '--schema', schema], {
    cwd: DIRECTORY,
    timeout: 60_000,
    // The schema engine migrates, which nobody does here; but it is looked for, and would be downloaded.
    env: { ...process.env, PRISMA_SCHEMA_ENGINE_BINARY: process.execPath, CHECKPOINT_DISABLE: '1' },
  })
  return require(join(DIRECTORY, 'client'))
}

const prismaReplicas = {
  name: 'Prisma readReplicas',
  why: "readReplicas({ replicas }) with Prisma 7's driver adapters: a random replica serves every find; which one is told by the client, not asked",
  async open({ primary, replicas }) {
    const [{ PrismaClient }, { PrismaPg }, { readReplicas }] = await Promise.all([
      client(),
      import('@prisma/adapter-pg'),
      import('@prisma/extension-read-replicas'),
    ])
    const connect = connectionString =>
      new PrismaClient({ adapter: new PrismaPg({ connectionString, max: POOL_SIZE, idleTimeoutMillis: 0 }) })
    // Which of them served.
    const named = url => {
      const port = Number(new URL(url).port)
      const findUnique = async ({ args, query }) => ({ ...(await query(args)), port })
      return connect(url).$extends({ query: { photo: { findUnique } } })
    }
    const db = connect(primary).$extends(readReplicas({ replicas: replicas.map(named) }))
    return {
      read: ({ id }) => db.photo.findUnique({ where: { id }, select: { version: true } }),
      write: ({ id, version }) => db.photo.update({ where: { id }, data: { version }, select: { id: true } }),
      close: () => db.$disconnect(),
    }
  },
}

export const prismaOptions = missing.length === 0 ? [prismaReplicas] : []
