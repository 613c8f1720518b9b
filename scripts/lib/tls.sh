# shellcheck shell=bash
# The demo's certificates, in the folder tls of the state: a CA made for this state folder alone, the
# join server's certificate, and a client certificate for each peer of the demo.

readonly tls_days=3650
# Name of the services' certificate: one an address, since it says which.
tls_server=
# Nothing of the machine's own openssl.cnf gets into them.
readonly tls_config=$'[req]\ndistinguished_name = dn\n[dn]\n'

# tls_certificate NAME OPTION...: NAME.pem and NAME.key, there both or not at all.
tls_certificate() {
    local name=$1 at=$state/tls/$1
    shift
    [[ ! -e $at.pem || ! -e $at.key ]] || return 0
    printf '%s' "$tls_config" >"$state/tls/openssl.cnf"
    step "$state/log/tls.log" "Making the certificate $name failed" \
        openssl req -x509 -config "$state/tls/openssl.cnf" -newkey ec \
        -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -days "$tls_days" -subj "/CN=$name" \
        -keyout "$at.key.new" -out "$at.pem.new" "$@"
    mv -f "$at.key.new" "$at.key"
    mv -f "$at.pem.new" "$at.pem"
}

# tls_leaf NAME PURPOSE ALT-NAMES
tls_leaf() {
    tls_certificate "$1" -CA "$state/tls/ca.pem" -CAkey "$state/tls/ca.key" \
        -addext "basicConstraints=critical,CA:FALSE" -addext "keyUsage=critical,digitalSignature" \
        -addext "extendedKeyUsage=$2" -addext "subjectAltName=$3"
}

tls_make() {
    local net_id
    tls_server=server
    [[ $address == 127.0.0.1 ]] || tls_server+=-$address
    mkdir -p "$state/tls" # umask: ours alone
    tls_certificate ca -addext "basicConstraints=critical,CA:TRUE" \
        -addext "keyUsage=critical,keyCertSign,cRLSign"
    tls_leaf "$tls_server" serverAuth "IP:$address,DNS:localhost"
    # The peers of scripts/demo.
    for net_id in 000013 000024; do
        tls_leaf "ns-$net_id" clientAuth "URI:urn:cradle:netid:$net_id"
    done
    tls_leaf as-demo clientAuth "URI:urn:cradle:asid:demo-as"
}
