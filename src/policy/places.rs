//! Places of an event at which persons are looked for: below the root, or below one element of an
//! array, through arrays on the way. It never gives a value a meaning.

use crate::format::json::{Kind, Value};
use crate::policy::paths::{Found, Slot, Step};

/// Alternatives in order of preference: the first one that has a value wins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// Ways to a value.
    pub routes: Vec<Route>,
}

/// One way to a value, or to many where it goes through all elements of arrays.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// The path of the event at which it begins; none = the element of `each`.
    pub from: Option<Slot>,
    /// Steps from there.
    pub steps: Vec<Step>,
}

impl Place {
    /// Shows the values there until `see` says that it has seen enough; a null is absent.
    pub fn visit<'t, 'a>(
        &self,
        root: Value<'t, 'a>,
        element: Option<Value<'t, 'a>>,
        found: &Found,
        see: &mut dyn FnMut(Value<'t, 'a>) -> bool,
    ) {
        self.walk(root, element, found, false, see);
    }

    /// Shows the elements of `each`, nulls too: an element that names nobody may be a mistake.
    pub fn elements<'t, 'a>(
        &self,
        root: Value<'t, 'a>,
        found: &Found,
        see: &mut dyn FnMut(Value<'t, 'a>) -> bool,
    ) {
        self.walk(root, None, found, true, see);
    }

    fn walk<'t, 'a>(
        &self,
        root: Value<'t, 'a>,
        element: Option<Value<'t, 'a>>,
        found: &Found,
        nulls: bool,
        see: &mut dyn FnMut(Value<'t, 'a>) -> bool,
    ) {
        for route in &self.routes {
            let start = match route.from {
                Some(slot) => found.value(root, slot),
                None => element,
            };
            let mut any = false;
            if let Some(start) = start {
                go(start, &route.steps, &mut |value| {
                    let shown = nulls || value.kind() != Kind::Null;
                    any |= shown;
                    shown && see(value)
                });
            }
            if any {
                return;
            }
        }
    }

    /// The first value there; a null is absent.
    pub fn value<'t, 'a>(
        &self,
        root: Value<'t, 'a>,
        element: Option<Value<'t, 'a>>,
        found: &Found,
    ) -> Option<Value<'t, 'a>> {
        let mut first = None;
        self.visit(root, element, found, &mut |value| {
            first = Some(value);
            true
        });
        first
    }
}

/// True once enough is seen. Depth is bounded by the steps of the mapping.
fn go<'t, 'a>(
    value: Value<'t, 'a>,
    steps: &[Step],
    see: &mut dyn FnMut(Value<'t, 'a>) -> bool,
) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        return see(value);
    };
    match step {
        Step::Name(name) => value.get(name).is_some_and(|value| go(value, rest, see)),
        step => step.elements(value).any(|value| go(value, rest, see)),
    }
}
