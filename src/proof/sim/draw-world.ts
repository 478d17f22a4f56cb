/** Draws the part of a schedule that stays as it is: servers, routers, users and what they carry. */
import { PRESETS, type PresetName } from '../../core/presets.js'
import type { Random } from './random.js'
import type { DevicePlan, NodePlan, PolicyPlan, RouterPlan, StorePlan, Topology, World } from './schedule.js'
import { drawLadder } from './strategies.js'

const REGIONS = ['eu', 'us'] as const

export function drawWorld(random: Random): World {
  const topology: Topology = random.chance(0.25) ? 'leaderless' : 'physical'
  const quorums = random.chance(0.2)
  const nodes = Array.from(
    { length: random.int(quorums ? 3 : 2, 4) },
    (_, i): NodePlan => ({
      id: `db-${i + 1}`,
      region: i === 0 ? REGIONS[0] : random.pick(REGIONS),
    }),
  )
  const store: StorePlan | undefined = random.chance(0.4) ? { fails: random.pick(['never', 'gets', 'raises']) } : undefined
  const devices = drawDevices(random, store)
  const routers = Array.from({ length: random.int(1, 3) }, () => drawRouter(random, nodes, topology === 'physical', quorums))
  const asyncCommit = random.chance(0.3)
  const keys = Array.from({ length: random.int(3, 6) }, (_, i) => `k${i + 1}`)
  return {
    summary: [
      `${topology}, ${nodes.length} nodes`,
      `routers ${routers.map(({ strategy }) => (typeof strategy === 'string' ? strategy : strategy.map(({ rung }) => rung).join('>'))).join(' | ')}`,
      `${devices.length} devices`,
      store === undefined ? 'no store' : `store fails: ${store.fails}`,
      asyncCommit ? 'asynchronous commits' : 'synchronous commits',
    ].join('; '),
    topology,
    nodes,
    routers,
    devices,
    keys,
    asyncCommit,
    store,
    positionLagMs: 0.4,
    quorums,
  }
}

function drawDevices(random: Random, store: StorePlan | undefined): DevicePlan[] {
  const devices: DevicePlan[] = []
  const users = random.int(2, 3)
  for (let user = 1; user <= users; user++) {
    const anonymous = random.chance(0.25)
    for (let device = 1; device <= (anonymous ? 1 : random.int(1, 3)); device++) {
      devices.push({
        id: `u${user}-d${device}`,
        user: anonymous ? undefined : `u${user}`,
        carrier: random.pick(['cookie', 'header']),
        // A store keeps what users wrote, not what they read: monotonic reads are a device's own.
        guarantee: random.chance(0.3) && (store === undefined || anonymous) ? 'monotonic-reads' : 'read-your-writes',
      })
    }
  }
  return devices
}

function drawRouter(random: Random, nodes: readonly NodePlan[], physical: boolean, quorums: boolean): RouterPlan {
  const preset = random.chance(0.6)
  const strategy = quorums && random.chance(0.7) ? 'quorum' : preset ? drawPreset(random, quorums) : drawLadder(random, quorums)
  const writePolicy: PolicyPlan | undefined = quorums
    ? { where: 'quorum', timeoutMs: 400, onTimeout: 'error' }
    : drawPolicy(random, nodes)
  return {
    region: random.chance(0.6) ? random.pick(REGIONS) : undefined,
    strategy,
    writePolicy,
    lostWrites: random.pick(['error', 'reissue']),
    // Together with what clocks jump this stays below a minute: beyond that tokens count as forged.
    wallOffsetMs: random.int(-15_000, 15_000),
    rate: random.pick([0.9, 0.999, 1, 1.001, 1.1]),
    pollIntervalMs: random.pick([100, 500]),
    // Quorums and destinations of writes count servers, which such an address hides; and in a leaderless cluster nothing is
    // settled as long as somebody is not heard of.
    balanced:
      physical &&
      !quorums &&
      typeof strategy === 'string' &&
      strategy !== 'fence-on-write' &&
      writePolicy === undefined &&
      random.chance(0.3),
    readsHistory: random.chance(0.8),
  }
}

function drawPreset(random: Random, quorums: boolean): PresetName {
  const names = Object.keys(PRESETS) as PresetName[]
  return random.pick(quorums ? names : names.filter(name => name !== 'quorum'))
}

/** `undefined`: what the preset says. */
function drawPolicy(random: Random, nodes: readonly NodePlan[]): PolicyPlan | undefined {
  if (random.chance(0.7)) return undefined
  const where = random.pick(['quorum', 'any', 'all', nodes[0]!.region, nodes[nodes.length - 1]!.id])
  return { where, timeoutMs: random.pick([50, 400]), onTimeout: random.pick(['error', 'return']) }
}
