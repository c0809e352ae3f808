//! What a tick came to, for operators: missed runs and findings are counted, and whatever keeps a
//! job from running is said, once for each job and reason. It never says what a job found.

use crate::base::id::DocumentId;
use crate::server::metrics::Metrics;
use crate::server::scheduler::Progress;
use crate::server::scheduler::run::Tell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Tells the metrics, and `say` what a person must look at.
pub fn teller(metrics: Arc<Metrics>, say: Box<dyn Fn(&str) + Send>) -> Tell {
    let said: Mutex<BTreeMap<DocumentId, &'static str>> = Mutex::default();
    Box::new(move |told| {
        let progress = match told {
            Ok(progress) => progress,
            Err(code) => {
                say(&format!("{code}: the scheduler cannot go on; it tries again"));
                return;
            }
        };
        count(&metrics, progress);
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, code) in &progress.troubled {
            if said.insert(*id, code) != Some(code) {
                say(&format!("{code}: job {id} does not run: set it anew, or give it up"));
            }
        }
    })
}

fn count(metrics: &Metrics, progress: &Progress) {
    for (task, runs) in &progress.missed {
        metrics.missed(*task, *runs);
    }
    metrics.verify_failed(progress.findings);
}
