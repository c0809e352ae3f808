//! Evidence: gathered through the vault's verbs, rendered, signed. It never queries past the vault.
//!
//! `gather` fills `inputs` by one pass over the entries of a period, and `evidence` from the vault;
//! `catalogue` says which controls there are, `rules` decides them, `model` is the document;
//! `render`, `canvas` and `pdf` print it, `csv` lists its populations, `manifest` is signed.
//! The same inputs give the same bytes. No status word says that a law is met.

pub mod canvas;
pub mod catalogue;
pub mod csv;
pub mod evidence;
pub mod gather;
pub mod inputs;
pub mod manifest;
pub mod model;
mod overview;
pub mod pdf;
pub mod render;
pub mod rules;
pub mod tally;

use crate::base::id::hex;
use crate::report::catalogue::Catalogue;
use crate::report::evidence::Facts;
use crate::report::inputs::Inputs;
use crate::report::model::{Naming, Report};
use crate::report::pdf::PdfError;
use crate::report::rules::Context;

/// Why no report can be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BuildError {
    /// The period ends before it begins, or at once.
    PeriodEmpty,
    /// The facts were taken before the period began.
    CutOffBeforePeriod,
}

impl std::fmt::Display for BuildError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            BuildError::PeriodEmpty => "the period is empty",
            BuildError::CutOffBeforePeriod => "the cut-off lies before the period",
        })
    }
}

impl std::error::Error for BuildError {}

/// Decides every control and puts the document together.
pub fn build(inputs: &Inputs, catalogue: &Catalogue, facts: &Facts) -> Result<Report, BuildError> {
    let period = inputs.scope.period;
    if period.start >= period.end {
        return Err(BuildError::PeriodEmpty);
    }
    if facts.cut_off < period.start {
        return Err(BuildError::CutOffBeforePeriod);
    }
    let context = Context { inputs, facts, catalogue };
    let mut controls: Vec<_> =
        catalogue.controls.iter().map(|c| rules::evaluate(&context, c)).collect();
    controls.sort_by_key(|c| c.status.rank());
    let naming = naming(inputs, catalogue, facts);
    let id = naming.id();
    Ok(Report {
        kind: catalogue.framework.clone(),
        title: catalogue.title.clone(),
        tenant: facts.tenant_name.clone(),
        facts: first_page(&naming, catalogue, &id),
        controls,
        sections: overview::sections(&context),
        naming,
        id,
    })
}

/// The files of a report, ascending by name: `report.json`, `report.pdf`, `tables/*.csv`. The
/// manifest (`manifest::Manifest::of`) is made over them and is not among them.
pub fn files(report: &Report) -> Result<Vec<(String, Vec<u8>)>, PdfError> {
    let json = report.json();
    let pdf = pdf::write(report, &json)?;
    let mut files = vec![("report.pdf".to_owned(), pdf), (pdf::EMBEDDED.to_owned(), json)];
    files.extend(report.tables().map(|t| (format!("tables/{}.csv", t.id), csv::write(t))));
    files.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(files)
}

fn naming(inputs: &Inputs, catalogue: &Catalogue, facts: &Facts) -> Naming {
    Naming {
        origin: inputs.scope.origin.clone(),
        tenant: inputs.scope.tenant,
        framework: catalogue.framework.clone(),
        catalogue_version: catalogue.version.clone(),
        catalogue_sha256: catalogue.sha256,
        period_start: inputs.scope.period.start,
        period_end: inputs.scope.period.end,
        checkpoint: inputs.integrity.as_ref().map(|i| (i.size.0, i.root)),
        generation: facts.generation.0,
        nonce: facts.nonce,
        requester: facts.requester.clone(),
        cut_off: facts.cut_off,
        software: facts.software.clone(),
        leaves_sha256: inputs.leaves_sha256(),
        entries: inputs.entries.count,
        supersedes: facts.supersedes.clone(),
    }
}

fn first_page(naming: &Naming, catalogue: &Catalogue, id: &str) -> Vec<(&'static str, String)> {
    let (size, root) = match naming.checkpoint {
        Some((size, root)) => (size.to_string(), root.to_string()),
        None => ("none".into(), "no verification was made".into()),
    };
    let mut facts = vec![
        ("Report", id.to_owned()),
        ("Tenant", naming.tenant.to_string()),
        ("Log", naming.origin.clone()),
        (
            "Period (UTC)",
            format!("{} up to, not including, {}", naming.period_start, naming.period_end),
        ),
        ("Cut-off", naming.cut_off.to_string()),
        ("Requested by", naming.requester.clone()),
        ("Entries in the period", naming.entries.to_string()),
        ("Checkpoint size", size),
        ("Checkpoint root", root),
        ("Key generation", naming.generation.to_string()),
        (
            "Catalogue",
            format!("{} version {}, in force {}", catalogue.framework, catalogue.version, {
                catalogue.effective
            }),
        ),
        ("Catalogue SHA-256", catalogue.sha256.to_string()),
        ("Legal text", catalogue.source.clone()),
        ("Nonce", hex(&naming.nonce)),
        ("Software", naming.software.clone()),
    ];
    if let Some(other) = &naming.supersedes {
        facts.push(("Supersedes report", other.clone()));
    }
    facts
}
