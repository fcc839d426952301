#!/usr/bin/env bash
# All of the operator: its charts, and its suites against a real API server, in their long form.
set -euo pipefail
cd "$(dirname "$0")/.."
suites=(openarchive_operator openarchive_operator_api openarchive_operator_cli
  openarchive_operator_cluster openarchive_operator_controller
  openarchive_operator_netpol openarchive_operator_pki openarchive_operator_snapshot kubectl_archive
  operator cluster netpol pki generated render validate)
scripts/kubernetes.sh >/dev/null
cargo build --workspace --locked --bins --tests
scripts/charts.sh
ran=$(mktemp)
trap 'rm -f "$ran"' EXIT
# The whole workspace is selected: a part of it would have other features, and be compiled again.
OPENARCHIVE_RAN=$ran OPENARCHIVE_SUITES=$(IFS='|'; echo "${suites[*]}") \
  OPENARCHIVE_NETPOL_CASES=100000 OPENARCHIVE_OPERATOR_FAULTS=all \
  cargo test --workspace --locked --tests --no-fail-fast \
  --config "target.'cfg(unix)'.runner = ['$PWD/scripts/run-suite.sh']"
for suite in "${suites[@]}"; do
  grep -qx "$suite" "$ran" || { echo "test-operator: FAILED: the suite $suite did not run" >&2; exit 1; }
done
echo "test-operator: all passed"
