//! Contexts as an attacker would make them.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use sesari_db::testing::TestDatabase;

/// Signs as the crate does, from the format that `src/tenancy/context.rs` documents, without its
/// code.
pub struct Signer {
    key_id: String,
    key: hmac::Key,
}

impl Signer {
    pub fn of(test: &TestDatabase) -> Self {
        let key = test.context_key().to_secret_string();
        let (id, secret) = key.split_once(':').unwrap();
        Self::new(id, &STANDARD.decode(secret).unwrap())
    }

    fn new(key_id: &str, secret: &[u8]) -> Self {
        Self { key_id: key_id.into(), key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// Another secret under the same name.
    pub fn with_secret(&self, secret: &[u8]) -> Self {
        Self::new(&self.key_id, secret)
    }

    /// The same secret under another name.
    pub fn renamed(&self, key_id: &str) -> Self {
        Self { key_id: key_id.into(), key: self.key.clone() }
    }

    pub fn sign(&self, kind: char, actor: &str, workspace: &str, issued: i64, pid: i32) -> String {
        self.sign_text(format!("1.{}.{kind}.{actor}.{workspace}.{issued}.{pid}", self.key_id))
    }

    /// Signs what may be no context at all.
    pub fn sign_text(&self, text: String) -> String {
        let mac = hmac::sign(&self.key, text.as_bytes());
        mac.as_ref().iter().fold(text + ".", |text, byte| format!("{text}{byte:02x}"))
    }
}
