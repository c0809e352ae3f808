//! The paths a mapping names, compiled once into a trie, and one walk of an event that finds them
//! all. It never allocates while walking, once the scratch vectors have grown.
//!
//! A path is member names joined by dots; a name in double quotes may hold dots. Of an array `[0]`
//! is the first element, `[name=value]` the first that has this member. Every path has a slot; a
//! walk writes into the slots the tape positions of the values it finds.

use crate::format::json::{Kind, Member, Value, key_digest};

/// Marks a member of the root that no path begins with.
const NOWHERE: u32 = u32::MAX;
/// Children up to which looking through all is faster than searching.
const LINEAR_MAX: usize = 6;

/// Number of a path within its mapping.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Slot(pub u16);

/// One step of a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// To the member of this name.
    Name(Box<str>),
    /// To the first element of an array.
    First,
    /// To the first element of an array that has this member with this text.
    With(Box<str>, Box<str>),
    /// To every element of an array. A slot holds one value, so no slot's path has this step.
    Each,
}

/// The steps of a path; none if the text is not a path.
pub fn steps(mut text: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    loop {
        let (name, rest) = match text.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => text.split_at(text.find(['.', '[']).unwrap_or(text.len())),
        };
        let quoted = text.starts_with('"');
        if name.is_empty() || !quoted && name.contains([']', '*', '"']) {
            return None;
        }
        steps.push(Step::Name(name.into()));
        text = rest;
        while let Some(inside) = text.strip_prefix('[') {
            let (which, rest) = inside.split_once(']')?;
            steps.push(match (which, which.split_once('=')) {
                ("0", _) => Step::First,
                ("*", _) => Step::Each,
                (_, Some((name, value))) if !name.is_empty() && !name.contains(['*', '"', '[']) => {
                    Step::With(name.into(), value.into())
                }
                _ => return None,
            });
            text = rest;
        }
        match text.strip_prefix('.') {
            Some(rest) => text = rest,
            None => return text.is_empty().then_some(steps),
        }
    }
}

impl Step {
    /// The elements of an array to which this step goes; of what is no array, none.
    pub fn elements<'t, 'a>(
        &self,
        array: Value<'t, 'a>,
    ) -> impl Iterator<Item = Value<'t, 'a>> + use<'t, 'a, '_> {
        let most = if *self == Step::Each { usize::MAX } else { 1 };
        let fits = |element: &Value<'t, 'a>| match self {
            Step::Name(_) => false,
            Step::First | Step::Each => true,
            Step::With(name, text) => element.get(name).is_some_and(|value| {
                value.string().map_or_else(|| *value.raw() == **text, |found| *found == **text)
            }),
        };
        array.elements().filter(fits).take(most)
    }
}

#[derive(Clone, Default, Debug)]
struct Node {
    slot: Option<Slot>,
    /// Elements of the array to which paths go, and their nodes.
    picks: Vec<(Step, u32)>,
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
    /// Adds a path and returns its slot; the same path has the same slot. None if no slot can hold
    /// it: it goes to every element, it has no step, or there are more paths than slots.
    pub fn add(&mut self, path: &[Step]) -> Option<Slot> {
        path.first()?;
        let mut at = 0u32;
        for step in path {
            at = match step {
                Step::Name(name) => self.child_or_new(at, name)?,
                Step::First | Step::With(..) => self.pick_or_new(at, step)?,
                Step::Each => return None,
            };
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

    fn pick_or_new(&mut self, at: u32, step: &Step) -> Option<u32> {
        let fresh = u32::try_from(self.nodes.len()).ok()?;
        let picks = &mut self.nodes.get_mut(at as usize)?.picks;
        if let Some((_, node)) = picks.iter().find(|(known, _)| known == step) {
            return Some(*node);
        }
        picks.push((step.clone(), fresh));
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
        for (step, pick) in &node.picks {
            for element in step.elements(value) {
                self.enter(*pick, element, found);
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_steps() {
        let name = |name: &str| Step::Name(name.into());
        for (text, expect) in [
            ("a", Some(vec![name("a")])),
            ("a.b-c", Some(vec![name("a"), name("b-c")])),
            ("a[0].b", Some(vec![name("a"), Step::First, name("b")])),
            ("a[*][0]", Some(vec![name("a"), Step::Each, Step::First])),
            ("a[b=c d].e", Some(vec![name("a"), Step::With("b".into(), "c d".into()), name("e")])),
            (r#"a."b.c/d""#, Some(vec![name("a"), name("b.c/d")])),
            (r#""a[*]"[*]"#, Some(vec![name("a[*]"), Step::Each])),
            ("", None),
            (".", None),
            ("a.", None),
            ("a..b", None),
            ("a[1]", None),
            ("a[b]", None),
            ("a[=b]", None),
            ("a[b=c", None),
            ("a[*]b", None),
            ("[0]", None),
            ("a*", None),
            ("a]", None),
            (r#""a"#, None),
            (r#""a"b"#, None),
            (r#"a"b"#, None),
            (r#""""#, None),
        ] {
            assert_eq!(steps(text), expect, "{text}");
        }
    }
}
