#!/usr/bin/env bash
# Installs the servers that some tests run against if they find them: Redis, etcd, Patroni, Debian's PostgreSQL 15, Prometheus (for promtool), Chromium and pgpool-II. All of
# them are optional; without one, the tests that need it are skipped and say so. Needs Debian (or a relative) and root; anywhere
# else it says that it did nothing, and that is no failure. It fails only when apt-get does. What is installed already is
# left as it is, and no service is started: tests start servers of their own, on ports and directories of their own.
set -euo pipefail

packages=(redis-server etcd-server patroni postgresql-15 prometheus chromium pgpool2)

nothing() {
  echo "setup-servers: did nothing: $1. Tests are skipped that need what is missing."
  exit 0
}

installed() {
  [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# apt-get knows a version of it that it could install.
available() {
  [[ $(LC_ALL=C apt-cache policy "$1") =~ Candidate:\ [^\(] ]]
}

command -v apt-get >/dev/null && command -v dpkg-query >/dev/null || nothing 'there is no apt-get here'

missing=()
for package in "${packages[@]}"; do installed "$package" || missing+=("$package"); done
if [[ ${#missing[@]} -eq 0 ]]; then
  echo "setup-servers: nothing to do: ${packages[*]} are installed already."
  exit 0
fi
[[ $(id -u) -eq 0 ]] || nothing "installing ${missing[*]} takes root"

# Another apt-get that is at work is waited for.
apt=(apt-get --quiet --quiet -o DPkg::Lock::Timeout=300)
export DEBIAN_FRONTEND=noninteractive
"${apt[@]}" update

wanted=()
unknown=()
for package in "${missing[@]}"; do
  if available "$package"; then wanted+=("$package"); else unknown+=("$package"); fi
done
[[ ${#unknown[@]} -eq 0 ]] || echo "setup-servers: not known to this system's package sources, so left out: ${unknown[*]}"
[[ ${#wanted[@]} -gt 0 ]] || nothing "the package sources have none of ${missing[*]}"

# Debian starts a service as it installs it, unless this policy says no (invoke-rc.d(8): 101 is "forbidden"). One that is there
# already is put back at the end, however this ends.
policy=/usr/sbin/policy-rc.d
saved=$(mktemp -d)
[[ ! -e $policy ]] || cp --preserve --no-dereference "$policy" "$saved/policy"
restore() {
  rm -f "$policy"
  [[ ! -e $saved/policy ]] || mv "$saved/policy" "$policy"
  rm -rf "$saved"
}
trap restore EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
rm -f "$policy"
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

# Nor is one to start with the machine from now on, but for those that were there before.
services=()
for service in redis-server etcd patroni postgresql prometheus pgpool2; do [[ -e /etc/init.d/$service ]] || services+=("$service"); done

"${apt[@]}" install --yes --no-install-recommends --no-upgrade "${wanted[@]}"
for service in "${services[@]}"; do
  [[ ! -e /etc/init.d/$service ]] || update-rc.d "$service" disable
done
echo "setup-servers: installed ${wanted[*]}; no service was started, and none starts with the machine."
