//! The directory: everybody and every token, as every request asks for them. It is built from the
//! documents of the system vault when the service starts. A change is written first and seen here
//! once it is durable, so nobody acts on what a crash could take back; all changes of people and
//! tokens go through one lock, which makes "nobody else has this login" true until it is written.
//!
//! Lock order: `writing`, then `enrolling`, then any one of the rest, which are leaves. It never
//! keeps a lock while a password is hashed, and of them only `writing` while the vault writes.

mod login;
mod people;
mod tokens;

pub use crate::server::identity::directory::login::{Login, Opened};
pub use crate::server::identity::directory::people::{NewHuman, Person};
pub use crate::server::identity::directory::tokens::{Issued, NewToken, TokenInfo};

use crate::base::id::DocumentId;
use crate::base::world::{Entropy, random};
use crate::format::control::DocumentKind;
use crate::server::identity::enrolment::Enrolling;
use crate::server::identity::founding::Founded;
use crate::server::identity::human::Human;
use crate::server::identity::password::{Gate, Phc};
use crate::server::identity::refused::{Refused, Result};
use crate::server::identity::session::Sessions;
use crate::server::identity::throttle::Throttle;
use crate::server::identity::token::{Env, KEY_LABEL, Keeper, Kept, ShortId, Token};
use crate::server::identity::totp::SharedSecret;
use crate::server::identity::{Hands, account};
use crate::vault::Vault;
use crate::vault::error::Error as VaultError;
use crate::vault::registry::{Document, Put};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use zeroize::Zeroizing;

/// Everybody and every token.
pub struct Directory {
    pub(crate) view: RwLock<View>,
    pub(crate) writing: Mutex<()>,
    pub(crate) sessions: Mutex<Sessions>,
    pub(crate) throttle: Mutex<Throttle>,
    pub(crate) enrolling: Mutex<Enrolling>,
    pub(crate) gate: Gate,
    pub(crate) keeper: Keeper,
    /// What is checked where nobody is, so that a stranger costs what a person costs.
    pub(crate) nobody: (Phc, SharedSecret),
    pub(crate) env: Env,
}

/// A document in force.
pub(crate) struct InForce<T> {
    pub(crate) version: u64,
    pub(crate) gone: bool,
    pub(crate) doc: Arc<T>,
}

/// What was read from documents.
#[derive(Default)]
pub(crate) struct View {
    pub(crate) humans: BTreeMap<DocumentId, InForce<Human>>,
    /// People whose document cannot be opened any more: they were erased.
    pub(crate) erased: BTreeSet<DocumentId>,
    /// By login in lower case.
    pub(crate) logins: HashMap<String, DocumentId>,
    pub(crate) tokens: BTreeMap<DocumentId, InForce<Token>>,
    pub(crate) shorts: HashMap<ShortId, DocumentId>,
    pub(crate) guids: HashMap<Kept, DocumentId>,
    pub(crate) founded: Option<Founded>,
}

impl View {
    /// A person who is there.
    pub(crate) fn human(&self, id: DocumentId) -> Option<&Arc<Human>> {
        self.humans.get(&id).filter(|human| !human.gone).map(|human| &human.doc)
    }

    /// The person with a login.
    pub(crate) fn by_login(&self, login: &str) -> Option<(DocumentId, &Arc<Human>)> {
        let id = *self.logins.get(&login.to_ascii_lowercase())?;
        Some((id, self.human(id)?))
    }

    fn set_human(&mut self, id: DocumentId, version: u64, gone: bool, human: Human) {
        if let Some(before) = self.humans.get(&id) {
            self.logins.remove(&before.doc.login.to_ascii_lowercase());
        }
        if !gone {
            self.logins.insert(human.login.to_ascii_lowercase(), id);
        }
        self.humans.insert(id, InForce { version, gone, doc: Arc::new(human) });
    }

    fn set_token(&mut self, id: DocumentId, version: u64, gone: bool, token: Token) {
        self.shorts.insert(ShortId::of(id), id);
        // A name may be given again once it was taken back: who has it now counts.
        if !gone || !self.guids.contains_key(&token.hash) {
            self.guids.insert(token.hash, id);
        }
        self.tokens.insert(id, InForce { version, gone, doc: Arc::new(token) });
    }
}

impl Directory {
    /// Builds the directory of a system vault, and ends the founding if a crash came before that.
    ///
    /// # Errors
    /// Those of the vault; `Evidence` `MALFORMED` for a document that is none of this version;
    /// `Overloaded` when there is no memory for a password check.
    pub fn open(hands: &Hands<'_>, env: Env) -> Result<Directory> {
        let Hands { system, entropy, .. } = *hands;
        let mut view = View::default();
        for document in system.documents(DocumentKind::Human)? {
            match read(&document)? {
                Some(human) => {
                    view.set_human(document.id, document.version, document.gone, human);
                }
                None => {
                    view.erased.insert(document.id);
                }
            }
        }
        for document in system.documents(DocumentKind::Token)? {
            if let Some(token) = read(&document)? {
                view.set_token(document.id, document.version, document.gone, token);
            }
        }
        view.founded = Founded::read(system)?;
        let key = system.service_key(KEY_LABEL)?;
        let keeper = Keeper::new(&key).ok_or(Refused::Overloaded)?;
        let gate = Gate::default();
        let nobody = nobody(entropy, &gate)?;
        let directory = Directory {
            view: RwLock::new(view),
            writing: Mutex::new(()),
            sessions: Mutex::new(Sessions::default()),
            throttle: Mutex::new(Throttle::new(hands.wall())),
            enrolling: Mutex::new(Enrolling::default()),
            gate,
            keeper,
            nobody,
            env,
        };
        let writing = lock(&directory.writing);
        directory.settle_founding(hands, &writing)?;
        drop(writing);
        Ok(directory)
    }

