//! May we? Pure decisions over the texts in `policies/`: what a field is, whom it names, how long
//! it is kept, whether an act is allowed. It never acts, and it never reads a file: texts come in.

pub mod access;
pub mod classes;
pub mod classify;
pub mod error;
pub mod fields;
pub mod order;
pub mod paths;
pub mod patterns;
pub mod persons;
pub mod places;
pub mod schedule;
pub mod sources;
pub mod terms;
pub mod times;

use std::collections::BTreeMap;

/// The policy files this binary was built with, by their path below `policies/`.
pub fn default_files() -> BTreeMap<String, String> {
    const FILES: [(&str, &str); 13] = [
        ("classes.toml", include_str!("../../policies/classes.toml")),
        ("fields.toml", include_str!("../../policies/fields.toml")),
        ("sources/azure.toml", include_str!("../../policies/sources/azure.toml")),
        ("sources/canonical.toml", include_str!("../../policies/sources/canonical.toml")),
        ("sources/cloudtrail.toml", include_str!("../../policies/sources/cloudtrail.toml")),
        ("sources/fhir.toml", include_str!("../../policies/sources/fhir.toml")),
        ("sources/github.toml", include_str!("../../policies/sources/github.toml")),
        ("sources/google-cloud.toml", include_str!("../../policies/sources/google-cloud.toml")),
        ("sources/kubernetes.toml", include_str!("../../policies/sources/kubernetes.toml")),
        ("sources/microsoft-365.toml", include_str!("../../policies/sources/microsoft-365.toml")),
        ("sources/okta.toml", include_str!("../../policies/sources/okta.toml")),
        ("sources/plain.toml", include_str!("../../policies/sources/plain.toml")),
        (
            "sources/windows-security.toml",
            include_str!("../../policies/sources/windows-security.toml"),
        ),
    ];
    FILES.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}
