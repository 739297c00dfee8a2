#!/usr/bin/env bash
# Sets up what a purpose (run, lint, test or bench) needs on this machine. It is quick and silent
# when everything is there.
set -euo pipefail
cd "$(dirname "$0")/.."
purpose=${1:-run}
python=.venv/bin/python

say() { echo "setup: $*" >&2; }
die() { echo "setup: $*" >&2; exit 1; }

# apt PACKAGE...: installs packages, as root or with sudo that asks for no password
updated=
sudo=
[ "$(id -u)" = 0 ] || sudo="sudo -n"
apt() {
  command -v apt-get >/dev/null || die "please install: $*"
  [ -z "$sudo" ] || $sudo true 2>/dev/null || die "please install as root: apt-get install $*"
  say "installing $* ..."
  if [ -z "$updated" ]; then
    $sudo apt-get update -qq >/dev/null || die "apt-get update failed; please install: $*"
    updated=1
  fi
  $sudo env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>.setup-apt.log ||
    { cat .setup-apt.log >&2; die "apt-get could not install $*"; }
  rm -f .setup-apt.log
}
need() { command -v "$1" >/dev/null || apt "$2"; }
is_usable() {
  "$1" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# Python packages
wanted=$(cat pyproject.toml constraints.txt | sha256sum | cut -d' ' -f1)
# packages STAMP EXTRAS: installs them, unless the file STAMP says that they are there
packages() {
  [ "$(cat ".venv/$1" 2>/dev/null)" != "$wanted" ] || return 0
  say "installing Python packages ..."
  $python -m pip install -q --disable-pip-version-check -e ".[$2]" -c constraints.txt ||
    die "pip could not install the packages"
  echo "$wanted" > ".venv/$1"
}
if [ ! -x $python ]; then
  # the distribution's comes first: it is optimised (decision 70)
  system=
  for candidate in /usr/bin/python3 python3.11 python3.12 python3; do
    if command -v $candidate >/dev/null && is_usable $candidate; then
      system=$candidate
      break
    fi
  done
  [ -n "$system" ] || { apt python3 python3-venv; system=/usr/bin/python3; }
  is_usable $system || die "Python 3.11 or later is needed, with its venv"
  $system -m venv .venv
fi
# npm_packages FOLDER NAME: fetches what FOLDER/package.json names into .local/NAME; without npm, what
# needs it is left out
npm_packages() {
  command -v npm >/dev/null || return 0
  ! cmp -s "$1/package.json" ".local/$2/package.json" || return 0
  mkdir -p ".local/$2"
  cp "$1/package.json" ".local/$2/"
  npm install --prefix ".local/$2" --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error >&2 || {
    rm ".local/$2/package.json"
    say "npm could not fetch what $1/package.json names: what needs it is left out"
  }
}
packages .wanted dev,local,report,traces,chat
if [ "$purpose" = lint ]; then
  packages .wanted-docs docs
  npm_packages ops/tsc npm-tsc
  exit 0
fi

# Services
need redis-server redis-server
need java default-jre-headless
java=$(java -version 2>&1 | sed -nE 's/.* version "([0-9]+).*/\1/p' | head -1)
[ "${java:-0}" -ge 17 ] || die "Java 17 or later is needed; \`java\` is ${java:-unknown}"
if ! ls .local/kafka/lib/kafka_*.jar >/dev/null 2>&1; then
  need mvn maven
  say "fetching Kafka ..."
  rm -rf .local/kafka/lib.new
  mvn -q -B -f ops/kafka/pom.xml dependency:copy-dependencies -DincludeScope=runtime \
    -DoutputDirectory="$PWD/.local/kafka/lib.new" >&2 || die "Maven could not fetch the Kafka jars"
  mkdir -p .local/kafka
  rm -rf .local/kafka/lib .local/kafka/classes.jsa
  mv .local/kafka/lib.new .local/kafka/lib
fi
if [ ! -f .local/kafka/classes.jsa ]; then
  say "preparing Kafka ..."
  $python -m ops.local.kafka || say "Kafka will start more slowly: $python -m ops.local.kafka fails"
fi
# apt_without_service PACKAGE: the service of that name neither starts now nor with the machine
apt_without_service() {
  local policy=/usr/sbin/policy-rc.d made=
  if [ ! -e $policy ] && printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null 2>&1; then
    made=1
    $sudo chmod 755 $policy
  fi
  if (apt "$1"); then
    $sudo update-rc.d "$1" disable >/dev/null 2>&1 || true
  else
    say "$1 is left out"
  fi
  [ -z "$made" ] || $sudo rm $policy
}
if [ "$purpose" = bench ]; then
  ls /usr/lib/*/ejabberd-*/ebin/ejabberd.app >/dev/null 2>&1 || apt_without_service ejabberd
fi
[ "$purpose" = test ] || exit 0
need chromium chromium
need chromedriver chromium-driver
npm_packages tests/browser npm
npm_packages examples/readers npm-readers
