// What every option runs, the same rows and the same answers. `port` tells which server answered.
export const READ_TEXT = 'SELECT version, inet_server_port() AS port FROM photos WHERE id = $1'
export const WRITE_TEXT = 'UPDATE photos SET version = $2 WHERE id = $1'
export const READ = { name: 'compare_read', text: READ_TEXT }
export const WRITE = { name: 'compare_write', text: WRITE_TEXT }

/** Connections to each node, for whatever pools itself. */
export const POOL_SIZE = 10

export function poolConfig(url) {
  return { connectionString: url, max: POOL_SIZE, idleTimeoutMillis: 0 }
}
