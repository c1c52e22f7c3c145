#!/bin/bash
# The rebuild as a practised person would script it: what quorate's own time is held against.
#
#   benches/by-hand.sh DIR     DIR is a folder of deploy/demo/etcd-service, whose m1 and m2 are gone and m3 runs
#
# The same steps as rules/playbooks/etcd-rebuild-hosts.yaml, in the same order, with the same waits: snapshot, stop,
# copy, restore with a bumped revision and a fresh token, start, two learners one after the other, compare. What it
# lacks is every question whether it may. Needs ETCDCTL and ETCDUTL; prints nothing unless something fails.
set -uo pipefail

dir=$1
script="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/deploy/demo/etcd-service"
declare -A client=() peer=() metrics=() data=()
. "$dir/members.env"
export ETCDCTL_API=3

# As often as the playbook asks again.
pause=0.5
tries=240

stop_here() {
    printf 'by hand: %s\n' "$*" >&2
    exit 1
}
service() { "$script" "$dir" "$@" || stop_here "$* failed"; }
ctl() { "$ETCDCTL" --endpoints="${client[m3]}" --command-timeout=5s "$@"; }

# again COMMAND…: until it succeeds.
again() {
    local try
    for ((try = 0; try < tries; try++)); do
        "$@" >"$dir/said" 2>&1 && return 0
        sleep "$pause"
    done
    stop_here "$*: $(tail -n 1 "$dir/said")"
}

save_and_restore() {
    ctl snapshot save "$dir/by-hand.db" >"$dir/said" 2>&1 || stop_here "the snapshot failed: $(tail -n 1 "$dir/said")"
    for name in m1 m2; do service stop "$name" && service mask "$name"; done
    service stop m3
    mkdir -p "$dir/by-hand"
    cp -a "${data[m3]}" "$dir/by-hand/copy" && sync -f "$dir/by-hand" || stop_here "the copy failed"
    diff -r "${data[m3]}" "$dir/by-hand/copy" >"$dir/said" || stop_here "the copy is not the same"
    "$ETCDUTL" snapshot restore "$dir/by-hand.db" --name=m3 --data-dir="$dir/by-hand/new" \
        --initial-cluster="m3=${peer[m3]}" --initial-advertise-peer-urls="${peer[m3]}" \
        --initial-cluster-token="by-hand-$$" --bump-revision=1000000000 --mark-compacted >"$dir/said" 2>&1 ||
        stop_here "the restore failed: $(tail -n 1 "$dir/said")"
    mv "${data[m3]}" "$dir/by-hand/old" && mv "$dir/by-hand/new" "${data[m3]}" || stop_here "the swap failed"
    service start m3
    again healthy m3
}

# A member that is not there yet is asked again soon: a long time limit would make the script look slow.
healthy() { "$ETCDCTL" --endpoints="${client[$1]}" --dial-timeout=1s --command-timeout=1s endpoint health; }

# join NAME LIST: as a learner on an empty directory, promoted when it has caught up.
join() {
    local name=$1 list=$2 id
    rm -rf "${data[$name]}"
    again ctl member add "$name" --learner --peer-urls="${peer[$name]}"
    service unmask "$name"
    service start "$name" --initial-cluster-state=existing --initial-cluster="$list"
    id=$(ctl member list | sed -n "s#^\([0-9a-f]*\),.*${peer[$name]},.*#\1#p")
    again ctl member promote "$id"
    again healthy "$name"
}

same() {
    local hashes
    hashes=$("$ETCDCTL" --endpoints="${client[m1]},${client[m2]},${client[m3]}" --command-timeout=5s \
        endpoint hashkv | sed 's/.*, //' | sort -u) || return 1
    [ "$(wc -l <<<"$hashes")" = 1 ]
}

save_and_restore
join m1 "m3=${peer[m3]},m1=${peer[m1]}"
join m2 "m3=${peer[m3]},m1=${peer[m1]},m2=${peer[m2]}"
again same
