//! What a client's certificate says of its bearer: one name, from when, until when, and the tenants
//! whose authorities it leads to. Whether it leads there `server::tls` has found out; here it is
//! read. A common name counts for nothing, a wildcard names nobody, and two names are none.

use crate::base::unit::{NANOS_PER_SECOND, UtcNanos};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Bytes of a name at most.
const NAME_MAX: usize = 255;

/// A certificate that a client showed. One that cannot be read has no name and was never valid.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Certificate {
    tenants: Vec<String>,
    name: Option<String>,
    from: UtcNanos,
    until: UtcNanos,
}

impl Certificate {
    /// Reads one, shown to the tenants whose authorities it leads to.
    pub fn read(der: &[u8], tenants: Vec<String>) -> Certificate {
        let Some((name, (from, until))) = parsed(der) else { return Certificate::default() };
        Certificate { tenants, name, from, until }
    }

    /// Its name, as `dns:...` or `uri:...`: the only subject alternative name it has.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Tenants whose authorities it leads to.
    pub fn tenants(&self) -> &[String] {
        &self.tenants
    }

    /// Whether it counts on a tenant at an instant: a connection may outlive its certificate.
    pub fn counts(&self, tenant: &str, now: UtcNanos) -> bool {
        (self.from..=self.until).contains(&now) && self.tenants.iter().any(|one| one == tenant)
    }
}

/// When a certificate ends.
pub fn end_of(der: &[u8]) -> Option<UtcNanos> {
    parsed(der).map(|(_, (_, until))| until)
}

/// Whether a text can be the name of a certificate: `dns:` and a name in lower case without
/// wildcards, or `uri:` and a URI.
pub fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
        (1..=63).contains(&label.len()) && label.bytes().all(plain)
    };
    text.len() <= NAME_MAX
        && match text.split_once(':') {
            Some(("dns", name)) => name.split('.').all(label),
            Some(("uri", uri)) => {
                let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
                let plain = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
                scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                    && scheme.bytes().all(plain)
                    && uri.bytes().all(|b| b.is_ascii_graphic())
            }
            _ => false,
        }
}

type Read = (Option<String>, (UtcNanos, UtcNanos));

fn parsed(der: &[u8]) -> Option<Read> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    let instant = |seconds: i64| {
        let seconds = u64::try_from(seconds).unwrap_or(0);
        UtcNanos(seconds.saturating_mul(NANOS_PER_SECOND))
    };
    let validity = certificate.validity();
    let times = (instant(validity.not_before.timestamp()), instant(validity.not_after.timestamp()));
    rest.is_empty().then(|| (name_of(&certificate), times))
}

/// The one name of a certificate that is for clients.
fn name_of(certificate: &X509Certificate<'_>) -> Option<String> {
    // The library takes a certificate without this extension for one that is good for everything.
    let usage = certificate.extended_key_usage().ok()??;
    if !usage.value.client_auth {
        return None;
    }
    let names = certificate.subject_alternative_name().ok()??;
    let [only] = names.value.general_names.as_slice() else { return None };
    let name = match only {
        GeneralName::DNSName(name) => format!("dns:{name}"),
        GeneralName::URI(uri) => format!("uri:{uri}"),
        _ => return None,
    };
    is_name(&name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_plain_name_of_a_host_or_a_uri() {
        for good in ["dns:agent.clinic.example", "dns:a", "uri:spiffe://clinic/agent", "uri:urn:x"]
        {
            assert!(is_name(good), "{good}");
        }
        let long = format!("uri:urn:{}", "x".repeat(NAME_MAX));
        for bad in [
            "agent.clinic.example",
            "dns:",
            "dns:*.clinic.example",
            "dns:Agent.example",
            "dns:a.",
            "dns:a..b",
            "dns:a b",
            "uri:",
            "uri:agent",
            "uri::x",
            "uri:1:x",
            "uri:urn:a b",
            "email:a@b.example",
            "cn:agent",
            &long,
        ] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_read_counts_nowhere() {
        let none = Certificate::read(b"no certificate", vec!["main".to_owned()]);
        assert_eq!(none.name(), None);
        assert!(!none.counts("main", UtcNanos(0)) && !none.counts("main", UtcNanos(1)));
        assert_eq!(end_of(&[]), None);
    }
}
