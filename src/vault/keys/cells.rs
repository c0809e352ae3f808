//! Cells of persons and identifiers read from the key tree: who is meant, and who is the same
//! human. It never caches, and never hands a key to a sealer.

use crate::base::event::Identifier;
use crate::base::id::PersonId;
use crate::base::secret::Key;
use crate::base::world::Entropy;
use crate::crypto::kdf::HmacKey;
use crate::format::cell::{self, Cell, CellKey, PersonCell};
use crate::store::keytree::KeyTree;
use crate::vault::error::Result;
use std::collections::BTreeSet;

/// Reads a cell.
///
/// # Errors
/// Those of the store; `Evidence` when its bytes are no cell.
pub(crate) fn read_cell(tree: &KeyTree, key: &CellKey) -> Result<Option<Cell>> {
    match tree.get(key)? {
        Some(bytes) => Ok(Some(Cell::decode(&bytes)?)),
        None => Ok(None),
    }
}

/// Reads the cell of a person.
///
/// # Errors
/// As `read_cell`.
pub(crate) fn read_person(
    tree: &KeyTree,
    directory: &HmacKey,
    person: &PersonId,
) -> Result<Option<PersonCell>> {
    match read_cell(tree, &cell::person_key(directory, person))? {
        Some(Cell::Person(cell)) => Ok(Some(cell)),
        _ => Ok(None),
    }
}

/// Persons an identifier names in this tree, with all peers.
///
/// # Errors
/// As `read_cell`.
pub(crate) fn persons_in(
    tree: &KeyTree,
    directory: &HmacKey,
    identifier: &Identifier,
) -> Result<Vec<PersonId>> {
    let found = read_identifier(tree, directory, identifier)?;
    let mut persons = found.map_or_else(Vec::new, |found| found.persons);
    let mut at = 0;
    while let Some(person) = persons.get(at).copied() {
        let peers = read_person(tree, directory, &person)?.map_or_else(Vec::new, |p| p.peers);
        for peer in peers {
            if !persons.contains(&peer) {
                persons.push(peer);
            }
        }
        at += 1;
    }
    Ok(persons)
}

/// Cells of everybody who is the same human as one of these: their peers, and every handle, also
/// one erased in part, that an identifier of theirs names.
///
/// # Errors
/// As `read_cell`.
pub(crate) fn same_human(
    tree: &KeyTree,
    directory: &HmacKey,
    persons: &[PersonId],
) -> Result<Vec<PersonCell>> {
    let mut found = Vec::new();
    let (mut seen, mut links) = (BTreeSet::new(), BTreeSet::new());
    let mut next: Vec<PersonId> = persons.to_vec();
    while let Some(person) = next.pop() {
        if !seen.insert(person) {
            continue;
        }
        let Some(cell) = read_person(tree, directory, &person)? else { continue };
        next.extend(cell.peers.iter().copied());
        for link in cell.links.iter().filter(|link| links.insert(**link)) {
            if let Some(Cell::Identifier(identifier)) = read_cell(tree, link)? {
                next.extend(identifier.persons);
            }
        }
        found.push(cell);
    }
    Ok(found)
}

pub(crate) fn read_identifier(
    tree: &KeyTree,
    directory: &HmacKey,
    identifier: &Identifier,
) -> Result<Option<cell::IdentifierCell>> {
    match read_cell(tree, &cell::identifier_key(directory, identifier))? {
        Some(Cell::Identifier(cell)) => Ok(Some(cell)),
        _ => Ok(None),
    }
}

/// The tenant's own keys, made once.
pub(crate) fn tenant_cell(entropy: &dyn Entropy) -> Cell {
    let fresh = || Key::new(crate::base::world::random(entropy));
    Cell::Tenant(cell::TenantCell { dedupe: fresh(), source: fresh() })
}
