#!/usr/bin/env bash
# Certificates for throw-away servers; read by the scripts that start them, not run.
#
#   make_certificates DIR   makes an authority of its own, DIR/ca.pem, and a certificate for localhost
#                           and 127.0.0.1 that it has signed, DIR/server.pem with DIR/server.key
#
# Runs `openssl`, of the Debian package of that name, by `as_account`, which the caller defines.

make_certificates() {
    local folder=$1
    printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n' |
        as_account tee "$folder/server.ext" >/dev/null
    as_account openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=thalweg-test \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=keyCertSign \
        -keyout "$folder/ca.key" -out "$folder/ca.pem" &&
        as_account openssl req -newkey rsa:2048 -nodes -subj /CN=localhost \
            -keyout "$folder/server.key" -out "$folder/server.csr" &&
        as_account openssl x509 -req -in "$folder/server.csr" -CA "$folder/ca.pem" \
            -CAkey "$folder/ca.key" -CAcreateserial -days 3650 -extfile "$folder/server.ext" \
            -out "$folder/server.pem" &&
        # Whoever runs the tests reads the authority's certificate.
        chmod a+rx "$folder" && chmod a+r "$folder/ca.pem"
}
