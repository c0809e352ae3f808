//! What an answer of the vault means for the events that were sent: pure, the same rules as in the
//! Python package (`docs/clients.md` has the table).
//!
//! It never takes a refusal of the request for one of its events: what may be a mistake of
//! configuration parks the emitter, what nobody can read is sent again, and only an answer that
//! speaks of an event takes it out of the way.

use crate::client::Reply;
use serde_json::{Map, Value};

/// Longest clause of an answer that is kept.
const DETAIL_CHARS_MAX: usize = 500;
/// Later than this is asked again all the same.
pub const RETRY_SECONDS_MAX: u64 = 3_600;

/// Why something was not taken.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Why {
    /// HTTP status; 0 when there was no answer.
    pub status: u16,
    /// The vault's code, or ours.
    pub code: String,
    /// Its clause.
    pub detail: String,
}

/// What became of one event.
#[derive(Clone, PartialEq, Debug)]
pub enum Fate {
    /// It is durable: the receipt as it came.
    Receipt(Map<String, Value>),
    /// It will never be taken as it is.
    Dead(Why),
    /// Not now.
    Again(Why),
    /// Not with this configuration.
    Park(Why),
}

/// What an answer says.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    /// One fate an event, in order; the checkpoint they lead to.
    Fates(Vec<Fate>, Map<String, Value>),
    /// The request was refused for one of its events, which one is not said.
    Halve(Why),
    /// Nothing was taken, or nobody knows; send it again.
    Wait(Why),
    /// Nothing will be taken until somebody changes something.
    Park(Why),
}

/// Judges an answer to a request of `n` events.
pub fn judge(reply: &Reply, n: usize) -> Verdict {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
    let list = |name: &str| body.get(name).and_then(Value::as_array).filter(|all| all.len() == n);
    if matches!(reply.status, 200 | 422) {
        let fates = match (list("results"), list("receipts")) {
            (Some(results), _) => results.iter().map(result).collect(),
            (None, Some(receipts)) if reply.status == 200 => receipts.iter().map(receipt).collect(),
            _ => None,
        };
        if let Some(fates) = fates {
            let named = ["checkpoint", "size"].into_iter();
            let top = named.filter_map(|name| Some((name.to_owned(), body.get(name)?.clone())));
            return Verdict::Fates(fates, top.collect());
        }
    }
    let why = why(&body, reply.status);
    let family = why.code.split('_').next().unwrap_or_default().to_owned();
    match reply.status {
        401 | 403 | 404 | 405 | 406 | 411 | 415 | 421 => Verdict::Park(why),
        400 | 409 | 413 | 422 if is_passing(&why.code) => Verdict::Wait(why),
        413 if n > 1 => Verdict::Halve(why),
        // Nothing that reads like the vault: a proxy, perhaps.
        400 | 409 | 413 | 422 if why.code.is_empty() => Verdict::Wait(why),
        400 | 409 | 413 | 422 if is_of_events(&family) => match n {
            1 => Verdict::Fates(vec![Fate::Dead(why)], Map::new()),
            _ => Verdict::Halve(why),
        },
        400 | 409 | 413 | 422 => Verdict::Park(why),
        _ => Verdict::Wait(why),
    }
}

/// Codes that pass by themselves, whatever status they come with.
fn is_passing(code: &str) -> bool {
    let passing = ["OVERLOADED", "STORE_FULL", "CLASS_DAY_EXPIRED"];
    passing.contains(&code)
}

/// First words of codes that speak of an event, not of the request it came in.
fn is_of_events(family: &str) -> bool {
    let families =
        ["JSON", "EVENT", "FIELD", "TIME", "IDENTIFIER", "TOO", "CLEAR", "ENTRY", "DUPLICATE"];
    families.contains(&family) || family == "SUBJECT"
}

fn result(value: &Value) -> Option<Fate> {
    if let Some(taken) = value.get("receipt") {
        return receipt(taken);
    }
    let problem = value.get("problem")?;
    let status = problem.get("status").and_then(Value::as_u64);
    let why = why(problem, status.and_then(|s| u16::try_from(s).ok()).unwrap_or(0));
    let family = why.code.split('_').next().unwrap_or_default();
    Some(match why.status {
        _ if is_passing(&why.code) => Fate::Again(why),
        401 | 403 | 404 => Fate::Park(why),
        _ if matches!(family, "SOURCE" | "TENANT") => Fate::Park(why),
        400..500 if why.status != 429 && !why.code.is_empty() => Fate::Dead(why),
        _ => Fate::Again(why),
    })
}

/// A receipt names its place and its leaf, or it is none.
fn receipt(value: &Value) -> Option<Fate> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let digits = |text: &&str| text.bytes().all(|b| b.is_ascii_digit());
    let index = text("index").filter(digits).filter(|index| index.parse::<u64>().is_ok());
    let leaf = text("leaf").filter(|leaf| !leaf.is_empty());
    (index.is_some() && leaf.is_some()).then(|| value.as_object().cloned().map(Fate::Receipt))?
}

fn why(problem: &Value, status: u16) -> Why {
    let text = |name: &str| problem.get(name).and_then(Value::as_str).unwrap_or_default();
    let plain = |c: &char| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '_';
    let code: String = text("code").chars().take_while(plain).take(64).collect();
    let detail = text("detail").chars().take(DETAIL_CHARS_MAX).collect();
    Why { status, code, detail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reply(status: u16, body: &Value) -> Reply {
        Reply { status, retry_after: None, body: body.to_string().into_bytes() }
    }

    fn name(verdict: &Verdict) -> String {
        let fate = |fate: &Fate| match fate {
            Fate::Receipt(_) => "receipt",
            Fate::Dead(_) => "dead",
            Fate::Again(_) => "again",
            Fate::Park(_) => "park",
        };
        match verdict {
            Verdict::Fates(fates, _) => fates.iter().map(fate).collect::<Vec<_>>().join(" "),
            Verdict::Halve(_) => "HALVE".into(),
            Verdict::Wait(_) => "WAIT".into(),
            Verdict::Park(_) => "PARK".into(),
        }
    }

    /// The Python package is held to the same table (`clients/python/tests/answers.json`).
    #[test]
    fn answers_mean_what_the_table_says() {
        let table = include_str!("../../clients/python/tests/answers.json");
        let table: Value = serde_json::from_str(table).unwrap();
        let rows = table.as_array().unwrap();
        assert!(rows.len() > 30);
        for row in rows {
            let status = u16::try_from(row["status"].as_u64().unwrap()).unwrap();
            let n = usize::try_from(row["n"].as_u64().unwrap()).unwrap();
            let body = match &row["body"] {
                Value::String(raw) => raw.clone().into_bytes(),
                other => other.to_string().into_bytes(),
            };
            let verdict = judge(&Reply { status, retry_after: None, body }, n);
            assert_eq!(name(&verdict), row["means"].as_str().unwrap(), "{row}");
        }
    }

    #[test]
    fn a_long_clause_is_cut_and_a_code_is_a_code() {
        let body = json!({"code": "EVENT_TOO_LARGE<script>", "detail": "x".repeat(9_999)});
        let Verdict::Fates(fates, _) = judge(&reply(422, &body), 1) else { panic!() };
        let [Fate::Dead(why)] = fates.as_slice() else { panic!() };
        assert_eq!((why.code.as_str(), why.detail.len()), ("EVENT_TOO_LARGE", DETAIL_CHARS_MAX));
    }
}
