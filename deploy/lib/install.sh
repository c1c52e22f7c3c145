#!/bin/bash
# Installs what the demo needs, and with --tests what the tests need too. Says what and how long.
#
#   deploy/lib/install.sh [--tests]
#
# Made for Debian 12 and newer; as root in a container without systemd is enough. Works a second time at once.
# Never touches /etc/apt, starts no service, and fetches only through apt and cargo, from where they are set up
# to fetch. What Debian's own release lacks is unpacked into $QUORATE_CACHE, beside the system.
# The result is $QUORATE_CACHE/env: ETCD, ETCDUTL, ETCDCTL, PROMETHEUS, PROMTOOL, ALERTMANAGER,
# ALERTMANAGER_NEW and, with --tests, CARGO_DENY, each an absolute path.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$root/deploy/lib/common.sh"

# The first etcd whose etcdutl can restore with a bumped revision and which has the fixes quorate's gate asks for.
etcd_gate=3.5.16
# The release that has such an etcd, and an Alertmanager a generation newer than bookworm's. Stable: it does not move.
newer_suite=trixie
etcd_dir="$QUORATE_CACHE/etcd-$newer_suite"
alertmanager_dir="$QUORATE_CACHE/alertmanager-$newer_suite"
deny_dir="$QUORATE_CACHE/cargo-deny"

tests=no
case "${1-}" in
    --tests) tests=yes ;;
    '') ;;
    *) die "usage: deploy/lib/install.sh [--tests]" ;;
esac

did_something=no

# step WHAT EXPECTED: one line before something that takes time.
step() {
    did_something=yes
    say "  $1 (about $2) …"
    step_began=$(clock)
}
done_step() { say "    done in $(since "$step_began")"; }

# tries COMMAND…: three attempts, as mirrors and networks fail for moments. Output only when the last one fails.
tries() {
    local attempt log
    log=$(mktemp)
    for attempt in 1 2 3; do
        if "$@" >"$log" 2>&1; then
            rm -f "$log"
            return 0
        fi
        [ "$attempt" = 3 ] || { say "    attempt $attempt failed, trying again" && sleep "$attempt"; }
    done
    cat "$log" >&2
    rm -f "$log"
    return 1
}

need_root() {
    [ "$(id -u)" = 0 ] || die "missing: $1. Installing them needs root: run this as root, or install them yourself."
}

lists_fresh=no
refresh_lists() {
    [ "$lists_fresh" = no ] || return 0
    # A third party's source that does not answer is no reason to stop: the install below decides.
    tries apt-get -q -o Acquire::Retries=3 update || say "    (apt-get update had errors; going on with the lists at hand)"
    lists_fresh=yes
}

# apt_install PACKAGE…: without recommended packages and without starting services.
apt_install() {
    local policy=/usr/sbin/policy-rc.d made=no status=0
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && made=yes
    fi
    DEBIAN_FRONTEND=noninteractive tries apt-get -q -y -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 \
        install --no-install-recommends "$@" || status=1
    [ "$made" = no ] || rm -f "$policy"
    return "$status"
}

check_rust() {
    local wanted have
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    have=$(cargo --version 2>/dev/null | cut -d' ' -f2)
    if [ -z "$have" ]; then
        die "cargo is not on PATH. Debian's own Rust is too old: install rustup as https://rustup.rs says," \
            "then: rustup toolchain install $wanted --component rustfmt,clippy"
    fi
    dpkg --compare-versions "$have" ge "$wanted" ||
        die "Rust $have is older than $wanted (rust-version in Cargo.toml): rustup toolchain install $wanted"
}

# wanted_packages: one per line, each only if what it brings is not there.
wanted_packages() {
    local pair
    for pair in protoc=protobuf-compiler gcc=gcc ld=binutils pkg-config=pkg-config curl=curl jq=jq ps=procps \
        setsid=util-linux prometheus=prometheus prometheus-alertmanager=prometheus-alertmanager; do
        command -v "${pair%%=*}" >/dev/null || printf '%s\n' "${pair#*=}"
    done
    [ -e /usr/include/google/protobuf/empty.proto ] || say libprotobuf-dev
    [ -e /usr/include/stdlib.h ] || say libc6-dev
    [ -e /etc/ssl/certs/ca-certificates.crt ] || say ca-certificates
    if [ "$tests" = yes ]; then
        for pair in ip=iproute2 iptables=iptables strace=strace faketime=faketime openssl=openssl git=git; do
            command -v "${pair%%=*}" >/dev/null || printf '%s\n' "${pair#*=}"
        done
    fi
}

