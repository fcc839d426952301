#!/usr/bin/env bash
# Runs a command with DATABASE_URL naming a fresh private database that has the schema.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
dir=$(mktemp -d /tmp/oa-gen-XXXXXX)
as=()
if [ "$(id -u)" -eq 0 ]; then
  user=postgres; id postgres >/dev/null 2>&1 || user=nobody
  chown "$user" "$dir"; as=(setpriv "--reuid=$user" "--regid=$(id -g "$user")" --clear-groups)
fi
stop() { (cd / && "${as[@]}" "$bin/pg_ctl" -D "$dir/c" -m immediate stop >/dev/null 2>&1) || true; rm -rf "$dir"; }
trap stop EXIT
(cd / && "${as[@]}" "$bin/initdb" -D "$dir/c" --username=postgres --auth=trust --encoding=UTF8 --locale=C >/dev/null &&
  "${as[@]}" "$bin/pg_ctl" -D "$dir/c" -l "$dir/log" -w -o "-k $dir -h '' -c fsync=off" start >/dev/null)
for file in services/schema/migrations/*.sql; do
  "$bin/psql" -q -h "$dir" -U postgres -v ON_ERROR_STOP=1 -f "$file" postgres
done
export DATABASE_URL="postgres://postgres@${dir//\//%2F}/postgres"
"$@"
