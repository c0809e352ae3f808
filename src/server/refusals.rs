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
    /// Those of the append; what was counted is then lost but for the sum in the next message.
    pub fn write_refusals(&self) -> Result<(), Problem> {
        self.directory.record_refusals(self.system())?;
        let rows = self.gate.drain();
        if rows.is_empty() {
            return Ok(());
        }
        let rows: Vec<Value> = rows
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
            "refusals": rows,
        });
        let json = event.to_string();
        self.system().append_own(&[Draft { source: SOURCE, json: json.as_bytes() }])?;
        Ok(())
    }
}