system_packages() {
    local missing
    mapfile -t missing < <(wanted_packages)
    if [ "${#missing[@]}" -gt 0 ]; then
        need_root "${missing[*]}"
        step "apt: ${missing[*]}" "20–60 s"
        refresh_lists
        apt_install "${missing[@]}" || die "apt could not install: ${missing[*]}"
        done_step
    fi
    if ! command -v promtool >/dev/null; then
        need_root promtool
        step "apt: promtool (a package of its own in newer releases)" "5 s"
        refresh_lists
        apt_install promtool || die "apt could not install promtool"
        done_step
    fi
}

# version_of BINARY: 3.5.16 from "etcd Version: 3.5.16", "etcdutl version: 3.5.16", "alertmanager, version 0.28.1 …"
version_of() { "$1" "${2:---version}" 2>&1 | sed -n '1s/.*[Vv]ersion:\{0,1\} *\([0-9][0-9.]*\).*/\1/p'; }

# passes_gate DIR: etcd, etcdctl and etcdutl of this folder are there, and the two that count are new enough.
passes_gate() {
    local etcd etcdutl
    [ -x "$1/etcd" ] && [ -x "$1/etcdctl" ] && [ -x "$1/etcdutl" ] || return 1
    etcd=$(version_of "$1/etcd") && etcdutl=$(version_of "$1/etcdutl" version)
    [ -n "$etcd" ] && [ -n "$etcdutl" ] &&
        dpkg --compare-versions "$etcd" ge "$etcd_gate" && dpkg --compare-versions "$etcdutl" ge "$etcd_gate"
}

# etcd_on_path: the folder of the etcd on PATH, if all of it passes the gate.
etcd_on_path() {
    local found
    found=$(command -v etcd) && passes_gate "$(dirname "$found")" && dirname "$found"
}

