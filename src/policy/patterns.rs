//! Patterns of policy files: exact text, or `*` for any run of characters. Nothing else: a
//! reviewer reads a list of patterns without knowing a pattern language.
//! It never backtracks more than one star deep, so matching is at most text x pattern.

/// A pattern over a text. The common forms have their own variant: a mapping tries dozens of
/// patterns on every event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern(Form);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Form {
    Exact(Box<str>),
    Prefix(Box<str>),
    Suffix(Box<str>),
    /// What stands before the first star, between the stars, after the last.
    Parts(Box<str>, Vec<Box<str>>, Box<str>),
}

impl Pattern {
    /// A pattern; every text is one.
    pub fn new(text: &str) -> Self {
        let Some((head, rest)) = text.split_once('*') else {
            return Pattern(Form::Exact(text.into()));
        };
        let (middle, tail) = rest.rsplit_once('*').map_or((None, rest), |(m, t)| (Some(m), t));
        Pattern(match (head, middle, tail) {
            (head, None, "") => Form::Prefix(head.into()),
            ("", None, tail) => Form::Suffix(tail.into()),
            (head, middle, tail) => {
                let middle = middle.into_iter().flat_map(|text| text.split('*'));
                Form::Parts(head.into(), middle.map(Box::from).collect(), tail.into())
            }
        })
    }

    /// Whether the whole text fits. Case matters.
    pub fn matches(&self, text: &str) -> bool {
        match &self.0 {
            Form::Exact(exact) => **exact == *text,
            Form::Prefix(head) => text.as_bytes().starts_with(head.as_bytes()),
            Form::Suffix(tail) => text.as_bytes().ends_with(tail.as_bytes()),
            Form::Parts(head, middle, tail) => {
                let Some(mut text) = text.strip_prefix(&**head) else { return false };
                for part in middle {
                    match text.split_once(&**part) {
                        Some((_, after)) => text = after,
                        None => return false,
                    }
                }
                text.ends_with(&**tail)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, expect) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*$", "HOST$", true),
            ("*$", "HOST", false),
            ("Get*", "GetUser", true),
            ("Get*", "get", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("*", "", true),
            ("**", "x", true),
            ("", "", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(text), expect, "{pattern} {text}");
        }
    }
}
