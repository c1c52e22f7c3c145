# The parts of the demo: folder, ports, rules, configurations, processes. Sourced by deploy/demo/run.

# The waits of the shipped rules are made for production. These are for somebody who watches.
alert_for=2s
grace='{for: 6s, samples: 4, max_gap: 3s}'
load_per_second=5

# First port of a block that is free on loopback; below the range that the kernel hands out by itself.
block=26
port_of() { printf '%s' $((base + $1)); }
client_of() { printf 'http://127.0.0.1:%s' $((base + (${1#m} - 1) * 3)); }
peer_of() { printf 'http://127.0.0.1:%s' $((base + (${1#m} - 1) * 3 + 1)); }
metrics_of() { printf '127.0.0.1:%s' $((base + (${1#m} - 1) * 3 + 2)); }

service() { "$root/deploy/demo/etcd-service" "$work/etcd" "$@"; }
cli() { "$quorate" --server "$quorate_url" "$@"; }
api() { curl --silent --fail --max-time 5 "$quorate_url$1"; }

# The demo's rules: the shipped files through sed, which changes `for` of the etcd alerts and the response's `grace`.
make_copies() {
    mkdir -p "$1/alerts" "$1/responses" || return 1
    sed -E "/- name: etcd\$/,/- name: quorate\$/ s/^( *for:) .*/\1 $alert_for/" \
        "$root/rules/alerts/etcd.yaml" >"$1/alerts/etcd.yaml" || return 1
    sed -E "s/^( *grace:) \{.*\}/\1 $grace/" \
        "$root/rules/responses/etcd-quorum-lost.yaml" >"$1/responses/etcd-quorum-lost.yaml" || return 1
    cp "$root/rules/responses/node-not-ready.yaml" "$1/responses/"
}

show_differences() {
    local kind
    for kind in alerts/etcd.yaml responses/etcd-quorum-lost.yaml; do
        diff "$root/rules/$kind" "$work/rules/$kind" |
            sed -En "s|^< *(.*)|    rules/$kind: \1|p; s|^> *(.*)|      in the demo: \1|p"
    done
}

# find_ports: a block of free ports. Taken is what listens or is connected now.
find_ports() {
    local taken try port free
    taken=" $(awk 'FNR > 1 { split($2, at, ":"); print at[2] }' /proc/net/tcp /proc/net/tcp6 2>/dev/null | tr '\n' ' ')"
    for try in {1..50}; do
        base=$((20000 + (RANDOM % 400) * 30))
        free=yes
        for ((port = base; port < base + block; port++)); do
            [[ "$taken" != *" $(printf %04X "$port") "* ]] || free=no
        done
        [ "$free" = no ] || return 0
    done
    die "no $block free ports in a row after $try tries"
}

make_folder() {
    work=$(mktemp -d "${TMPDIR:-/tmp}/quorate-demo.XXXXXX") || die "cannot make a temporary folder"
    mkdir -p "$work/etcd" "$work/logs"
    make_copies "$work/rules" || die "cannot write the rules"
    find_ports
    prometheus_url="http://127.0.0.1:$(port_of 9)"
    alertmanager_url="http://127.0.0.1:$(port_of 10)"
    quorate_url="http://127.0.0.1:$(port_of 11)"
}

start_etcd() {
    local name
    {
        say "etcd=$ETCD" "token=demo" | tr ' ' '\n'
        say "members=(m1 m2 m3)"
        for name in m1 m2 m3; do
            say "client[$name]=$(client_of "$name") peer[$name]=$(peer_of "$name")"
            say "metrics[$name]=http://$(metrics_of "$name") data[$name]=$work/etcd/$name/data"
        done
    } >"$work/etcd/members.env"
    for name in m1 m2 m3; do service start "$name" || die "$name did not start"; done
    wait_for 30 "etcd has a leader" put_once
}

put_once() { curl --silent --fail --max-time 2 --data '{"key": "aGVsbG8="}' "$(client_of m1)/v3/kv/put" >"$work/logs/put" 2>&1; }

# Each key is a write of its own, over one connection.
write_keys() {
    say "  write $keys keys …"
    jq --null-input --raw-output --arg url "$(client_of m1)/v3/kv/put" --argjson keys "$keys" '
        range($keys) | tostring | . as $n | {key: ("key-" + . | @base64), value: ("value " + . | @base64)} |
        (if $n == "0" then "" else "next\n" end)
            + "fail\nurl = \($url)\ndata = \(tojson | tojson)\noutput = /dev/null"' >"$work/keys.curl"
    curl --silent --fail-early --config "$work/keys.curl" || die "the keys could not be written"
}

# A small load, as clients are: each write goes to the first member that takes it. What was acknowledged is kept, with
# its revision, so that the loss record can be held against it.
start_load() {
    jq --null-input --compact-output 'range(100000) | {key: ("load-\(.)" | @base64), value: ("x" | @base64)}' |
        load_loop >"$work/acked" 2>"$work/logs/load" &
    parts[load]=$!
}

load_loop() {
    local body name answer
    while read -r body; do
        for name in m3 m1 m2; do
            answer=$(curl --silent --fail --max-time 1 --data "$body" "$(client_of "$name")/v3/kv/put") || continue
            printf '%s %s\n' "$EPOCHREALTIME" "$answer"
            break
        done
        sleep "0.$((10 / load_per_second))"
    done
}

# The revision of the last write that the old cluster acknowledged: the rebuilt one is 1000000000 ahead.
last_acked_before_rebuild() {
    sed -En 's/.*"revision":"([0-9]{1,9})".*/\1/p' "$work/acked" | sort -n | tail -n 1
}

# launch NAME COMMAND…: in a session of its own, so that Ctrl-C reaches this script alone, which then ends it in order.
launch() {
    local name=$1
    shift
    (cd "$work" && exec setsid "$@") </dev/null >"$work/logs/$name" 2>&1 &
    parts[$name]=$!
}

start_alertmanager() {
    cat >"$work/alertmanager.yml" <<YAML
route:
  receiver: quorate
  group_by: [cluster, alertname]
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 1h
receivers:
  - name: quorate
    webhook_configs: [{url: "$quorate_url/api/v1/webhook"}]
YAML
    launch alertmanager "$ALERTMANAGER" --config.file="$work/alertmanager.yml" --storage.path="$work/alertmanager" \
        --cluster.listen-address= --web.listen-address="${alertmanager_url#http://}"
    wait_for 30 "Alertmanager is ready" curl --silent --fail --output /dev/null "$alertmanager_url/-/ready"
}

start_prometheus() {
    cat >"$work/prometheus.yml" <<YAML
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [$work/rules/alerts/etcd.yaml]
alerting: {alertmanagers: [{static_configs: [{targets: ["${alertmanager_url#http://}"]}]}]}
scrape_configs:
  - job_name: etcd
    static_configs:
      - {targets: ["$(metrics_of m1)", "$(metrics_of m2)", "$(metrics_of m3)"], labels: {cluster: demo}}
  - job_name: quorate
    static_configs: [{targets: ["${quorate_url#http://}"]}]
YAML
    launch prometheus "$PROMETHEUS" --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/prometheus" \
        --web.listen-address="${prometheus_url#http://}"
    wait_for 30 "Prometheus is ready" curl --silent --fail --output /dev/null "$prometheus_url/-/ready"
}

member_entries() {
    local name
    for name in m1 m2 m3; do
        say "        - {name: $name, client: $(client_of "$name"), peer: $(peer_of "$name")," \
            "metrics: http://$(metrics_of "$name"), host: h${name#m}}"
    done
}

write_quorate_config() {
    local run="$root/deploy/demo/etcd-service, $work/etcd"
    cat >"$work/quorate.yaml" <<YAML
listen: ${quorate_url#http://}
rules: [$work/rules/responses, $root/rules/playbooks]
store: {embedded: {path: $work/journal}}
# 10s and 8s by default. The more often quorate looks, the closer the upper bound of a loss is to the truth.
watch: {every: 1s, timeout: 2s}
clusters:
  - name: demo
    match: '{cluster="demo"}'
    # \`auto\` repairs without asking, and may lose so many writes. Whoever writes when a majority dies cannot know
    # which of the last writes only the dead had; here that is a load of $load_per_second writes a second, and nobody minds.
    # The default is \`propose\`: quorate shows evidence, survivor, expected loss and commands, and waits for a person.
    mode: auto
    loss_budget: {revisions: 100}
    etcd:
      layout: hosts
      members:
$(member_entries)
      service:
        command:
          start: [$run, start, "\${member}"]
          stop: [$run, stop, "\${member}"]
          status: [$run, status, "\${member}"]
          mask: [$run, mask, "\${member}"]
          unmask: [$run, unmask, "\${member}"]
      data_dir: $work/etcd/\${member}/data
      args: command
      tools: {etcdutl: $ETCDUTL, etcd: $ETCD}
      backups: {dir: $work/backups, min_free: 2x}
      scratch_ports: $(port_of 12)-$(port_of 21)
    hosts: {h1: {transport: local}, h2: {transport: local}, h3: {transport: local}}
    prometheus: {url: $prometheus_url}
    alertmanager: {url: $alertmanager_url}
YAML
}

start_quorate() {
    write_quorate_config
    launch quorate "$quorate" serve --config "$work/quorate.yaml"
    wait_for 30 "quorate is ready" api /-/ready
}

# The latch: a cluster that was never seen healthy is never repaired.
latched() { api /api/v1/clusters/demo | jq -e '.verdict == "healthy" and .last_seen != null'; }
scraped() { curl --silent "$prometheus_url/api/v1/query?query=up" | jq -e '[.data.result[].value[1]] | length == 4 and all(. == "1")'; }

count_keys() {
    ETCDCTL_API=3 "$ETCDCTL" --endpoints="$(client_of "$1")" --command-timeout=5s \
        get key- --prefix --consistency=s --count-only --write-out=fields | sed -n 's/^"Count" : //p'
}

# wait_for SECONDS WHAT COMMAND…: until the command succeeds; dots after two seconds, an error when it takes too long.
wait_for() {
    local seconds=$1 what=$2 began said=no part
    shift 2
    began=$(clock)
    until "$@" >/dev/null 2>&1; do
        for part in "${!parts[@]}"; do
            kill -0 "${parts[$part]}" 2>/dev/null || die "$part ended while waiting until $what"
        done
        if [ $(($(clock) - began)) -gt $((seconds * 100)) ]; then die "not within $seconds s: $what"; fi
        if [ $(($(clock) - began)) -gt 200 ]; then
            [ "$said" = yes ] || printf '  waiting until %s ' "$what"
            said=yes
            printf .
        fi
        sleep 0.2
    done
    [ "$said" = no ] || printf ' %s\n' "$(since "$began")"
}

# end PID: SIGTERM, and SIGKILL for what does not go.
end() {
    local left=100
    kill -TERM "$1" 2>/dev/null || return 0
    while kill -0 "$1" 2>/dev/null && [ "$left" -gt 0 ]; do
        sleep 0.1
        left=$((left - 1))
    done
    kill -KILL "$1" 2>/dev/null
}

# leftovers: what etcd runs in our folder, also copies that quorate started to read them. Nobody else knows the folder.
leftovers() {
    local pid argv
    for pid in /proc/[0-9]*; do
        mapfile -d '' argv <"$pid/cmdline" || continue
        [[ "${argv[0]-}" != "$ETCD" || "${argv[*]}" != *"$work/"* ]] || printf '%s\n' "${pid#/proc/}"
    done
} 2>/dev/null

clean_up() {
    local status=$? name pid
    trap - EXIT
    trap '' INT TERM HUP
    [ -n "${work-}" ] || exit "$status"
    # Whoever interrupts what was kept running has seen all of it.
    [ "$status" != 130 ] || [ -z "${healed_at-}" ] || status=0
    [ "$status" = 0 ] || [ "$status" = 130 ] || show_logs
    say "ending what was started …"
    for name in load quorate prometheus alertmanager; do
        [ -z "${parts[$name]-}" ] || end "${parts[$name]}"
    done
    for pid in $(leftovers); do end "$pid"; done
    wait 2>/dev/null
    if [ "$status" = 0 ]; then rm -rf "$work"; else say "the files stay in $work"; fi
    exit "$status"
}

show_logs() {
    local log
    for log in "$work"/logs/{quorate,prometheus,alertmanager} "$work"/etcd/m?/etcd.log; do
        [ -s "$log" ] || continue
        heading "the end of ${log#"$work"/}"
        tail -n 10 "$log" | cut -c 1-300
    done
}

declare -A parts=()
