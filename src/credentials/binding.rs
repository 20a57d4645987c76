//! Where an envelope belongs, as the associated data that the cipher authenticates.

use super::keyring::SealingKeyId;
use crate::id::{IntegrationId, WorkspaceId};
use crate::value::IntegrationProvider;

/// A column that holds envelopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SealedColumn {
    /// The table's name.
    pub table: &'static str,
    /// The column's name.
    pub column: &'static str,
}

impl SealedColumn {
    /// `integrations.credentials`.
    pub const INTEGRATION_CREDENTIALS: Self = Self { table: "integrations", column: "credentials" };
}

/// The one place in which an envelope opens: workspace, table, column, integration and provider.
///
/// A provider counts by the text that is stored, so one that this version reads as
/// [`Unknown`](IntegrationProvider::Unknown) binds as it did for the version that knew it.
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a> {
    workspace: &'a WorkspaceId,
    column: SealedColumn,
    integration: &'a IntegrationId,
    provider: &'a IntegrationProvider,
}

impl<'a> Binding<'a> {
    /// A place in any column of an integration.
    #[must_use]
    pub fn new(
        column: SealedColumn,
        workspace: &'a WorkspaceId,
        integration: &'a IntegrationId,
        provider: &'a IntegrationProvider,
    ) -> Self {
        Self { workspace, column, integration, provider }
    }

    /// The credentials of an integration: `integrations.credentials`.
    #[must_use]
    pub fn integration_credentials(
        workspace: &'a WorkspaceId,
        integration: &'a IntegrationId,
        provider: &'a IntegrationProvider,
    ) -> Self {
        Self::new(SealedColumn::INTEGRATION_CREDENTIALS, workspace, integration, provider)
    }

    pub(super) fn workspace(&self) -> &'a WorkspaceId {
        self.workspace
    }

    /// What the cipher authenticates along with the ciphertext. The nonce is part of the cipher.
    pub(super) fn associated_data(&self, key_id: &SealingKeyId) -> Vec<u8> {
        fields(&[
            "v1",
            key_id.as_str(),
            self.workspace.as_str(),
            self.column.table,
            self.column.column,
            self.integration.as_str(),
            self.provider.as_str(),
        ])
    }
}

/// Fields one after another, each behind its length in bytes, so that no two lists of fields encode
/// alike: `["ab", "c"]` is not `["a", "bc"]`.
pub(super) fn fields(fields: &[&str]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(fields.iter().map(|field| 8 + field.len()).sum());
    for field in fields {
        encoded.extend_from_slice(&(field.len() as u64).to_be_bytes());
        encoded.extend_from_slice(field.as_bytes());
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The inverse of [`fields`]. That there is one is what proves the encoding injective.
    fn taken_apart(mut encoded: &[u8]) -> Vec<String> {
        let mut fields = Vec::new();
        while let Some((len, rest)) = encoded.split_first_chunk() {
            let (field, rest) = rest.split_at(u64::from_be_bytes(*len).try_into().unwrap());
            fields.push(String::from_utf8(field.into()).unwrap());
            encoded = rest;
        }
        assert!(encoded.is_empty());
        fields
    }

    proptest! {
        #[test]
        fn the_encoding_can_be_taken_apart_again(parts: Vec<String>) {
            let parts: Vec<_> = parts.iter().map(String::as_str).collect();
            prop_assert_eq!(taken_apart(&fields(&parts)), parts);
        }

        #[test]
        fn one_text_cut_into_fields_in_two_ways_encodes_in_two_ways(
            text in "[a-c\0]{0,8}",
            cuts: [prop::sample::Index; 6],
            other: [prop::sample::Index; 6],
        ) {
            let cut = |cuts: [prop::sample::Index; 6]| {
                let mut ends = cuts.map(|cut| cut.index(text.len() + 1));
                ends.sort_unstable();
                let starts = std::iter::once(0).chain(ends);
                starts.zip(ends.into_iter().chain([text.len()])).map(|(a, b)| &text[a..b]).collect::<Vec<_>>()
            };
            let (one, other) = (cut(cuts), cut(other));
            prop_assert_eq!(fields(&one) == fields(&other), one == other);
        }
    }

    /// Text moved from one field to its neighbour: put together they are the same, encoded not.
    #[test]
    fn neighbouring_fields_do_not_run_into_each_other() {
        let key = "k1".parse().unwrap();
        let encoded = |workspace: &str, table, column, integration: &str, provider: &str| {
            Binding::new(
                SealedColumn { table, column },
                &workspace.parse().unwrap(),
                &integration.parse().unwrap(),
                &IntegrationProvider::Unknown(provider.into()),
            )
            .associated_data(&key)
        };
        let all = [
            encoded("waa", "tab", "col", "iaa", "prov"),
            encoded("waat", "ab", "col", "iaa", "prov"),
            encoded("waa", "tabc", "ol", "iaa", "prov"),
            encoded("waa", "tabcol", "", "iaa", "prov"),
            encoded("waa", "tab", "coli", "aa", "prov"),
            encoded("waa", "tab", "col", "iaap", "rov"),
            encoded("waa", "tab", "col", "iaaprov", ""),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|other| other != one), "{i}");
        }
    }

    #[test]
    fn a_binding_states_every_field_in_order() {
        let workspace = "wa".parse().unwrap();
        let integration = "ia".parse().unwrap();
        let provider = IntegrationProvider::GoogleAnalytics;
        let binding = Binding::integration_credentials(&workspace, &integration, &provider);
        assert_eq!(
            taken_apart(&binding.associated_data(&"k1".parse().unwrap())),
            ["v1", "k1", "wa", "integrations", "credentials", "ia", "google_analytics"]
        );
    }

    #[test]
    fn a_provider_of_a_newer_version_binds_by_its_stored_text() {
        let (workspace, integration) = ("wa".parse().unwrap(), "ia".parse().unwrap());
        let key = "k1".parse().unwrap();
        let known = IntegrationProvider::Stripe;
        let unknown = IntegrationProvider::Unknown("stripe".into());
        assert_eq!(
            Binding::integration_credentials(&workspace, &integration, &known)
                .associated_data(&key),
            Binding::integration_credentials(&workspace, &integration, &unknown)
                .associated_data(&key),
        );
    }
}
