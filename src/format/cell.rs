//! CELL: what a leaf of the shred tree holds. Each cell dies as a whole; links between a
//! person's identifiers live nowhere else. It never leaves a sealed leaf.
//!
//! ```text
//! cell key = HMAC-SHA-256(K_dir, label || name), name by kind:
//!   identifier  chancery/v1/cell/identifier\0 || lp8 kind || lp16 value (normalised)
//!   person      chancery/v1/cell/person\0     || person[16]
//!   class-day   chancery/v1/cell/class-day\0  || class u16 | bucket u32
//!   tenant      chancery/v1/cell/tenant\0
//!
//! identifier  01 | current u8 (0 none, else 1 + position) | n u8 | n x person[16]
//!             | lp8 kind | lp16 value
//! person      02 | person[16] | flags u8 (bit 0: erased in part, no new records)
//!             | created u32 (days) | token key[32]
//!             | n u8 | n x (class u16 | created u32 (days) | key[32]), ascending by class
//!             | m u8 | m x identifier cell key[32], ascending
//!             | k u8 | k x person[16], ascending: other records of the same person, linked later
//! class-day   03 | class u16 | bucket u32 | key[32]
//! tenant      04 | dedupe key[32] | source key[32]
//! ```

use crate::base::event::Identifier;
use crate::base::id::PersonId;
use crate::base::limits;
use crate::base::secret::Key;
use crate::base::unit::{ClassDay, ClassId, Day};
use crate::base::word::Word;
use crate::crypto::kdf::{HmacKey, label};
use crate::format::wire::{Reader, Result, Write, len_of};
use zeroize::Zeroizing;

/// Bytes of a cell, wiped when dropped.
pub type CellBytes = Zeroizing<Vec<u8>>;
/// Where a cell lies in the tree.
pub type CellKey = [u8; 32];

/// An identifier and the persons it names: one current at most, others erased in part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdentifierCell {
    /// Position of the person new records go to.
    pub current: Option<u8>,
    /// All persons, oldest first.
    pub persons: Vec<PersonId>,
    /// The identifier itself, for previews and for finding links.
    pub identifier: Identifier,
}

/// A (person, class) key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClassKey {
    /// Retention class.
    pub class: ClassId,
    /// Day it was made: the first bucket it can have sealed.
    pub created: Day,
    /// The key.
    pub key: Key,
}

/// A person's keys and links.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PersonCell {
    /// The person.
    pub id: PersonId,
    /// Erased in part: what is left waits for a legal floor or a hold; no new records.
    pub retired: bool,
    /// Day the person was first named.
    pub created: Day,
    /// Key of the person's pseudonyms.
    pub token: Key,
    /// Keys, ascending by class.
    pub keys: Vec<ClassKey>,
    /// Cell keys of the person's identifiers, ascending.
    pub links: Vec<CellKey>,
    /// Other handles of the same person, found out later; they are erased together. Ascending.
    pub peers: Vec<PersonId>,
}

/// The tenant's own keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TenantCell {
    /// Key of event id tags.
    pub dedupe: Key,
    /// Key of source handles.
    pub source: Key,
}

/// A decoded cell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cell {
    /// An identifier.
    Identifier(IdentifierCell),
    /// A person.
    Person(PersonCell),
    /// A class-day key.
    ClassDay(ClassDay, Key),
    /// The tenant's own keys.
    Tenant(TenantCell),
}

/// Cell key of an identifier.
pub fn identifier_key(directory: &HmacKey, identifier: &Identifier) -> CellKey {
    let mut name = label::CELL_IDENTIFIER.to_vec();
    name.put_lp8(identifier.kind.as_bytes());
    name.put_lp16(identifier.value.as_bytes());
    directory.mac(&name).0
}

/// Cell key of a person.
pub fn person_key(directory: &HmacKey, person: &PersonId) -> CellKey {
    directory.mac(&[label::CELL_PERSON, &person.0].concat()).0
}

/// Cell key of a class-day key.
pub fn class_day_key(directory: &HmacKey, class_day: ClassDay) -> CellKey {
    let mut name = label::CELL_CLASS_DAY.to_vec();
    name.put_u16(class_day.class.0);
    name.put_u32(class_day.day.0);
    directory.mac(&name).0
}

/// Cell key of the tenant's own keys.
pub fn tenant_key(directory: &HmacKey) -> CellKey {
    directory.mac(label::CELL_TENANT).0
}

