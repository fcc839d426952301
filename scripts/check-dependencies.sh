#!/usr/bin/env bash
# Forbidden edges between crates, banned crates, licences. cargo-deny reads the same rules from deny.toml where it is
# installed; this script needs only cargo, so that a bare machine checks them too.
set -euo pipefail
cd "$(dirname "$0")/.."
failed=0
fail() { echo "dependencies: $1" >&2; failed=1; }

# Every target and feature of the lock file, so that nothing hides behind a platform.
tree() { cargo tree --workspace --locked --edges normal,build --target all --prefix none --format '{p}' "$@" 2>/dev/null | sort -u; }
tree | grep -qE '^ring v' && fail 'ring is in the tree: rustls runs on aws-lc-rs'

# only CRATES may depend on LIBRARY directly
only() {
  local library=$1; shift
  local users
  users=$(cargo metadata --format-version 1 --no-deps --locked |
    python3 -c 'import json,sys
library=sys.argv[1]
for p in json.load(sys.stdin)["packages"]:
    if any(d["name"]==library and d["kind"]!="dev" for d in p["dependencies"]): print(p["name"].removeprefix("openarchive-"))' "$library")
  for user in $users; do
    case " $* " in *" $user "*) ;; *) fail "$user must not depend on $library (allowed: $*)" ;; esac
  done
}
only sqlx ingest storage trust gateway worker schema openarchive
only tantivy index
only elasticsearch index
only aws-sdk-s3 objects
only rusqlite edge
only kube operator-api operator-cluster operator-controller operator-cli
only tokio proto telemetry rpc objects schema storage trust ingest index worker gateway edge openarchive archivectl operator-cluster operator-controller operator-cli
# Our own crates: the operator takes from the services what is pure or tells whom it may call, never a service; and nothing that
# it runs knows the operator. The end-to-end suite and the benchmarks start programs, so they are not asked.
cargo metadata --format-version 1 --no-deps --locked | python3 -c 'import json, sys
shared = {"topology", "domain", "ledger", "verify", "proto", "rpc", "telemetry"}
bad = []
for package in json.load(sys.stdin)["packages"]:
    user = package["name"].removeprefix("openarchive-")
    uses = {d["name"].removeprefix("openarchive-") for d in package["dependencies"]
            if d["name"].startswith("openarchive") and d["kind"] != "dev"}
    of_operator = {one for one in uses if one.startswith("operator-")}
    if user == "operator-cluster":
        continue  # the harness of tests, which starts the archive too
    if user.startswith("operator-"):
        bad += [(user, one) for one in uses - of_operator - shared]
    elif user not in {"e2e", "bench", "fuzz"}:
        bad += [(user, one) for one in of_operator]
for user, one in sorted(bad): print(f"dependencies: {user} must not depend on {one}", file=sys.stderr)
sys.exit(1 if bad else 0)' || failed=1
if command -v python3 >/dev/null 2>&1; then :; else fail 'python3 is needed for this check'; fi

licences=$(cargo metadata --format-version 1 --locked | python3 -c 'import json,sys
bad=[]
for p in json.load(sys.stdin)["packages"]:
    licence=(p["license"] or "")
    choices=licence.replace("/", " OR ").split(" OR ")
    if not licence and not p["license_file"]: bad.append((p["name"],"no licence"))
    elif licence and all("GPL" in c and "LGPL" not in c for c in choices): bad.append((p["name"],licence))
for name,licence in bad: print(name,licence)')
[ -z "$licences" ] || fail "licences that may not be in the tree: $licences"

if command -v cargo-deny >/dev/null 2>&1; then
  cargo deny --all-features check bans licenses sources || failed=1
else
  echo "dependencies: cargo-deny is not installed; the rules above were checked with cargo alone"
fi
exit $failed
