//! Witnesses for tests: the real judge over a simulated disk, reached without a network, that can
//! be switched off, told what to say next, and asked what it was sent.

use crate::support::sim::SimDisk;
use crate::support::world::HandClock;
use chancery::base::secret::Key;
use chancery::base::world::Clock;
use chancery::crypto::sign::SigningKey;
use chancery::format::vkey::{Algorithm, Signer, Verifier};
use chancery::format::witness::{SIZE_TYPE, parse_size};
use chancery::server::witness::{Answer, Witness};
use chancery::vault::witness::{Cosigner, KEY_UNKNOWN, Outside, Said};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

pub(crate) fn home() -> PathBuf {
    PathBuf::from("/witness")
}

pub(crate) fn witness_signer(number: u8) -> Signer {
    let name = format!("witness.example/w{number}");
    let key = SigningKey::new(&Key::new([number; 32]));
    Signer::new(&name, Algorithm::CosignatureV1, key).unwrap()
}

/// The judge of one witness on a disk.
pub(crate) fn judge(disk: &SimDisk, number: u8, logs: &[Verifier]) -> Witness {
    Witness::open(Arc::new(disk.clone()), &home(), witness_signer(number), logs).unwrap()
}

/// One witness as a vault reaches it.
pub(crate) struct Near {
    key: Verifier,
    number: u8,
    pub(crate) disk: SimDisk,
    clock: Arc<HandClock>,
    judge: Mutex<Option<Witness>>,
    /// Said instead of asking the judge, in this order.
    pub(crate) script: Mutex<VecDeque<Said>>,
    pub(crate) down: AtomicBool,
    /// The judge decides and persists, and the answer is lost on the way.
    pub(crate) mute: AtomicBool,
    pub(crate) sent: Mutex<Vec<String>>,
}

impl Near {
    pub(crate) fn new(number: u8, clock: &Arc<HandClock>) -> Arc<Near> {
        let key = witness_signer(number).verifier().clone();
        Arc::new(Near {
            key,
            number,
            disk: SimDisk::new(),
            clock: clock.clone(),
            judge: Mutex::new(None),
            script: Mutex::default(),
            down: AtomicBool::new(false),
            mute: AtomicBool::new(false),
            sent: Mutex::default(),
        })
    }

    /// Teaches it a log.
    pub(crate) fn watch(&self, log: &Verifier) {
        let mut judge = self.judge.lock().unwrap();
        *judge = None;
        *judge = Some(self::judge(&self.disk, self.number, std::slice::from_ref(log)));
    }

    pub(crate) fn size(&self) -> u64 {
        self.judge.lock().unwrap().as_ref().map_or(0, |j| j.watched()[0].1.0)
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    pub(crate) fn say(&self, said: Said) {
        self.script.lock().unwrap().push_back(said);
    }

    pub(crate) fn files(&self, part: &str) -> Vec<PathBuf> {
        let files = self.disk.files();
        files.into_iter().filter(|f| f.to_string_lossy().contains(part)).collect()
    }
}

impl Cosigner for Near {
    fn key(&self) -> &Verifier {
        &self.key
    }

    fn place(&self) -> &str {
        "https://witness.example"
    }

    fn submit(&self, request: &str) -> Said {
        if self.down.load(Ordering::SeqCst) {
            return Said::Unreachable("nobody listens".into());
        }
        self.sent.lock().unwrap().push(request.to_owned());
        if let Some(said) = self.script.lock().unwrap().pop_front() {
            return said;
        }
        let judge = self.judge.lock().unwrap();
        let Some(judge) = judge.as_ref() else { return Said::Refused("404".into()) };
        let answer = judge.add_checkpoint(request.as_bytes(), self.clock.wall());
        if self.mute.load(Ordering::SeqCst) {
            return Said::Unreachable("the answer was lost".into());
        }
        said(&answer)
    }
}

/// An answer as the network half would report it.
pub(crate) fn said(answer: &Answer) -> Said {
    match answer.status {
        200 => Said::Cosigned(answer.body.clone().into_bytes()),
        409 => {
            assert_eq!(answer.content_type, SIZE_TYPE);
            Said::Holds(parse_size(answer.body.as_bytes()).unwrap())
        }
        422 => Said::Unproven,
        403 => Said::Refused(format!("403: {KEY_UNKNOWN}")),
        status => Said::Refused(format!("{status}: {}", answer.body)),
    }
}

pub(crate) fn outside(witnesses: &[Arc<Near>], quorum: usize) -> Outside {
    let witnesses = witnesses.iter().map(|w| w.clone() as Arc<dyn Cosigner>).collect();
    Outside { witnesses, quorum, ..Outside::default() }
}

/// Where the vault keeps a file of its tenant.
pub(crate) fn tenant_file(disk: &SimDisk, home: &Path, name: &str) -> Option<PathBuf> {
    let files = disk.files();
    files.into_iter().find(|f| f.starts_with(home.join("data")) && f.ends_with(name))
}

/// The trust policy of a vault with its witnesses.
pub(crate) fn trust_text(
    vault: &chancery::vault::Vault,
    near: &[Arc<Near>],
    quorum: usize,
) -> String {
    let mut text = format!("log {}\n", vault.log_key());
    let names: Vec<String> = (1..=near.len()).map(|n| format!("w{n}")).collect();
    for (name, one) in names.iter().zip(near) {
        text += &format!("witness {name} {}\n", one.key());
    }
    let quorum = match names.is_empty() {
        true => "quorum none\n".to_owned(),
        false => format!("group all {quorum} {}\nquorum all\n", names.join(" ")),
    };
    format!("{text}{quorum}report {}\n", vault.report_signer().verifier())
}
