//! A mapping as its file has it: tables and keys of TOML, nothing understood yet. Unknown keys are
//! refused here. It never gives meaning to a path or a word.

use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSource {
    pub(crate) source: Spanned<String>,
    #[serde(default)]
    pub(crate) fallback: bool,
    #[serde(default)]
    pub(crate) strict: bool,
    #[serde(default)]
    pub(crate) refuse_keys: bool,
    /// Objects whose members are looked at as if they stood at the root.
    #[serde(default)]
    pub(crate) lift: Vec<Spanned<String>>,
    #[serde(default)]
    pub(crate) required: Vec<Spanned<RawPath>>,
    #[serde(default)]
    pub(crate) time: RawTime,
    #[serde(default)]
    pub(crate) dedupe: RawDedupe,
    pub(crate) code: Spanned<RawCode>,
    pub(crate) outcome: Spanned<RawChoice<String>>,
    pub(crate) severity: Spanned<RawChoice<u8>>,
    #[serde(default)]
    pub(crate) map: BTreeMap<Spanned<String>, Spanned<String>>,
    #[serde(default)]
    pub(crate) subject: Vec<Spanned<RawPerson>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTime {
    #[serde(default)]
    pub(crate) paths: Vec<Spanned<String>>,
    #[serde(default)]
    pub(crate) assume_utc: Vec<Spanned<String>>,
    #[serde(default)]
    pub(crate) epoch_ms: Vec<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawDedupe {
    pub(crate) sequence: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) event_id: Vec<RawPath>,
}

/// One path, or alternatives in order of preference.
#[derive(Deserialize, Clone)]
#[serde(untagged)]
pub(crate) enum RawPath {
    One(String),
    Any(Vec<String>),
}

impl RawPath {
    /// The paths in order of preference.
    pub(crate) fn alternatives(&self) -> &[String] {
        match self {
            RawPath::One(path) => std::slice::from_ref(path),
            RawPath::Any(paths) => paths,
        }
    }
}

impl Default for RawPath {
    fn default() -> Self {
        RawPath::Any(Vec::new())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCode {
    #[serde(default)]
    pub(crate) category: RawPath,
    #[serde(default)]
    pub(crate) verb: RawPath,
    #[serde(default)]
    pub(crate) action: RawPath,
    #[serde(default)]
    pub(crate) refine: RawPath,
    #[serde(default)]
    pub(crate) by: RawPath,
    pub(crate) default: String,
    #[serde(default)]
    pub(crate) fold_case: bool,
    #[serde(default)]
    pub(crate) exact: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    pub(crate) verbs: Vec<Spanned<(String, String)>>,
    #[serde(default)]
    pub(crate) categories: Vec<Spanned<(String, String)>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawChoice<T> {
    #[serde(default)]
    pub(crate) value: RawPath,
    pub(crate) default: T,
    #[serde(default = "Vec::new")]
    pub(crate) rule: Vec<RawRule<T>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRule<T> {
    pub(crate) path: RawPath,
    #[serde(rename = "match")]
    pub(crate) matches: Vec<(String, T)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPerson {
    pub(crate) role: RawRole,
    pub(crate) each: Option<RawPath>,
    #[serde(default)]
    pub(crate) when: RawConditions,
    #[serde(default)]
    pub(crate) unless: RawConditions,
    #[serde(default)]
    pub(crate) machines: Vec<String>,
    #[serde(default)]
    pub(crate) blank: Vec<String>,
    pub(crate) list: Option<String>,
    #[serde(default)]
    pub(crate) identifier: Vec<RawIdentifier>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawRole {
    Actor,
    Target,
}

/// One condition, or several.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum RawConditions {
    One(RawCondition),
    Many(Vec<RawCondition>),
}

impl Default for RawConditions {
    fn default() -> Self {
        RawConditions::Many(Vec::new())
    }
}

impl RawConditions {
    /// The conditions in order.
    pub(crate) fn list(self) -> Vec<RawCondition> {
        match self {
            RawConditions::One(condition) => vec![condition],
            RawConditions::Many(conditions) => conditions,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCondition {
    pub(crate) path: RawPath,
    pub(crate) values: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawIdentifier {
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) path: RawPath,
    #[serde(default)]
    pub(crate) join: Vec<RawPath>,
    #[serde(default)]
    pub(crate) with: String,
    #[serde(default)]
    pub(crate) only: Vec<String>,
    #[serde(default)]
    pub(crate) strip: Vec<String>,
    #[serde(default)]
    pub(crate) until: String,
}
