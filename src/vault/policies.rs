//! The policies in force: the newest `config` entry is the truth, its text a sealed field.
//! A differing file is drift and takes effect only by `apply_policies`, with two people when it
//! would shorten what is kept.

use crate::base::entry::Kind;
use crate::base::event::Verb;
use crate::base::id::Hash32;
use crate::base::limits::VAULT_CLASS;
use crate::base::record::Fate;
use crate::base::unit::{ClassId, EntryIndex};
use crate::crypto::hash::sha256;
use crate::format::canon;
use crate::format::cell::Cell;
use crate::format::control::{self, Mode};
use crate::policy::classify::Policies;
use crate::vault::Vault;
use crate::vault::config::Config;
use crate::vault::error::{Error, Result};
use crate::vault::hold::Order;
use crate::vault::open::check_own_classes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

/// Hash of a set of policy files.
///
/// # Errors
/// `Invalid` when they cannot be written as JSON.
pub fn policies_hash(files: &BTreeMap<String, String>) -> Result<(Vec<u8>, Hash32)> {
    let text = canon::to_canonical(files)?;
    let hash = sha256(&[&text]);
    Ok((text, hash))
}

impl Vault {
    /// Records policies as the truth, if those in force are the ones they were written against.
    pub(crate) fn adopt_policies(
        &self,
        policies: &Arc<Policies>,
        files: &BTreeMap<String, String>,
        mode: Mode,
        base: Option<Hash32>,
    ) -> Result<EntryIndex> {
        let (text, hash) = policies_hash(files)?;
        let now = self.inner.clock.now();
        let fields = vec![("config.policies", text)];
        let prepared = self.prepare_json_act(Verb::Update, ClassId(VAULT_CLASS), fields, now)?;
        // Held over the commit: whoever sees the entry in the facts sees its policies too, and two
        // that apply at once follow each other. The sequencer asks for no policies.
        let mut in_force = self.inner.policies.write().unwrap_or_else(PoisonError::into_inner);
        let before = self.facts().policies;
        if base.is_some_and(|base| before.is_none_or(|(_, _, hash)| hash != base)) {
            let first = before.map(|(index, ..)| index);
            let fix = "other policies are in force than these were written against: compare, and \
                       propose them anew";
            let fix = fix.to_owned();
            return Err(Error::Conflict { code: "POLICIES_CHANGED", first, fix });
        }
        let version = before.map_or(1, |(_, version, _)| version + 1);
        let payload = control::Config::Policies { version, policies: hash, mode };
        let done = self.commit_act(Kind::Config, control::encode(&payload)?, prepared, None)?;
        *in_force = policies.clone();
        Ok(done.first)
    }

    /// Loads the policies the log says are in force.
    pub(crate) fn load_policies(&self, config: &Config) -> Result<()> {
        let Some((index, _, hash)) = self.facts().policies else { return Ok(()) };
        if policies_hash(&config.policies)?.1 == hash {
            return Ok(());
        }
        let policies = self.policies_at(index)?;
        *self.inner.policies.write().unwrap_or_else(PoisonError::into_inner) = policies.into();
        Ok(())
    }

    fn policies_at(&self, index: EntryIndex) -> Result<Policies> {
        let record = self.own_record(index)?;
        let lost = || {
            let fate = record.groups.first().copied().unwrap_or(Fate::BodyMissing);
            Error::evidence(fate.name(), "the policies in force cannot be read")
        };
        let text = record.value("config.policies").ok_or_else(lost)?;
        let files: BTreeMap<String, String> = serde_json::from_slice(text).map_err(|_| lost())?;
        let policies = Policies::parse(&files).map_err(|e| Error::denied(e.code, e.to_string()))?;
        check_own_classes(&policies)?;
        Ok(policies)
    }

    /// Whether the files differ from the policies in force.
    ///
    /// # Errors
    /// As `policies_hash`.
    pub fn policy_drift(&self, config: &Config) -> Result<bool> {
        let given = policies_hash(&config.policies)?.1;
        Ok(self.facts().policies.is_some_and(|(_, _, hash)| hash != given))
    }

    /// Puts the files' policies in force. Shortening what is kept, or dropping a class that holds
    /// records, needs two people. Events that were read under the policies before must be in the
    /// log by now: their identifiers have the older form.
    ///
    /// # Errors
    /// `Denied` for bad policies or a missing approver; `CLASS_IN_USE` and
    /// `IDENTIFIER_KIND_IN_USE` for policies that would lose sight of what is there.
    pub fn apply_policies(&self, config: &Config, order: &Order) -> Result<EntryIndex> {
        self.apply_policy_files(&config.policies, None, order)
    }

    /// As `apply_policies`, from texts; with `base` only where the policies in force have this
    /// hash when these follow them.
    ///
    /// # Errors
    /// As `apply_policies`; `Conflict` `POLICIES_CHANGED` when others are in force.
    pub fn apply_policy_files(
        &self,
        files: &BTreeMap<String, String>,
        base: Option<Hash32>,
        order: &Order,
    ) -> Result<EntryIndex> {
        self.writable()?;
        let fresh = self.fit_to_follow(files)?;
        let mode = order.mode()?;
        self.adopt_policies(&Arc::new(fresh), files, mode, base)
    }

    /// Policies of these texts, if they could follow those in force today: nothing that is there
    /// would be lost sight of.
    ///
    /// # Errors
    /// As `apply_policies`, but for people.
    pub fn fit_to_follow(&self, files: &BTreeMap<String, String>) -> Result<Policies> {
        let fresh = Policies::parse(files).map_err(|e| Error::denied(e.code, e.to_string()))?;
        check_own_classes(&fresh)?;
        let old = self.policies();
        for class in old.classes().all() {
            let used = self.facts().groups.keys().any(|day| day.class == class.id);
            if used && fresh.classes().get(class.id).is_none() {
                let fix = format!("class {} has records and must stay defined", class.name);
                return Err(Error::denied("CLASS_IN_USE", fix));
            }
        }
        self.keeps_identifiers(&old, &fresh)?;
        Ok(fresh)
    }

    /// Persons are found by the normal form of an identifier, and their cells cannot be renamed:
    /// under another form nobody known so far would be erased, held or shown any more.
    fn keeps_identifiers(&self, old: &Policies, fresh: &Policies) -> Result<()> {
        let kinds = old.registry().kinds();
        let changed: BTreeSet<&str> = kinds
            .iter()
            .filter(|kind| fresh.registry().kind(&kind.name) != Some(kind))
            .map(|kind| &*kind.name)
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        let mut used = BTreeSet::new();
        self.inner.keys.tree().for_each(&mut |_, cell| {
            if let Ok(Cell::Identifier(cell)) = Cell::decode(cell)
                && let Some(kind) = changed.get(&*cell.identifier.kind)
            {
                used.insert(*kind);
            }
        })?;
        if used.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = used.into_iter().collect();
        let fix = format!(
            "identifiers of the kind {} are known: leave it and its `normalise` as they are and \
             define a new kind; nothing was changed",
            names.join(", ")
        );
        Err(Error::denied("IDENTIFIER_KIND_IN_USE", fix))
    }
}
