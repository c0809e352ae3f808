//! Patterns of policy files: exact text, or `*` for any run of characters. Nothing else: a
//! reviewer reads a list of patterns without knowing a pattern language.
//! It never backtracks more than one star deep, so matching is at most text x pattern.

/// A pattern over a text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// A pattern; every text is one.
    pub fn new(text: &str) -> Self {
        Pattern(text.into())
    }

    /// Whether the whole text fits. Case matters.
    pub fn matches(&self, text: &str) -> bool {
        let Some((head, rest)) = self.0.split_once('*') else { return &*self.0 == text };
        let Some(mut text) = text.strip_prefix(head) else { return false };
        let mut parts = rest.split('*').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return text.ends_with(part);
            }
            match text.split_once(part) {
                Some((_, after)) => text = after,
                None => return false,
            }
        }
        true
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
