//! Lines between the process that writes and the one that checks. What the writer says is said
//! after it is durable, in one write each, so that a kill leaves whole lines. It never carries an
//! event: both sides know the script.

use crate::base::id::Hash32;
use std::fmt;

/// A receipt, as short as it can be said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Said {
    pub(crate) index: u64,
    pub(crate) duplicate: bool,
    pub(crate) leaf: Hash32,
}

/// What the writing process says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    /// It begins to open the vault.
    Opening,
    /// It is open: entries, milliseconds it took, most address space so far in KiB.
    Open { size: u64, millis: u64, space_kib: u64 },
    /// A batch is durable.
    Acked { writer: u64, batch: u64, receipts: Vec<Said> },
    /// A batch was refused with this code.
    Refused { writer: u64, batch: u64, code: String },
    /// A writer has sent all it had to.
    Done { writer: u64 },
    /// An order was carried out: what it led to.
    Obeyed { order: u64, words: Vec<String> },
    /// An order was refused with this code.
    Disobeyed { order: u64, code: String },
    /// It closed the vault.
    Bye,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Told::Opening => f.write_str("opening"),
            Told::Open { size, millis, space_kib } => write!(f, "open {size} {millis} {space_kib}"),
            Told::Acked { writer, batch, receipts } => {
                write!(f, "acked {writer} {batch}")?;
                receipts.iter().try_for_each(|r| {
                    let mark = if r.duplicate { '=' } else { '+' };
                    write!(f, " {}{mark}{}", r.index, r.leaf)
                })
            }
            Told::Refused { writer, batch, code } => write!(f, "refused {writer} {batch} {code}"),
            Told::Done { writer } => write!(f, "done {writer}"),
            Told::Obeyed { order, words } => write!(f, "obeyed {order} {}", words.join(" ")),
            Told::Disobeyed { order, code } => write!(f, "disobeyed {order} {code}"),
            Told::Bye => f.write_str("bye"),
        }
    }
}

impl Told {
    /// Reads a line; nothing for what this program does not say.
    pub(crate) fn parse(line: &str) -> Option<Told> {
        let mut words = line.split(' ');
        let what = words.next()?;
        let mut number = || words.next()?.parse::<u64>().ok();
        Some(match what {
            "opening" => Told::Opening,
            "open" => Told::Open { size: number()?, millis: number()?, space_kib: number()? },
            "acked" => {
                let (writer, batch) = (number()?, number()?);
                let receipts: Option<Vec<Said>> = words.map(said).collect();
                Told::Acked { writer, batch, receipts: receipts? }
            }
            "refused" => {
                let (writer, batch) = (number()?, number()?);
                Told::Refused { writer, batch, code: words.next()?.to_owned() }
            }
            "done" => Told::Done { writer: number()? },
            "obeyed" => {
                let order = number()?;
                Told::Obeyed { order, words: words.map(str::to_owned).collect() }
            }
            "disobeyed" => {
                let order = number()?;
                Told::Disobeyed { order, code: words.next()?.to_owned() }
            }
            "bye" => Told::Bye,
            _ => return None,
        })
    }
}

fn said(word: &str) -> Option<Said> {
    let (index, leaf) = word.split_once(['=', '+'])?;
    let duplicate = word.contains('=');
    Some(Said { index: index.parse().ok()?, duplicate, leaf: Hash32::parse(leaf)? })
}

/// What the checking process orders.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// Erase a person.
    Erase(u64),
    /// Two names are one person.
    Link(u64, u64),
    /// Hold a person.
    Hold(u64),
    /// Release a case.
    Release(String),
    /// Release every case, known to the checker or not: while anybody is held, nothing expires.
    Free,
    /// Expire what is due.
    Expire,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::Erase(person) => write!(f, "erase {person}"),
            Order::Link(a, b) => write!(f, "link {a} {b}"),
            Order::Hold(person) => write!(f, "hold {person}"),
            Order::Release(case) => write!(f, "release {case}"),
            Order::Free => f.write_str("free"),
            Order::Expire => f.write_str("expire"),
        }
    }
}

impl Order {
    /// Reads an order.
    pub(crate) fn parse(words: &[&str]) -> Option<Order> {
        let number = |word: &str| word.parse::<u64>().ok();
        Some(match words {
            ["erase", person] => Order::Erase(number(person)?),
            ["link", a, b] => Order::Link(number(a)?, number(b)?),
            ["hold", person] => Order::Hold(number(person)?),
            ["release", case] => Order::Release((*case).to_owned()),
            ["free"] => Order::Free,
            ["expire"] => Order::Expire,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood_and_half_a_line_is_not() {
        let leaf = Hash32([7; 32]);
        let receipts = vec![
            Said { index: 5, duplicate: false, leaf },
            Said { index: 6, duplicate: true, leaf },
        ];
        for told in [
            Told::Opening,
            Told::Open { size: 1, millis: 2, space_kib: 3 },
            Told::Acked { writer: 1, batch: 2, receipts },
            Told::Refused { writer: 1, batch: 2, code: "X".into() },
            Told::Done { writer: 3 },
            Told::Obeyed { order: 1, words: vec!["4".into(), "5".into()] },
            Told::Disobeyed { order: 1, code: "X".into() },
            Told::Bye,
        ] {
            assert_eq!(Told::parse(&told.to_string()), Some(told));
        }
        assert_eq!(Told::parse("acked 1 2 5+0707"), None);
        let person = [Order::Erase(1), Order::Link(1, 2), Order::Hold(3)];
        for order in person.into_iter().chain([Order::Free, Order::Expire]) {
            let text = order.to_string();
            assert_eq!(Order::parse(&text.split(' ').collect::<Vec<_>>()), Some(order));
        }
    }
}
