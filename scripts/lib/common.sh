# shellcheck shell=bash
# What every script of Cradle shares: how it speaks, how it fails, and how it runs something long.
# Sourced; wants `set -euo pipefail` and sets `root`, the folder of the checkout.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
readonly root

umask 077
ulimit -c 0
export LC_ALL=C.UTF-8

# Process id of the step that is running, for whoever has to stop it.
step_pid=

# Who cannot say it, since standard output goes to a full disk, goes on.
say() {
    printf '%s\n' "$*" || true
}

# One sentence that says what to do, and the end.
die() {
    printf 'cradle: %s\n' "$*" >&2
    exit 1
}

# step LOG SENTENCE COMMAND...: runs the command with its output in LOG; when it fails, shows the
# end of LOG and dies with SENTENCE. It runs in a session of its own and is waited for, so that a
# signal is acted upon at once and reaches what the command started; it does not outlive the script.
step() {
    local log=$1 sentence=$2 status=0
    shift 2
    setsid setpriv --pdeathsig TERM "$@" >"$log" 2>&1 </dev/null 9>&- &
    step_pid=$!
    wait "$step_pid" || status=$?
    step_pid=
    if ((status != 0)); then
        tail -n 30 "$log" >&2
        die "$sentence (all of it is in $log)"
    fi
}

step_stop() {
    if [[ -n $step_pid ]]; then
        kill -TERM -- "-$step_pid" 2>/dev/null || true
        wait "$step_pid" 2>/dev/null || true
        step_pid=
    fi
}

# short_hash TEXT: 16 hex digits that name it.
short_hash() {
    printf '%s' "$1" | sha256sum | cut -c1-16
}

# random_hex BYTES
random_hex() {
    od -An -vtx1 -N"$1" /dev/urandom | tr -d ' \n'
}

# secret_write FILE TEXT: a file only its owner may read, there whole or not at all.
secret_write() {
    printf '%s\n' "$2" >"$1.new"
    chmod 600 "$1.new"
    mv -f "$1.new" "$1"
}

# until_true SECONDS COMMAND...: asks again until the command succeeds or the time is over.
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.05
    done
}

alive() {
    kill -0 "$1" 2>/dev/null
}

gone() {
    ! alive "$1"
}

# percent_encode TEXT, for a PKCS#11 URI.
percent_encode() {
    local text=$1 LC_ALL=C i c
    for ((i = 0; i < ${#text}; i++)); do
        c=${text:i:1}
        case $c in
        [a-zA-Z0-9/._~-]) printf '%s' "$c" ;;
        *)
            printf -v c '%d' "'$c"
            printf '%%%02X' "$((c & 255))"
            ;;
        esac
    done
}
