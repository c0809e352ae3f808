//! The paths a mapping names, compiled once into a trie, and one walk of an event that finds them
//! all. It never allocates while walking, once the scratch vectors have grown.
//!
//! A path is member names joined by dots. Every path has a slot; a walk writes into the slots the
//! tape positions of the values it finds.

use crate::format::json::{Kind, Member, Value, key_digest};

/// Marks a member of the root that no path begins with.
const NOWHERE: u32 = u32::MAX;
/// Children up to which looking through all is faster than searching.
const LINEAR_MAX: usize = 6;

/// Number of a path within its mapping.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Slot(pub u16);

#[derive(Clone, Default, Debug)]
struct Node {
    slot: Option<Slot>,
    /// Ascending by digest.
    children: Vec<Child>,
}

#[derive(Clone, Debug)]
struct Child {
    digest: u32,
    key: Box<str>,
    node: u32,
}

/// The compiled paths of one mapping.
#[derive(Clone, Debug)]
pub struct Paths {
    nodes: Vec<Node>,
    slots: u16,
}

/// What a walk found; reused from event to event.
#[derive(Default, Debug)]
pub struct Found {
    /// Tape position + 1 of each slot's value; 0 = absent.
    values: Vec<u32>,
    /// Whether the value is kept elsewhere, so that it need not stand in the rest.
    kept: Vec<bool>,
    /// Key position and trie node of each member of the root, in order.
    roots: Vec<(u32, u32)>,
}

impl Default for Paths {
    fn default() -> Self {
        Paths { nodes: vec![Node::default()], slots: 0 }
    }
}

impl Paths {
    /// Adds a path and returns its slot; the same path has the same slot. None if it is not a
    /// path: an empty name, a wildcard, or more paths than slots.
    pub fn add(&mut self, path: &str) -> Option<Slot> {
        let mut at = 0u32;
        for name in path.split('.') {
            if name.is_empty() || name.contains(['[', ']', '*']) {
                return None;
            }
            at = self.child_or_new(at, name)?;
        }
        let next = Slot(self.slots);
        let node = self.nodes.get_mut(at as usize)?;
        if let Some(slot) = node.slot {
            return Some(slot);
        }
        node.slot = Some(next);
        self.slots = self.slots.checked_add(1)?;
        Some(next)
    }

    fn child_or_new(&mut self, at: u32, name: &str) -> Option<u32> {
        let digest = key_digest(name);
        let fresh = u32::try_from(self.nodes.len()).ok()?;
        let children = &mut self.nodes.get_mut(at as usize)?.children;
        if let Some(child) = children.iter().find(|child| &*child.key == name) {
            return Some(child.node);
        }
        let place = children.partition_point(|child| child.digest < digest);
        children.insert(place, Child { digest, key: name.into(), node: fresh });
        self.nodes.push(Node::default());
        Some(fresh)
    }

    #[inline]
    fn child(&self, at: u32, member: &Member<'_, '_>) -> Option<u32> {
        let children = &self.nodes.get(at as usize)?.children;
        let digest = member.key.digest();
        let from = if children.len() <= LINEAR_MAX {
            children.iter().position(|child| child.digest == digest)?
        } else {
            children.partition_point(|child| child.digest < digest)
        };
        children
            .get(from..)?
            .iter()
            .take_while(|child| child.digest == digest)
            .find(|child| member.key.is(&child.key))
            .map(|child| child.node)
    }

    /// Finds every path in the event.
    pub fn walk(&self, root: Value<'_, '_>, found: &mut Found) {
        let slots = usize::from(self.slots);
        found.values.clear();
        found.values.resize(slots, 0);
        found.kept.clear();
        found.kept.resize(slots, false);
        found.roots.clear();
        for member in root.members() {
            let node = self.child(0, &member);
            found.roots.push((member.key.index(), node.unwrap_or(NOWHERE)));
            if let Some(node) = node {
                self.enter(node, member.value, found);
            }
        }
    }

    /// Depth is bounded by the longest path of the mapping.
    fn enter(&self, at: u32, value: Value<'_, '_>, found: &mut Found) {
        let Some(node) = self.nodes.get(at as usize) else { return };
        if let Some(slot) = node.slot
            && let Some(place) = found.values.get_mut(usize::from(slot.0))
        {
            *place = value.index() + 1;
        }
        if node.children.is_empty() {
            return;
        }
        for member in value.members() {
            if let Some(child) = self.child(at, &member) {
                self.enter(child, member.value, found);
            }
        }
    }

    /// Whether everything inside this value is kept elsewhere.
    fn is_kept(&self, at: u32, value: Value<'_, '_>, found: &Found) -> bool {
        let Some(node) = self.nodes.get(at as usize) else { return false };
        if node.slot.is_some_and(|slot| found.kept.get(usize::from(slot.0)) == Some(&true)) {
            return true;
        }
        if value.kind() != Kind::Object || node.children.is_empty() {
            return false;
        }
        let mut members = value.members().peekable();
        // An empty object has nothing to keep but itself.
        members.peek().is_some()
            && members.all(|member| {
                self.child(at, &member)
                    .is_some_and(|child| self.is_kept(child, member.value, found))
            })
    }

    /// The members of the root that are not kept elsewhere in whole.
    pub fn rest<'t, 'a, 'f>(
        &'f self,
        root: Value<'t, 'a>,
        found: &'f Found,
    ) -> impl Iterator<Item = Member<'t, 'a>> + 'f
    where
        't: 'f,
        'a: 'f,
    {
        found.roots.iter().filter_map(move |(key, node)| {
            let member = Member::at(root, *key);
            let kept = *node != NOWHERE && self.is_kept(*node, member.value, found);
            (!kept).then_some(member)
        })
    }
}

impl Found {
    /// The value in a slot; a null is absent.
    #[inline]
    pub fn value<'t, 'a>(&self, root: Value<'t, 'a>, slot: Slot) -> Option<Value<'t, 'a>> {
        let index = self.values.get(usize::from(slot.0))?.checked_sub(1)?;
        Some(root.at(index)).filter(|value| value.kind() != Kind::Null)
    }

    /// Says that the value in a slot is kept elsewhere.
    #[inline]
    pub fn keep(&mut self, slot: Slot) {
        if let Some(kept) = self.kept.get_mut(usize::from(slot.0)) {
            *kept = true;
        }
    }

    /// Whether no member of the root was taken out.
    pub fn nothing_kept(&self) -> bool {
        !self.kept.contains(&true)
    }
}