impl Cell {
    /// Encodes the cell.
    pub fn encode(&self) -> CellBytes {
        let mut out = Zeroizing::new(Vec::with_capacity(256));
        match self {
            Cell::Identifier(cell) => {
                out.put_u8(1);
                out.put_u8(cell.current.map_or(0, |at| at + 1));
                out.put_u8(len_of(cell.persons.len()));
                cell.persons.iter().for_each(|p| out.raw(&p.0));
                out.put_lp8(cell.identifier.kind.as_bytes());
                out.put_lp16(cell.identifier.value.as_bytes());
            }
            Cell::Person(cell) => {
                out.put_u8(2);
                out.raw(&cell.id.0);
                out.put_u8(u8::from(cell.retired));
                out.put_u32(cell.created.0);
                out.raw(cell.token.expose());
                out.put_u8(len_of(cell.keys.len()));
                for key in &cell.keys {
                    out.put_u16(key.class.0);
                    out.put_u32(key.created.0);
                    out.raw(key.key.expose());
                }
                out.put_u8(len_of(cell.links.len()));
                cell.links.iter().for_each(|l| out.raw(l));
                out.put_u8(len_of(cell.peers.len()));
                cell.peers.iter().for_each(|p| out.raw(&p.0));
            }
            Cell::ClassDay(class_day, key) => {
                out.put_u8(3);
                out.put_u16(class_day.class.0);
                out.put_u32(class_day.day.0);
                out.raw(key.expose());
            }
            Cell::Tenant(cell) => {
                out.put_u8(4);
                out.raw(cell.dedupe.expose());
                out.raw(cell.source.expose());
            }
        }
        out
    }

    /// Decodes a cell.
    ///
    /// # Errors
    /// `Malformed` when the bytes are not the one encoding of a cell.
    pub fn decode(bytes: &[u8]) -> Result<Cell> {
        let mut reader = Reader::new(bytes);
        let cell = match reader.u8("cell kind")? {
            1 => Cell::Identifier(read_identifier(&mut reader)?),
            2 => Cell::Person(read_person(&mut reader)?),
            3 => {
                let class = ClassId(reader.u16("class")?);
                let day = Day(reader.u32("bucket")?);
                Cell::ClassDay(ClassDay { class, day }, read_secret(&mut reader)?)
            }
            4 => Cell::Tenant(TenantCell {
                dedupe: read_secret(&mut reader)?,
                source: read_secret(&mut reader)?,
            }),
            _ => return Err(reader.malformed("unknown cell kind")),
        };
        reader.done()?;
        Ok(cell)
    }
}

fn read_secret(reader: &mut Reader<'_>) -> Result<Key> {
    Ok(Key::new(reader.array("key")?))
}

fn read_identifier(reader: &mut Reader<'_>) -> Result<IdentifierCell> {
    let current = reader.u8("current person")?.checked_sub(1);
    let count = reader.u8("person count")?;
    let mut persons = Vec::new();
    for _ in 0..count {
        persons.push(PersonId(reader.array("person")?));
    }
    if current.is_some_and(|at| at >= count) {
        return Err(reader.malformed("current person is not there"));
    }
    let kind = text(reader.lp8("identifier kind")?, reader)?;
    let value = text(reader.lp16("identifier value")?, reader)?;
    let kind = Word::of(kind).ok_or_else(|| reader.malformed("too many kinds of identifiers"))?;
    let identifier = Identifier { kind, value: value.into() };
    Ok(IdentifierCell { current, persons, identifier })
}

fn text<'a>(bytes: &'a [u8], reader: &Reader<'_>) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|_| reader.malformed("not UTF-8"))
}

fn read_person(reader: &mut Reader<'_>) -> Result<PersonCell> {
    let id = PersonId(reader.array("person")?);
    let flags = reader.u8("person flags")?;
    if flags > 1 {
        return Err(reader.malformed("unknown person flags"));
    }
    let created = Day(reader.u32("created")?);
    let token = read_secret(reader)?;
    let count = usize::from(reader.u8("key count")?);
    let mut keys: Vec<ClassKey> = Vec::new();
    for _ in 0..count {
        let class = ClassId(reader.u16("class")?);
        let created = Day(reader.u32("key created")?);
        if keys.last().is_some_and(|last| last.class >= class) {
            return Err(reader.malformed("keys not ascending by class"));
        }
        keys.push(ClassKey { class, created, key: read_secret(reader)? });
    }
    let count = usize::from(reader.u8("link count")?);
    let mut links: Vec<CellKey> = Vec::new();
    for _ in 0..count {
        let link = reader.array("link")?;
        if links.last().is_some_and(|last| *last >= link) {
            return Err(reader.malformed("links not ascending"));
        }
        links.push(link);
    }
    let count = usize::from(reader.u8("peer count")?);
    let mut peers: Vec<PersonId> = Vec::new();
    for _ in 0..count {
        let peer = PersonId(reader.array("peer")?);
        if peers.last().is_some_and(|last| *last >= peer) {
            return Err(reader.malformed("peers not ascending"));
        }
        peers.push(peer);
    }
    let within = keys.len() <= limits::PERSON_CLASSES_MAX
        && links.len() <= limits::PERSON_LINKS_MAX
        && peers.len() <= limits::PERSON_PEERS_MAX;
    match within {
        true => Ok(PersonCell { id, retired: flags == 1, created, token, keys, links, peers }),
        false => Err(reader.malformed("too many keys, links or peers")),
    }
}
