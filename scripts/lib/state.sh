# shellcheck shell=bash
# The state folder: everything of one Cradle that outlives a run. Sets `state` (absolute).
#
#   cradle-state       marker: "setup" until the folder was whole for the first time, then "complete";
#                      with anything else in it, nothing in the folder is touched
#   lock               held by the run that uses the folder
#   cluster            path of the PostgreSQL data folder (pg/ here, or below /var/lib/cradle)
#   softhsm/ softhsm2.conf pin exchange.pem lock.hsm     the token and what belongs to it
#   sockets            folder of the database's socket, where it has not its usual name
#   pgpass-ROLE        one a database role
#   client_id client_secret                            as whom the cradle command calls
#   joinserver.ini activation.ini cradle.ini             written anew by each run
#   demo.json demo/    the demo
#   credentials/       what the join server shows where it calls: NAME.crt, .key, .ca, .header
#   log/ run/          logs; process ids of what runs

readonly marker_name=cradle-state

# What the marker says, as state_open found it: nothing is ever removed because of a later look.
state_word=

# state_lock: makes the folder when there is none, and takes its lock (descriptor 9).
state_lock() {
    local wanted=${CRADLE_STATE:-$root/var}
    [[ $wanted == /* ]] || wanted=$PWD/$wanted
    [[ $wanted != *[[:cntrl:]\'\"\\\;\#%]* ]] ||
        die "The state folder's path has a quote, backslash, semicolon, hash or percent sign in it: choose another with CRADLE_STATE."
    if [[ -e $wanted && ! -d $wanted ]]; then
        die "$wanted is not a folder: choose another state folder with CRADLE_STATE."
    fi
    mkdir -p -- "$wanted" 2>/dev/null ||
        die "The state folder $wanted cannot be made: choose another with CRADLE_STATE."
    if [[ ! -O $wanted || ! -r $wanted || ! -w $wanted || ! -x $wanted ]]; then
        die "The state folder $wanted is not this user's to read and write: become its owner, or choose another with CRADLE_STATE."
    fi
    state=$(cd "$wanted" && pwd -P)
    if [[ ! -e $state/$marker_name ]] && state_not_empty; then
        die "$state is not empty and not a Cradle state folder: choose another with CRADLE_STATE."
    fi
    { exec 9>>"$state/lock"; } 2>/dev/null ||
        die "The state folder $state cannot be written: make its files yours, or choose another with CRADLE_STATE."
    flock -n 9 ||
        die "Another run of Cradle uses $state: stop it, or choose another state folder with CRADLE_STATE."
}

# state_open FRESH: checks the folder, or empties it. Only a marker that says that the first run did
# not come to its end shows that nothing in the folder was used yet; a damaged one shows nothing.
state_open() {
    local fresh=$1
    if [[ ! -e $state/$marker_name ]]; then
        marker_write setup
    elif marker_says setup; then
        state_empty
    elif ! marker_says complete; then
        die "The state folder $state is left as it is, since its file $marker_name $(marker_fault): put it back from a backup, or choose another folder with CRADLE_STATE."
    elif [[ $fresh == yes ]]; then
        state_empty
    else
        state_check
        state_word=complete
    fi
    chmod 700 "$state"
    mkdir -p "$state/log" "$state/run" "$state/credentials"
    rm -f -- "$state"/run/*
}

state_not_empty() {
    local entries
    entries=$(find "$state" -mindepth 1 -maxdepth 1 ! -name lock ! -name "$marker_name.new" -print -quit)
    [[ -n $entries ]]
}

# marker_says WORD: exactly that, and it could be read.
marker_says() {
    printf '%s\n' "$1" | cmp -s - "$state/$marker_name" 2>/dev/null
}

marker_fault() {
    if ! cat "$state/$marker_name" >/dev/null 2>&1; then
        printf 'cannot be read'
    elif [[ ! -s $state/$marker_name ]]; then
        printf 'is empty'
    else
        printf 'says something unknown'
    fi
}

# marker_write WORD: on disk, and whatever it speaks of before it.
marker_write() {
    printf '%s\n' "$1" >"$state/$marker_name.new"
    sync -f "$state/$marker_name.new"
    mv -f "$state/$marker_name.new" "$state/$marker_name"
    sync "$state"
    state_word=$1
}

state_complete() {
    [[ $state_word == complete ]]
}

state_set_complete() {
    marker_write complete
}

# Empties the folder but for its lock, and removes the cluster kept elsewhere for it.
state_empty() {
    local cluster=
    [[ ! -r $state/cluster ]] || cluster=$(<"$state/cluster")
    if [[ -d ${cluster%/data} && $cluster != "$state/pg" ]]; then
        [[ $cluster =~ ^$outside_clusters/[0-9a-f]{16}/data$ ]] ||
            die "$state/cluster names a folder that is not Cradle's: remove $state by hand."
    else
        cluster=
    fi
    marker_write setup
    [[ -z $cluster ]] || rm -rf -- "${cluster%/data}"
    find "$state" -mindepth 1 -maxdepth 1 ! -name lock ! -name "$marker_name" -exec rm -rf -- {} + ||
        die "$state cannot be emptied: remove it by hand."
}

# Whatever a whole state folder has must be there.
state_check() {
    local name cluster
    for name in cluster pin exchange.pem softhsm \
        pgpass-postgres pgpass-cradle_owner pgpass-cradle_join pgpass-cradle_activation; do
        [[ -e $state/$name ]] || state_broken "$name is missing"
        [[ -r $state/$name ]] || state_broken "$name cannot be read"
        [[ -s $state/$name ]] || state_broken "$name is empty"
    done
    [[ -n $(find "$state/softhsm" -name token.object 2>/dev/null) ]] ||
        state_broken "its HSM token is missing"
    cluster=$(<"$state/cluster")
    [[ -e $cluster/PG_VERSION ]] || state_broken "its database $cluster is missing or not readable"
}

state_broken() {
    die "The state folder $state is broken ($1): put it back from a backup, or begin anew with --fresh, which removes all keys in it."
}

# config_write BIN: the configuration of the services and of the `cradle` command.
config_write() {
    local bin=$1 keyd hsm token_tls=
    keyd=$(program "$bin" cradle-keyd)
    hsm="[hsm]
uri = pkcs11:token=$token_label?module-path=$(percent_encode "$token_module")&pin-source=file:$(percent_encode "$state/pin")
lock_file = $state/lock.hsm"
    [[ -z $join_token_tls_port ]] || token_tls="
[listener-token-tls]
address = $address
port = $join_token_tls_port
certificate = $state/tls/$tls_server.pem
key = $state/tls/$tls_server.key
"
    config_file joinserver.ini "[listener-plain]
address = $address
port = $join_port

[listener-tls]
address = $address
port = $join_tls_port
certificate = $state/tls/$tls_server.pem
key = $state/tls/$tls_server.key
$token_tls
[answers]
directory = $state/credentials

[database]
conninfo = $(conninfo cradle_join)
witness = $state/joinserver.witness

$hsm
keyd = $keyd"
    config_file activation.ini "[listener-plain]
address = $address
port = $activation_port

[listener-tls]
address = $address
port = $activation_tls_port
certificate = $state/tls/$tls_server.pem
key = $state/tls/$tls_server.key

[database]
conninfo = $(conninfo cradle_activation)
witness = $state/activation.witness

$hsm
keyd = $keyd
exchange_key = $state/exchange.pem
export = $([[ $exportable_keys == yes ]] && printf true || printf false)"
    config_file cradle.ini "[database]
owner_conninfo = $(conninfo cradle_owner)
conninfo = $(conninfo cradle_activation)
$(client_settings)
$hsm"
}

# As whom the `cradle` command calls the activation service, once that is made.
client_settings() {
    [[ -s $state/client_id && -s $state/client_secret ]] || return 0
    printf '\n[activation]\nurl = http://%s:%s\nclient_id = %s\nclient_secret_file = %s\n' \
        "$address" "$activation_port" "$(<"$state/client_id")" "$state/client_secret"
}

# client_make BIN: the first administrator, who is the operator too; in the database itself.
client_make() {
    local bin=$1 made
    [[ ! -s $state/client_id || ! -s $state/client_secret ]] || return 0
    made=$("$(program "$bin" cradle)" --config "$state/cradle.ini" \
        admin add --organization Operator --role operator) || die "Making the first administrator failed."
    [[ $made =~ \"client_id\":\"([0-9a-f]+)\",\"client_secret\":\"([0-9a-f]+)\" ]] ||
        die "Making the first administrator failed."
    secret_write "$state/client_secret" "${BASH_REMATCH[2]}"
    secret_write "$state/client_id" "${BASH_REMATCH[1]}"
    config_write "$bin"
}

# libinih reads lines of at most 198 bytes.
readonly config_line_max=198

config_file() {
    local line LC_ALL=C
    while IFS= read -r line; do
        ((${#line} <= config_line_max)) ||
            die "The path of the state folder or of the checkout is too long for a configuration file: choose a shorter one (CRADLE_STATE)."
    done <<<"$2"
    printf '# Written by scripts/run; changes are lost.\n%s\n' "$2" >"$state/$1.new"
    mv -f "$state/$1.new" "$state/$1"
}

# log_open NAME: makes sure that the log is there and not endless; prints its path.
readonly log_max_bytes=16777216
log_open() {
    local log=$state/log/$1.log
    if [[ -e $log ]] && (($(stat -c %s "$log") > log_max_bytes)); then
        mv -f "$log" "$log.1"
    fi
    printf '%s' "$log"
}