    /// The places at which passwords are checked.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Reads a person's document again, after something other than this directory changed what can
    /// be read of it: an erasure in the system vault. Whoever is gone is out at once.
    ///
    /// # Errors
    /// Those of the vault.
    pub fn refresh(&self, system: &Vault, id: DocumentId) -> Result<()> {
        let writing = lock(&self.writing);
        let found = system.document(DocumentKind::Human, id)?;
        let human = found.as_ref().map(read::<Human>).transpose()?.flatten();
        let mut view = self.change();
        match (found, human) {
            (Some(found), Some(human)) => view.set_human(id, found.version, found.gone, human),
            (Some(_), None) => {
                if let Some(before) = view.humans.remove(&id) {
                    view.logins.remove(&before.doc.login.to_ascii_lowercase());
                }
                view.erased.insert(id);
            }
            (None, _) => {}
        }
        drop(view);
        drop(writing);
        if self.view().human(id).is_none() {
            lock(&self.sessions).close_all(id);
        }
        Ok(())
    }

    /// The view, for reading.
    pub(crate) fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a version of a person, then shows it.
    pub(crate) fn put_human(
        &self,
        hands: &Hands<'_>,
        _writing: &MutexGuard<'_, ()>,
        id: DocumentId,
        human: Human,
    ) -> Result<()> {
        let expect = self.view().humans.get(&id).map_or(0, |known| known.version);
        let subjects = [account(id)];
        let gone = false;
        let kind = DocumentKind::Human;
        let body = body(&human)?;
        hands.system.put_document(&Put {
            kind,
            id,
            expect,
            gone,
            body: &body,
            subjects: &subjects,
        })?;
        self.change().set_human(id, expect + 1, gone, human);
        Ok(())
    }

    /// Writes a version of a token, then shows it.
    pub(crate) fn put_token(
        &self,
        hands: &Hands<'_>,
        _writing: &MutexGuard<'_, ()>,
        id: DocumentId,
        token: Token,
        gone: bool,
    ) -> Result<()> {
        let expect = self.view().tokens.get(&id).map_or(0, |known| known.version);
        let kind = DocumentKind::Token;
        let body = body(&token)?;
        hands.system.put_document(&Put { kind, id, expect, gone, body: &body, subjects: &[] })?;
        self.change().set_token(id, expect + 1, gone, token);
        Ok(())
    }

    /// Changes a person who is there: `edit` sees the version in force and nobody else's change
    /// comes between. Nothing is written when it refuses.
    pub(crate) fn edit_human<T>(
        &self,
        hands: &Hands<'_>,
        id: DocumentId,
        edit: impl FnOnce(&mut Human) -> Result<T>,
    ) -> Result<T> {
        let writing = lock(&self.writing);
        let found = self.view().human(id).cloned();
        let before = found.ok_or(Refused::Unknown { code: "HUMAN_UNKNOWN" })?;
        let mut human = Human::clone(&before);
        let done = edit(&mut human)?;
        if human != *before {
            self.put_human(hands, &writing, id, human)?;
        }
        self.settle_founding(hands, &writing)?;
        Ok(done)
    }

    pub(crate) fn change(&self) -> std::sync::RwLockWriteGuard<'_, View> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Directory {
    /// Counts alone.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let view = self.view();
        write!(f, "Directory({} humans, {} tokens)", view.humans.len(), view.tokens.len())
    }
}

/// What a panic left is a whole value: every change under these locks is one assignment or insert.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A hash and a shared secret that nobody has.
fn nobody(entropy: &dyn Entropy, gate: &Gate) -> Result<(Phc, SharedSecret)> {
    let text = Zeroizing::new(crate::base::id::hex(&random::<32>(entropy)));
    let place = gate.enter()?;
    Ok((Phc::of(&text, entropy, &place)?, SharedSecret::make(entropy)))
}

/// The value a document's body is; none when its keys are gone.
pub(crate) fn read<T: DeserializeOwned>(
    document: &Document,
) -> std::result::Result<Option<T>, VaultError> {
    let Some(body) = &document.body else { return Ok(None) };
    let malformed = |_| {
        let detail = format!(
            "the {} document {} at entry {} is none that this program reads",
            document.kind, document.id, document.index
        );
        VaultError::evidence("MALFORMED", detail)
    };
    serde_json::from_slice(body).map(Some).map_err(malformed)
}

/// The body of a document.
pub(crate) fn body<T: Serialize>(value: &T) -> std::result::Result<Zeroizing<Vec<u8>>, VaultError> {
    let written = serde_json::to_vec(value);
    let written = written.map_err(|_| VaultError::evidence("MALFORMED", "a body without JSON"))?;
    Ok(Zeroizing::new(written))
}
