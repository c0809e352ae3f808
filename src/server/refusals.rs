//! Refusals of strangers, written down: one entry a minute with a row for each reason and network,
//! and one row for what did not fit. It never names a login that was tried, nor a whole address.

use crate::base::event::Draft;
use crate::server::app::App;
use crate::server::audit::{self, Act, Deed, SOURCE};
use crate::server::problem::Problem;
use serde_json::{Value, json};

impl App {
    /// Writes down what was refused since the last call; nothing if nothing was.
    ///
    /// # Errors
    /// Those of the append; what was counted is then written down by the next call.
    pub fn write_refusals(&self) -> Result<(), Problem> {
        self.directory.record_refusals(self.system())?;
        self.write_unnoted()?;
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
        let draft = Draft { source: SOURCE, json: json.as_bytes() };
        let written = self.system().append_own(&[draft]);
        if written.is_err() {
            self.gate.restore(rows);
        }
        written.map(drop).map_err(Problem::from)
    }

    /// Writes down the refused steps that no order holds; what cannot be written is kept.
    fn write_unnoted(&self) -> Result<(), Problem> {
        let mut failed = None;
        for (tenant, book) in &self.books {
            for (row, count) in book.unnoted() {
                let act = match row.whose {
                    Some((_, who)) => Act::new(Deed::OrderRefused, who),
                    None => Act::by_service(Deed::OrderRefused),
                };
                let order = row.whose.map(|(order, _)| order);
                let act = act.step(order, row.tried, row.code).on(tenant).count(count);
                if let Err(error) = audit::record(self.system(), &act) {
                    book.count_again(row, count);
                    failed = Some(error);
                }
            }
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }
}