candidate_version() { apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: \([0-9][0-9.]*\).*/\1/p'; }

find_etcd() {
    local candidate
    etcd_bin=$(etcd_on_path) && return
    etcd_bin="$etcd_dir/usr/bin"
    passes_gate "$etcd_bin" && return
    candidate=$(candidate_version etcd-server)
    if [ -z "$candidate" ] && [ "$(id -u)" = 0 ]; then
        refresh_lists
        candidate=$(candidate_version etcd-server)
    fi
    if [ -n "$candidate" ] && dpkg --compare-versions "$candidate" ge "$etcd_gate"; then
        need_root "etcd-server etcd-client"
        step "apt: etcd-server etcd-client $candidate" "10 s"
        refresh_lists
        apt_install etcd-server etcd-client || die "apt could not install etcd-server etcd-client"
        done_step
        etcd_bin=$(etcd_on_path) && return
        say "    the installed etcd does not pass the gate (etcd and etcdutl ≥ $etcd_gate)"
        etcd_bin="$etcd_dir/usr/bin"
    fi
    step "etcd of Debian $newer_suite, unpacked into $etcd_dir (here: ${candidate:-none}, needed: ≥ $etcd_gate)" "5–15 s"
    unpack_newer "$etcd_dir" etcd-server etcd-client
    passes_gate "$etcd_bin" || die "the etcd in $etcd_bin does not pass the gate (≥ $etcd_gate)"
    done_step
}

# debian_mirror: the address this machine's own apt takes Debian from.
debian_mirror() {
    apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        sed -n 's/^Debian|Debian|main|//p' | head -n 1
}

# unpack_newer DIR PACKAGE…: packages of the newer release, unpacked and not installed, through a throw-away apt
# configuration. DIR appears only when it is complete.
unpack_newer() {
    local target=$1 work mirror keyring=/usr/share/keyrings/debian-archive-keyring.gpg signed=''
    shift
    mirror=$(debian_mirror)
    if [ -z "$mirror" ]; then
        refresh_lists
        mirror=$(debian_mirror)
    fi
    [ -n "$mirror" ] || die "apt on this machine names no Debian mirror: put etcd ≥ $etcd_gate (with etcdutl) on PATH"
    work=$(mktemp -d "$QUORATE_CACHE/unpack.XXXXXX")
    mkdir -p "$work/parts" "$work/lists/partial" "$work/cache/archives/partial" "$work/debs" "$work/out"
    : >"$work/status"
    [ ! -r "$keyring" ] || signed="[signed-by=$keyring] "
    say "deb ${signed}$mirror $newer_suite main" >"$work/sources.list"
    # apt drops to its own user for downloads; that user may not read below a home directory.
    local options=(-q -o "Dir::Etc::SourceList=$work/sources.list" -o "Dir::Etc::SourceParts=$work/parts"
        -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache" -o "Dir::State::status=$work/status"
        -o Acquire::Languages=none -o Acquire::Retries=3 -o APT::Sandbox::User=)
    tries apt-get "${options[@]}" update || { rm -rf "$work"; die "cannot read Debian $newer_suite from this machine's mirror"; }
    (cd "$work/debs" && tries apt-get "${options[@]}" download "$@") || { rm -rf "$work"; die "cannot download $*"; }
    local deb
    for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$work/out" || die "cannot unpack $deb"; done
    rm -rf "$target"
    mv "$work/out" "$target"
    rm -rf "$work"
}

# Two generations, as their payloads differ. Where the system's own is new already, both are the same.
find_alertmanagers() {
    alertmanager=$(command -v prometheus-alertmanager) || die "prometheus-alertmanager is not on PATH"
    alertmanager_new="$alertmanager_dir/usr/bin/prometheus-alertmanager"
    [ ! -x "$alertmanager_new" ] || return 0
    if dpkg --compare-versions "$(version_of "$alertmanager")" ge 0.28; then
        alertmanager_new=$alertmanager
        return
    fi
    [ "$tests" = yes ] || { alertmanager_new=$alertmanager && return; }
    step "Alertmanager of Debian $newer_suite, unpacked into $alertmanager_dir" "5–15 s"
    unpack_newer "$alertmanager_dir" prometheus-alertmanager
    done_step
}

find_cargo_deny() {
    cargo_deny=$(command -v cargo-deny) && return
    cargo_deny="$deny_dir/bin/cargo-deny"
    [ ! -x "$cargo_deny" ] || return 0
    step "cargo-deny, built from source once and kept in $deny_dir" "1–4 min on two cores"
    # Unoptimised it takes a third of the time to build and runs as fast as is needed.
    CARGO_TARGET_DIR="$deny_dir/target" tries cargo install cargo-deny --locked --debug --quiet --root "$deny_dir" ||
        die "cargo install cargo-deny failed"
    rm -rf "$deny_dir/target"
    done_step
}

write_env() {
    local new="$QUORATE_ENV.new"
    {
        say "ETCD=$etcd_bin/etcd"
        say "ETCDCTL=$etcd_bin/etcdctl"
        say "ETCDUTL=$etcd_bin/etcdutl"
        say "PROMETHEUS=$(command -v prometheus)"
        say "PROMTOOL=$(command -v promtool)"
        say "ALERTMANAGER=$alertmanager"
        say "ALERTMANAGER_NEW=$alertmanager_new"
        [ "$tests" = no ] || say "CARGO_DENY=$cargo_deny"
    } >"$new"
    # What an earlier run with --tests found stays known.
    if [ "$tests" = no ] && [ -r "$QUORATE_ENV" ]; then grep '^CARGO_DENY=' "$QUORATE_ENV" >>"$new"; fi
    mv "$new" "$QUORATE_ENV"
}

began=$(clock)
# Administration tools live in folders that not every user's PATH has.
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
command -v apt-get >/dev/null || die "this installer is for Debian; put the tools on PATH by hand (see its head)"
mkdir -p "$QUORATE_CACHE" || die "cannot write to $QUORATE_CACHE"
exec 9>"$QUORATE_CACHE/lock"
if ! flock -n 9; then
    say "  another installation is running; waiting for it …"
    flock 9
fi
check_rust
system_packages
find_etcd
find_alertmanagers
[ "$tests" = no ] || find_cargo_deny
write_env
exec 9>&-
# Without the newer generation both names stand for one program: it is told once.
alertmanagers=$(printf '%s\n' "$(version_of "$alertmanager")" "$(version_of "$alertmanager_new")" | uniq | paste -sd, | sed 's/,/ and /')
if [ "$did_something" = yes ]; then verb=installed; else verb='everything is there'; fi
say "$verb: etcd $(version_of "$etcd_bin/etcd"), $(prometheus --version 2>&1 | cut -d' ' -f1-3 | head -n 1)," \
    "Alertmanager $alertmanagers ($(since "$began"))"
