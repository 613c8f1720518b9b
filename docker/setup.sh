#!/bin/sh
# One-shot of the container that makes the token (user cradle-keyd): an empty token and the key ceremony, where
# there is none yet. The public exchange key goes where the activation service reads it.
set -eu

if [ ! -e /var/lib/cradle-keyd/exchange.pem ]; then
    # It may be all there is of some keys: nothing is made over it.
    mkdir -m 700 /var/lib/cradle-keyd/tokens || {
        echo "there is a token, and its ceremony did not come to its end: look at the volume, and empty it" >&2
        exit 1
    }
    python3 /usr/share/cradle/token_init.py /usr/lib/softhsm/libsofthsm2.so cradle /run/secrets/pin
    cradle --config /etc/cradle/hsm.ini hsm init --exchange-key-out /var/lib/cradle-keyd/exchange.pem
fi
cp /var/lib/cradle-keyd/exchange.pem /var/lib/cradle-public/exchange.pem
chmod 644 /var/lib/cradle-public/exchange.pem
