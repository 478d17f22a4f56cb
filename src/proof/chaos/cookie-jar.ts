type Fetch = typeof globalThis.fetch

/** `fetch` as a browser has it: with cookies. The jar is one for all ports of a host, as browsers' are. */
export function withCookies(fetch: Fetch): Fetch {
  const cookies = new Map<string, string>()
  return async (input, init) => {
    const headers = new Headers(init?.headers)
    if (cookies.size > 0) headers.set('cookie', [...cookies].map(pair => pair.join('=')).join('; '))
    const response = await fetch(input, { ...init, headers })
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line)!
      cookies.delete(name!)
      if (!line.includes('Max-Age=0')) cookies.set(name!, value!)
    }
    return response
  }
}
