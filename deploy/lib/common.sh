# Shared by the installer, tests/run and the demo: where things are kept, and how to say what happens.
# Sourced, never run. Sets no shell options: the caller decides.

# Everything fetched or built beside the repository lives here; removing it costs a few minutes, nothing else.
QUORATE_CACHE="${QUORATE_CACHE:-${XDG_CACHE_HOME:-${HOME:-/var/cache}/.cache}/quorate}"
export QUORATE_CACHE

# The lines KEY=/absolute/path that install.sh writes and the test harness reads.
QUORATE_ENV="$QUORATE_CACHE/env"

if [ -t 1 ]; then bold=$'\e[1m' red=$'\e[31m' plain=$'\e[0m'; else bold='' red='' plain=''; fi

say() { printf '%s\n' "$*"; }
heading() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
fail() { printf '%serror:%s %s\n' "$red" "$plain" "$*" >&2; }
die() {
    fail "$@"
    exit 1
}

# Hundredths of a second since the epoch.
clock() {
    local micros=${EPOCHREALTIME/[.,]/}
    printf '%s' "${micros::-4}"
}

# since START: "12.3 s"
since() {
    local hundredths=$(($(clock) - $1))
    printf '%d.%d s' $((hundredths / 100)) $((hundredths % 100 / 10))
}

# load_env: the tools' paths as exported variables, for a caller that runs them.
load_env() {
    [ -r "$QUORATE_ENV" ] || die "$QUORATE_ENV is missing: run deploy/lib/install.sh"
    set -a
    # shellcheck disable=SC1090
    . "$QUORATE_ENV"
    set +a
}
