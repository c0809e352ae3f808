//! Names of fields and identifier kinds as events hold them, one set a thread. It follows the
//! registry by comparing texts, so that no change of the policies can leave a wrong one behind.

use crate::policy::fields::FieldId;
use std::sync::Arc;

/// A thread's own copies of the registry's names. Every event holds several; were they counted in
/// one place for all threads, the processors would spend their time handing that place around.
#[derive(Default, Debug)]
pub struct Names {
    fields: Vec<Option<Arc<str>>>,
    kinds: Vec<Arc<str>>,
}

impl Names {
    /// The own copy of a field's name.
    pub(crate) fn field(&mut self, id: FieldId, name: &str) -> Arc<str> {
        let at = usize::from(id.0);
        if at >= self.fields.len() {
            self.fields.resize(at + 1, None);
        }
        match self.fields.get_mut(at) {
            Some(Some(own)) if **own == *name => own.clone(),
            Some(slot) => slot.insert(name.into()).clone(),
            None => name.into(),
        }
    }

    /// The own copy of an identifier kind's name.
    pub(crate) fn kind(&mut self, name: &str) -> Arc<str> {
        if let Some(own) = self.kinds.iter().find(|own| ***own == *name) {
            return own.clone();
        }
        let own: Arc<str> = name.into();
        self.kinds.push(own.clone());
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_registry_gives_its_own_names() {
        let mut names = Names::default();
        let first = names.field(FieldId(3), "actor.id");
        assert!(Arc::ptr_eq(&first, &names.field(FieldId(3), "actor.id")));
        assert_eq!(&*names.field(FieldId(3), "actor.name"), "actor.name");
        assert_eq!(&*names.field(FieldId(3), "actor.id"), "actor.id");
        assert!(Arc::ptr_eq(&names.kind("email"), &names.kind("email")));
    }
}
