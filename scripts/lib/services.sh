# shellcheck shell=bash
# The processes of a run: started, watched, started again, stopped.
#
# Each runs in a session of its own, so that Ctrl-C reaches the run alone and things stop in order,
# and asks the kernel for a signal when the run dies, so that nothing stays behind even then.

readonly config_fault=78 # a service's exit status: starting it again would not help
readonly ready_seconds=30
readonly drain_seconds=15
readonly restart_delay_max=${CRADLE_RESTART_DELAY:-4}
readonly watch_seconds=0.2

declare -A pid_of=()      # service -> process id
declare -A started_at=()  # service -> $SECONDS
declare -A failures=()    # service -> deaths soon after a start, in a row
declare -A restart_pid=() # service -> process id of the pause before it is started again

# service_launch NAME SIGNAL WRAPPER... -- COMMAND...; SIGNAL is what asks it to stop.
service_launch() {
    local name=$1 signal=$2 wrapper=()
    shift 2
    while [[ $1 != -- ]]; do
        wrapper+=("$1")
        shift
    done
    shift
    local log
    log=$(log_open "$name")
    if ! { : >>"$log"; } 2>/dev/null; then
        say "$log cannot be written: $name runs without a log."
        log=/dev/null
    fi
    setsid "${wrapper[@]}" setpriv --pdeathsig "$signal" "$@" >>"$log" 2>&1 </dev/null 5>&- 8>&- 9>&- &
    pid_of[$name]=$!
    started_at[$name]=$SECONDS
    pid_note "$name" || say "$state/run/$name.pid cannot be written: $name runs, and is watched."
}

# pid_note NAME: writes who it is, for others to read; false where there is no room. Nothing here
# needs to know it from there.
pid_note() {
    local file=$state/run/$1.pid
    if { printf '%s\n' "${pid_of[$1]}" >"$file.new" && mv -f "$file.new" "$file"; } 2>/dev/null; then
        return 0
    fi
    rm -f -- "$file.new"
    return 1
}

service_start() {
    case $1 in
    postgres) cluster_start ;;
    joinserver | activation)
        service_launch "$1" TERM -- "$(program "$bin" "cradle-$1")" --config "$state/$1.ini"
        ;;
    esac
}

service_answers() {
    curl -fsS --noproxy '*' -o /dev/null --max-time 2 "http://$address:$1/readyz" 2>/dev/null
}

# True when there is no need to wait any longer: it is ready, or it is dead.
service_settled() {
    local name=$1
    shift
    "$@" || gone "${pid_of[$name]}"
}

# service_wait NAME SECONDS COMMAND...: until the command says that the service is ready.
service_wait() {
    local name=$1 seconds=$2 log=$state/log/$1.log
    shift 2
    until_true "$seconds" service_settled "$name" "$@" || true
    if gone "${pid_of[$name]}"; then
        tail -n 5 "$log" >&2
        die "$name ended while starting: the reason is above, and in $log."
    fi
    if ! "$@"; then
        tail -n 5 "$log" >&2
        die "$name was not ready after $seconds seconds: see $log."
    fi
}

# service_stop NAME SIGNAL SECONDS HARDER: asks, waits, insists.
service_stop() {
    local name=$1 pid=${pid_of[$1]:-}
    [[ -n $pid ]] || return 0
    kill "-$2" "$pid" 2>/dev/null || true
    if ! until_true "$3" gone "$pid"; then
        say "$name did not stop in $3 seconds: stopping it the hard way."
        kill "-$4" "$pid" 2>/dev/null || true
        until_true "$3" gone "$pid" || kill -KILL "$pid" 2>/dev/null || true
    fi
    wait "$pid" 2>/dev/null || true
    unset "pid_of[$name]"
    rm -f -- "$state/run/$name.pid"
}

services_stop() {
    local name
    rm -f -- "$state/run/ready"
    for name in "${!restart_pid[@]}"; do
        kill "${restart_pid[$name]}" 2>/dev/null || true
        wait "${restart_pid[$name]}" 2>/dev/null || true
    done
    # Both drain at the same time; PostgreSQL stays until they are done.
    for name in joinserver activation; do
        [[ -z ${pid_of[$name]:-} ]] || kill -TERM "${pid_of[$name]}" 2>/dev/null || true
    done
    service_stop joinserver TERM "$drain_seconds" KILL
    service_stop activation TERM "$drain_seconds" KILL
    service_stop postgres INT "$drain_seconds" QUIT
    [[ -z ${sockets:-} ]] || rmdir -- "$sockets" 2>/dev/null || true
}

# How a process ended, in words.
ending() {
    if (($1 > 128)); then
        printf 'signal %s' "$(kill -l "$1" 2>/dev/null || printf '%d' "$(($1 - 128))")"
    else
        printf 'exit status %d' "$1"
    fi
}

# service_died NAME STATUS: starts it again, at once for the first time, with growing pauses while
# it keeps dying.
service_died() {
    local name=$1 status=$2 delay
    unset "pid_of[$name]"
    rm -f -- "$state/run/$name.pid"
    if ((status == config_fault)); then
        tail -n 3 "$state/log/$name.log" >&2
        die "$name says that its configuration or PIN is wrong and is not started again: the reason is above, and in $state/log/$name.log."
    fi
    if ((SECONDS - started_at[$name] > 10)); then
        failures[$name]=0
    fi
    delay=${failures[$name]:-0}
    ((delay <= restart_delay_max)) || delay=$restart_delay_max
    failures[$name]=$((${failures[$name]:-0} + 1))
    if ((delay == 0)); then
        say "$name ended ($(ending "$status")): started again."
        service_start "$name"
    else
        say "$name ended ($(ending "$status")): starting it again in $delay seconds."
        sleep "$delay" 5>&- 8>&- 9>&- &
        restart_pid[$name]=$!
    fi
}

# Watches until a signal ends the run. It looks at each process rather than waiting for any of them:
# `wait -n` forgets those that end while the shell is busy. Meanwhile standard error is closed to
# the shell's own remarks about processes that were killed.
services_watch() {
    local name status
    mkfifo "$state/run/tick"
    exec 8<>"$state/run/tick" 5>&2 2>/dev/null
    while :; do
        read -rt "$watch_seconds" -u 8 || true
        for name in "${!pid_of[@]}"; do
            if gone "${pid_of[$name]}"; then
                status=0
                wait "${pid_of[$name]}" || status=$?
                service_died "$name" "$status" 2>&5
            elif [[ ! -e $state/run/$name.pid ]]; then
                pid_note "$name" || true # there was no room for it
            fi
        done
        for name in "${!restart_pid[@]}"; do
            if gone "${restart_pid[$name]}"; then
                unset "restart_pid[$name]"
                service_start "$name" 2>&5
            fi
        done
    done
}
