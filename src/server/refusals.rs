//! Refusals of strangers, written down: one entry a minute with a row for each reason and network,
//! and one row for what did not fit. It never names a login that was tried, nor a whole address.

use crate::base::event::Draft;
use crate::server::app::App;
use crate::server::audit::SOURCE;
use crate::server::problem::Problem;
use serde_json::{Value, json};

impl App {
    /// Writes down what was refused since the last call; nothing if nothing was.
    ///
    /// # Errors
    /// Those of the append; what was counted is then written down by the next call.
    pub fn write_refusals(&self) -> Result<(), Problem> {
        self.directory.record_refusals(self.system())?;
        let rows = self.gate.drain();
        if rows.is_empty() {
            return Ok(());
        }
        let shown: Vec<Value> = rows
            .iter()
            .map(|(row, count)| {
                let from = row.from.map_or_else(|| "elsewhere".to_owned(), |a| a.to_string());
                json!({"code": row.code, "from": from, "count": count})
            })
            .collect();
        let event = json!({
            "action": "request.refuse",
            "category": "authentication",
            "verb": "deny",
            "outcome": "denied",
            "severity": 4,
            "refusals": shown,
        });
        let json = event.to_string();
        let written = self.system().append(&[Draft { source: SOURCE, json: json.as_bytes() }]);
        if written.is_err() {
            self.gate.restore(rows);
        }
        written.map(drop).map_err(Problem::from)
    }
}
