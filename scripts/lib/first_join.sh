# shellcheck shell=bash disable=SC2154
# Sourced by what tries an installation: peers, KEKs, a maker, and three devices that join. Wants the functions
# `cradle` and `device` (the two programs, where they were installed), `member` and `die`; `near` and `far`, a folder
# as this script and as the programs see it; and `exchange`, the public exchange key as this script sees it.

readonly join_eui=70b3d57ed0000001 net_id=000013

ns_token=$(cradle ns add --name home --net-id "$net_id" | member token)
cradle as add --as-id our-as >/dev/null
cradle route add 70b3d57ed0000000/40 >/dev/null

# kek OPTION PEER LABEL: made by its owner, sealed to the exchange key; prints it
kek() {
    local hex
    openssl rand -out "$near/kek" 16
    hex=$(od -An -vtx1 "$near/kek" | tr -d ' ')
    openssl pkeyutl -encrypt -pubin -inkey "$exchange" \
        -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha1 -in "$near/kek" -out "$near/$3.sealed"
    chmod 644 "$near/$3.sealed"
    cradle kek add "$1" "$2" --label "$3" --sealed "$far/$3.sealed" --length 16 >/dev/null
    printf '%s' "$hex"
}
ns_kek=$(kek --ns "$net_id" ns)
as_kek=$(kek --as our-as as)
made=$(cradle client add --organization Maker --role maker)
cradle organization set --name Maker --allow-clear-keys yes >/dev/null
maker=$(member client_id <<<"$made"):$(member client_secret <<<"$made")
token=$(curl -sf -u "$maker" -d grant_type=client_credentials http://127.0.0.1:8080/v1/token | member access_token)

# dev_eui_of N
dev_eui_of() {
    printf '70b3d57ed10000%02x' "$1"
}

# import N KEY: the maker brings device N in.
import() {
    rm -f "$near/import.out"
    printf 'dev_eui,join_eui,app_key,mac_version,home_net_id,as_id\n%s,%s,%s,1.0.4,%s,our-as\n' \
        "$(dev_eui_of "$1")" "$join_eui" "$2" "$net_id" |
        curl -sS --fail-with-body -o "$near/import.out" -H "Authorization: Bearer $token" -H 'Content-Type: text/csv' --data-binary @- \
            'http://127.0.0.1:8080/v1/batches/import?format=csv' && grep -q '"created"' "$near/import.out"
}

# join N KEY [OPTION...]: device N joins, and agrees with the network's and the application's server on the session keys.
join() {
    device join --json --url http://127.0.0.1:8081/ --token "$ns_token" --ns-kek "ns=$ns_kek" --as-kek "as=$as_kek" \
        --dev-eui "$(dev_eui_of "$1")" --join-eui "$join_eui" --app-key "$2" --mac-version 1.0.4 --net-id "$net_id" \
        "${@:3}" >"$near/join.out" && grep -q '"agree":true' "$near/join.out"
}

for i in 1 2 3; do
    app_key=$(openssl rand -hex 16)
    import "$i" "$app_key" || die "the device was not imported: $(cat "$near/import.out" || true)"
    join "$i" "$app_key" || die "the device did not join: $(cat "$near/join.out")"
done
echo "3 devices joined"
