# The live timeline: asks quorate and Prometheus twice a second and prints what is new. Sourced by deploy/demo/run.

declare -A told=()

# seconds_since_kill AT: "+12.3", of seconds since the epoch.
seconds_since_kill() {
    local tenths=$((($(micros "$1") - $(micros "$killed_at")) / 100000)) sign=+
    [ "$tenths" -ge 0 ] || { sign=- && tenths=$((-tenths)); }
    printf '%s%d.%d' "$sign" $((tenths / 10)) $((tenths % 10))
}

# micros AT: microseconds since the epoch, of seconds with any number of decimals.
micros() {
    local whole=${1%%[.,]*} part=000000
    [[ "$1" != *[.,]* ]] || part="${1##*[.,]}000000"
    printf '%s' "$whole${part:0:6}"
}

# tell AT TEXT: one line of the timeline.
tell() {
    local text=$2 colour='' end=''
    case "$text" in *healthy* | *succeeded*) colour=$bold end=$plain ;; *fail* | *parked*) colour=$red end=$plain ;; esac
    printf '%7s s  %(%H:%M:%S)T  %s%s%s\n' "$(seconds_since_kill "$1")" "${1%%[.,]*}" "$colour" "$text" "$end"
    quiet_since=$(clock)
}

# Seconds since the epoch of quorate's times, for jq.
jq_time='def t: (.[0:19] + "Z" | fromdateiso8601) + (.[19:] | sub("[^0-9.]"; "") | "0" + . | tonumber);'

# Each source prints lines "seconds, tab, text"; what was told once is not told again.
from_prometheus() {
    curl --silent --max-time 2 "$prometheus_url/api/v1/alerts" | jq -r --argjson now "$EPOCHREALTIME" \
        --argjson killed "$killed_at" --argjson wait "${alert_for%s}" "$jq_time"'
        .data.alerts[] | select((.activeAt | t) > $killed) |
        (if .labels.instance then " for \(.labels.instance)" else "" end) as $instance |
        (.activeAt | t) as $since |
        "\($since)\tPrometheus: \(.labels.alertname) is true\($instance)",
        (select(.state == "firing") | "\([$since + $wait, $now] | min)\tPrometheus: \(.labels.alertname) fires\($instance)")'
}

from_alerts() {
    api '/api/v1/alerts?limit=100' | jq -r "$jq_time"'
        .items[] | select(.state == "firing" and (.labels.alertname | startswith("etcd"))) |
        "\(.changed_at | t)\twebhook: \(.labels.alertname) \(.state)" +
            (if .labels.instance then " for \(.labels.instance)" else "" end)'
}

from_incident() {
    [ -n "$incident" ] || return 0
    api "/api/v1/incidents/$incident" | jq -r "$jq_time"'
        .timeline[] | "\(.at | t)\tincident: \(.text)"'
}

from_run() {
    [ -n "$run" ] || return 0
    api "/api/v1/runs/$run" | jq -r "$jq_time"'
        (.steps[] | select(.at and (.state | IN("done", "failed", "undone", "undo_failed"))) |
            "\(.at | t)\trun: \(.path) (\(.does)) \(.state)" +
                (if .irreversible then ", the point of no return" else "" end) +
                (if .failure then ": \(.failure.message)" else "" end)),
        (select(.finished_at) | "\(.finished_at | t)\trun: \(.outcome)"),
        (select(.parked) | "\(.parked.at | t)\trun: parked: \(.parked.why)")'
}

from_cluster() {
    jq -r --argjson killed "$killed_at" "$jq_time"'
        (.looked_at | t) as $at | select($at > $killed) |
        "\($at)\tcluster: \(.verdict), \(.alive) of \(.voters) voters alive: \(.reason)"' <<<"$cluster"
}

# tell_new: what the sources say and was not told yet, by its time.
tell_new() {
    local at text
    while IFS=$'\t' read -r at text; do
        [ -z "${told[$text]-}" ] || continue
        told[$text]=yes
        tell "$at" "$text"
    done < <({ from_prometheus && from_alerts && from_incident && from_run && from_cluster; } | sort -n -s -k 1,1)
}

# look: which incident and run it is about, and what quorate thinks of the cluster.
look() {
    cluster=$(api /api/v1/clusters/demo) || { fail "quorate does not answer" && return 1; }
    [ -n "$incident" ] || incident=$(api /api/v1/incidents | jq -r '[.items[] | select(.response == "etcd-quorum-lost")] | .[-1].id // ""')
    [ -n "$run" ] || run=$(api /api/v1/runs | jq -r '.items[-1].id // ""')
}

# waits_for: what the next line depends on, for those who watch.
waits_for() {
    if [ -n "$run" ]; then
        api "/api/v1/runs/$run" | jq -r '
            [.steps[] | select(.at and .does != "foreach")] | max_by(.at) | "what follows \(.path)"'
    elif [ -n "$incident" ]; then
        api "/api/v1/incidents/$incident" | jq -r '.decision.text // "the first look"' | cut -c 1-120
    else
        say "Prometheus to fire (for: $alert_for)"
    fi
}

# ended: whether the incident is closed, or the run can go no further.
ended() {
    [ -n "$incident" ] || return 1
    state=$(api "/api/v1/incidents/$incident" | jq -r '.outcome // ""')
    [ -z "$state" ] || return 0
    [ -n "$run" ] || return 1
    [[ "$(api "/api/v1/runs/$run" | jq -r .state)" == @(parked|failed|cancelled) ]]
}

# follow SECONDS: the timeline, until the incident is closed as recovered. Sets `healed_at`.
follow() {
    local until=$((SECONDS + $1)) state=''
    incident='' run='' cluster='' quiet_since=$(clock)
    until ended; do
        [ "$SECONDS" -lt "$until" ] || die "not healed within $1 s"
        look || die "quorate is gone"
        tell_new
        if [ $(($(clock) - quiet_since)) -gt 200 ]; then
            printf '%9s  %8s  … waiting: %s\n' '' '' "$(waits_for)"
            quiet_since=$(clock)
        fi
        sleep 0.5
    done
    look && tell_new
    [ "$state" = recovered ] || die "the incident ended as '$state', not as 'recovered'; see: quorate why $incident"
    healed_at=$(api "/api/v1/runs/$run" | jq -r "$jq_time .finished_at | t")
    api /api/v1/clusters/demo | jq -e '.verdict == "healthy"' >/dev/null || die "the cluster is not healthy"
}
