# Makes the certificates of `tests/connections/connecting.rs` anew, in this directory, by OpenSSL 3. They are
# valid for 100 years, and their keys are no secrets: nobody trusts them but these tests.
set -eu
cd "$(dirname "$0")"

key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" 2>/dev/null; }

# An authority of its own: name, common name.
authority() {
    key "$1"
    openssl req -x509 -new -key "$1.key" -out "$1.crt" -days 36500 -subj "/CN=$2" \
        -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign,cRLSign'
}

# A certificate: name, common name, extensions, digest, authority.
issue() {
    key "$1"
    printf '%b' "$3" >"$1.ext"
    openssl req -new -key "$1.key" -subj "/CN=$2" |
        openssl x509 -req -CA "$5.crt" -CAkey "$5.key" -days 36500 "-$4" -extfile "$1.ext" \
            -set_serial "0x$(openssl rand -hex 8)" -out "$1.crt" 2>/dev/null
    rm "$1.ext"
}

authority ca 'sesari test authority'
authority other 'another authority'
issue server localhost 'subjectAltName=DNS:localhost,IP:127.0.0.1\n' sha384 ca
issue client certuser 'extendedKeyUsage=clientAuth\n' sha256 ca
issue stranger certuser 'extendedKeyUsage=clientAuth\n' sha256 other
# Self-signed, and marked as an authority's, as `openssl req -x509` makes them.
key self
openssl req -x509 -new -key self.key -out self.crt -days 36500 -subj /CN=localhost \
    -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1'
# Nobody issues certificates by these again.
rm ca.key other.key
