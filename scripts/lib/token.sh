# shellcheck shell=bash
# The SoftHSM token that holds Cradle's keys.

readonly token_label=cradle
readonly token_module=/usr/lib/softhsm/libsofthsm2.so

# All that Cradle uses. SoftHSM copies the list of what it may do at each call: of some 70 it takes
# a tenth of a join's time in keyd.
readonly token_mechanisms=\
CKM_AES_KEY_WRAP,CKM_AES_CMAC,CKM_AES_ECB,\
CKM_AES_ECB_ENCRYPT_DATA,CKM_AES_CBC,CKM_AES_KEY_GEN,\
CKM_SHA256_HMAC,CKM_GENERIC_SECRET_KEY_GEN,CKM_RSA_PKCS_OAEP,\
CKM_RSA_PKCS_KEY_PAIR_GEN,CKM_ECDSA,CKM_EC_KEY_PAIR_GEN

# The programs find the token's configuration in the environment.
token_open() {
    export SOFTHSM2_CONF=$state/softhsm2.conf
    printf '%s\n' "directories.tokendir = $state/softhsm" 'objectstore.backend = file' \
        'log.level = ERROR' 'slots.removable = false' \
        "slots.mechanisms = $token_mechanisms" >"$SOFTHSM2_CONF"
}

# token_make BIN: an empty token with a PIN of its own, then the key ceremony. The security
# officer's PIN could only wipe the token; it is thrown away.
token_make() {
    local bin=$1 cradle log=$state/log/hsm-init.log options=()
    [[ $exportable_keys == no ]] || options=(--exportable-keys)
    cradle=$(program "$bin" cradle)
    [[ -e $token_module ]] || die "$token_module is missing: install Debian's package softhsm2."
    rm -rf -- "$state/softhsm" "$state/exchange.pem"
    mkdir -m 700 "$state/softhsm"
    secret_write "$state/pin" "$(random_hex 16)"
    step "$log" "Making the HSM token failed" /usr/bin/python3 "$root/scripts/lib/token_init.py" \
        "$token_module" "$token_label" "$state/pin"
    step "$log" "The key ceremony failed" "$cradle" --config "$state/cradle.ini" \
        hsm init --exchange-key-out "$state/exchange.pem" --escrow "$state/storage-keks.escrow" "${options[@]}"
}
