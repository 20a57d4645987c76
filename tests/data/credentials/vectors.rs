//! Envelopes made by another implementation (Python's `cryptography`, on OpenSSL) open here.
//!
//! `tests/vectors/make.py` made them. That sealing does the same follows from the round trip: for
//! one key, nonce and associated data there is one ciphertext that opens as a given secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sesari_db::credentials::{Binding, Envelope, SealedColumn, SealingKey, SealingSalt, open};
use sesari_db::value::IntegrationProvider;

#[derive(serde::Deserialize)]
struct Vector {
    name: String,
    key: String,
    key_id: String,
    salt: String,
    workspace: String,
    table: String,
    column: String,
    integration: String,
    provider: String,
    plaintext: String,
    envelope: String,
}

#[test]
fn envelopes_of_another_implementation_open() {
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("../../vectors/credentials.json")).unwrap();
    assert_eq!(vectors.len(), 11);
    for vector in vectors {
        let name = &vector.name;
        let key: SealingKey = format!("{}:{}", vector.key_id, vector.key).parse().unwrap();
        let salt = SealingSalt::from_bytes(&STANDARD.decode(&vector.salt).unwrap()).unwrap();
        let (workspace, integration) =
            (vector.workspace.parse().unwrap(), vector.integration.parse().unwrap());
        let provider = vector
            .provider
            .parse()
            .unwrap_or_else(|_| IntegrationProvider::Unknown(vector.provider.clone()));
        // Names of columns are constants of a program, never made at run time.
        let column = SealedColumn {
            table: vector.table.clone().leak(),
            column: vector.column.clone().leak(),
        };
        let binding = Binding::new(column, &workspace, &integration, &provider);

        let envelope = Envelope::parse(&vector.envelope).unwrap();
        assert_eq!(envelope.to_string(), vector.envelope, "{name}");
        let secret = open(&key.into(), &salt, &binding, &envelope).expect(name);
        assert_eq!(STANDARD.encode(secret.expose()), vector.plaintext, "{name}");
    }
}
