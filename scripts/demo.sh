#!/usr/bin/env bash
# The archive in five minutes: starts it, sends mail through SMTP with STARTTLS, finds it, reads it back, proves it,
# and shows a tamper being caught. MAIL=path takes your own mbox, Maildir or folder of EML files.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/${CARGO_TARGET_DIR:-target}/debug
work=$(mktemp -d /var/tmp/openarchive-demo-XXXXXX)
chmod 755 "$work"
data=$work/data
log=$work/archive.log
export OPENARCHIVE_DATA=$data

step() { printf '\n== %s\n' "$1"; }
show() { printf '$ %s\n' "$*"; }
stop() { [ -z "${pid:-}" ] || { kill -TERM "$pid" 2>/dev/null && wait "$pid" 2>/dev/null; } || true; pid=; }
# On a terminal one line that moves; elsewhere a line for each change.
last=
progress() {
  [ "$1" != "$last" ] || return 0
  last=$1
  if [ -t 1 ]; then printf '\r\033[K  %s' "$1"; else printf '  %s\n' "$1"; fi
}
progress_end() { [ ! -t 1 ] || echo; }
fail() { echo "demo: FAILED: $1"; [ ! -e "$log" ] || { echo "-- the archive's log ends with:"; tail -n 20 "$log"; }; exit 1; }
trap stop EXIT

start() {
  "$bin/openarchive" dev --data "$data" --smtp 127.0.0.1:0 --ingest 127.0.0.1:0 --gateway 127.0.0.1:0 >>"$log" 2>&1 &
  pid=$!
  for _ in $(seq 600); do
    [ -e "$data/endpoints.json" ] && return
    kill -0 "$pid" 2>/dev/null || fail 'the archive does not start'
    sleep 0.1
  done
  fail 'the archive did not start within 60 s'
}

step 'start: every role, an SMTP agent and a private PostgreSQL in one process'
show openarchive dev --data "$data"
start
smtp=$(sed -n 's/.*"smtp": "\(.*\)".*/\1/p' "$data/endpoints.json")
echo "running; SMTP with STARTTLS on $smtp"

mail=${MAIL:-}
if [ -z "$mail" ]; then
  mail=$work/mail
  "$bin/openarchive-sample-mail" "$mail" --count 60
fi

step 'archive: as a mail server would, over STARTTLS'
show openarchive-send-mail "$smtp" "$mail" --ca "$data/tls/ca.pem"
"$bin/openarchive-send-mail" "$smtp" "$mail" --ca "$data/tls/ca.pem" --digests "$work/sent" || fail 'mail was refused'
sort -u "$work/sent" -o "$work/sent"
sent=$(wc -l <"$work/sent")

step 'wait: until every mail is stored, in the ledger, proven to the agent, and searchable'
# A large mailbox takes its time: only standing still is a failure.
figures= still=0
while :; do
  found=$("$bin/archivectl" search '*' --limit 1 -o json 2>/dev/null | sed -n 's/.*"total": *\([0-9]*\).*/\1/p' || true)
  buffered=$("$bin/openarchive-edge" status --config "$data/edge/agent.yaml" -o json 2>/dev/null | sed -n 's/.*"bufferedMessages": *\([0-9]*\).*/\1/p' || true)
  progress "searchable ${found:-0} of $sent, in the agent's buffer ${buffered:-?}"
  [ "${found:-0}" = "$sent" ] && [ "${buffered:-1}" = 0 ] && break
  if [ "$figures" = "${found:-} ${buffered:-}" ]; then still=$((still + 1)); else still=0; fi
  figures="${found:-} ${buffered:-}"
  # 120 s of 0.25 s each, and the time of two commands.
  [ "$still" -lt 480 ] || fail "only ${found:-0} of $sent mails are searchable, and ${buffered:-?} wait in the agent's buffer"
  sleep 0.25
done
progress_end

step 'find'
query=zeppelin; [ -z "${MAIL:-}" ] || query='*'
show archivectl search "$query" --limit 5
"$bin/archivectl" search "$query" --limit 5
id=$("$bin/archivectl" search "$query" --limit 1 -o json 2>/dev/null | grep -o 'sha256:[0-9a-f]\{64\}' | head -n 1)
[ -n "$id" ] || fail 'nothing was found'

step 'read: every mail back, byte for byte'
exact=0
while read -r digest; do
  "$bin/archivectl" message get "$digest" -o "$work/one.eml" || fail "cannot read $digest"
  [ "sha256:$(sha256sum <"$work/one.eml" | cut -d' ' -f1)" = "$digest" ] || fail "$digest came back with other bytes"
  exact=$((exact + 1))
  [ $((exact % 10)) -ne 0 ] || progress "byte-exact $exact of $sent"
done <"$work/sent"
progress_end

step 'prove: offline, with nothing but the mail, the proof and the policy'
"$bin/archivectl" message get "$id" -o "$work/mail.eml"
"$bin/archivectl" proof "$id" -o "$work/mail.tlog-proof"
show archivectl verify mail.eml --proof mail.tlog-proof --policy trust.policy
"$bin/archivectl" verify "$work/mail.eml" --proof "$work/mail.tlog-proof" --policy "$data/trust.policy" || fail 'the proof does not verify'

step 'tamper 1: one letter is added to the mail'
{ cat "$work/mail.eml"; printf .; } >"$work/forged.eml"
rc=0; "$bin/archivectl" verify "$work/forged.eml" --proof "$work/mail.tlog-proof" --policy "$data/trust.policy" || rc=$?
[ "$rc" = 3 ] || fail "the forged mail was not caught (exit $rc)"

step 'tamper 2: one bit of a pack on disk is changed'
stop
pack=$(find "$data/objects/packs" -name '*.enc' -size +8k | sort | head -n 1)
[ -n "$pack" ] || pack=$(find "$data/objects/packs" -name '*.enc' | sort | head -n 1)
cp -p "$pack" "$work/pack.kept"
chmod u+w "$pack"
byte=$(dd if="$pack" bs=1 skip=4000 count=1 2>/dev/null | od -An -tu1 | tr -d ' ')
printf "$(printf '\\x%02x' $((byte ^ 1)))" | dd of="$pack" bs=1 seek=4000 conv=notrunc 2>/dev/null
show openarchive fsck --data "$data"
rc=0; "$bin/openarchive" fsck --data "$data" 2>>"$log" || rc=$?
[ "$rc" = 3 ] || fail "the changed bit was not caught (exit $rc)"
rm -f "$pack"; cp -p "$work/pack.kept" "$pack"
echo 'the pack is put back:'
"$bin/openarchive" fsck --data "$data" 2>>"$log" || fail 'the archive is not clean after the pack was put back'

echo
echo "archived $exact of $sent · found · byte-exact · proof ok · tamper caught"
echo
echo "The data lies in $data. Try next:"
echo "  ${bin#"$PWD"/}/openarchive dev --data $data"
echo "  ${bin#"$PWD"/}/archivectl --data $data search 'from:alice has:attachment'"
echo "  ${bin#"$PWD"/}/archivectl --data $data completeness"
