//! The certificate files of the listeners, looked at again and again: what is put in their place is
//! used from the next connection on. What cannot be used is said once and changes nothing. A file
//! is read when it has been the same for one look, so that one half written is left alone.

use crate::base::unit::{NANOS_PER_SECOND, UtcNanos};
use crate::server::listen::Tls;
use crate::server::tls::Settings;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Nanoseconds after which a certificate that could not be made is tried again: an hour.
const RETRY_NANOS: u64 = 3_600 * NANOS_PER_SECOND;

/// What tells whether a file is another: inode, length, seconds and nanoseconds of its change.
type Stamp = Option<(u64, u64, i64, i64)>;

/// Reads the files; why they cannot be used, in words that name them and nothing in them.
pub(crate) type Load = Box<dyn Fn(UtcNanos) -> Result<Settings, String> + Send>;

/// The watch over the files of the listeners.
pub(crate) struct Watch {
    tls: Tls,
    paths: Vec<PathBuf>,
    load: Load,
    /// Whether what is there must be made anew.
    is_over: Box<dyn Fn(UtcNanos) -> bool + Send>,
    seen: Vec<Stamp>,
    used: Vec<Stamp>,
    /// When what could not be made anew is tried again.
    again: UtcNanos,
}

impl Watch {
    /// Over files whose settings are in use: `stamps` are those from before they were read.
    pub(crate) fn new(
        tls: Tls,
        (paths, stamps): (Vec<PathBuf>, Vec<Stamp>),
        load: Load,
        is_over: Box<dyn Fn(UtcNanos) -> bool + Send>,
    ) -> Watch {
        let (seen, again) = (stamps.clone(), UtcNanos(0));
        Watch { tls, paths, load, is_over, seen, used: stamps, again }
    }

    /// Looks. None: nothing is new. Otherwise when the certificate in use from now on ends, or why
    /// the one before stays.
    pub(crate) fn look(&mut self, now: UtcNanos) -> Option<Result<UtcNanos, String>> {
        let found = stamps(&self.paths);
        let at_rest = found == self.seen;
        self.seen = found;
        let is_over = self.seen == self.used && now >= self.again && (self.is_over)(now);
        if !at_rest || (self.seen == self.used && !is_over) {
            return None;
        }
        let loaded = (self.load)(now);
        // Making a certificate writes files: those are the ones in use.
        if loaded.is_ok() && (self.seen == self.used) {
            self.seen = stamps(&self.paths);
        }
        self.used = self.seen.clone();
        if loaded.is_err() {
            self.again = UtcNanos(now.0.saturating_add(RETRY_NANOS));
        }
        Some(loaded.map(|settings| {
            let until = settings.until;
            self.tls.replace(settings);
            until
        }))
    }
}

/// The stamps of files as they are now.
pub(crate) fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| stamp(path);
    paths.iter().map(stamp).collect()
}

fn stamp(path: &Path) -> Stamp {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::certificate;
    use crate::cli::world::world;
    use crate::server::tls::server_config;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn now() -> UtcNanos {
        world().clock.wall()
    }

    fn settings(pem: &[u8]) -> Result<Settings, String> {
        server_config(pem, pem, &[], world().clock).map_err(|why| why.0.to_owned())
    }

    #[test]
    fn files_are_read_once_they_rest_and_what_cannot_be_used_is_said_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("server.pem");
        let pem = certificate::ensure(&dir.path().join("a"), now()).unwrap().pem;
        std::fs::write(&file, &pem).unwrap();
        let paths = vec![file.clone()];
        let read = file.clone();
        let load = move |_: UtcNanos| settings(&std::fs::read(&read).unwrap());
        let tls = Tls::new(settings(&pem).unwrap());
        let stamps = stamps(&paths);
        let mut watch = Watch::new(tls, (paths, stamps), Box::new(load), Box::new(|_| false));
        assert!(watch.look(now()).is_none());
        std::fs::write(&file, &pem[..100]).unwrap();
        assert!(watch.look(now()).is_none(), "it may still be written");
        let why = watch.look(now()).unwrap().unwrap_err();
        assert_eq!(why, "tls_cert holds no certificate in PEM");
        assert!(watch.look(now()).is_none());
        std::fs::write(&file, &pem).unwrap();
        assert!(watch.look(now()).is_none());
        assert!(watch.look(now()).unwrap().unwrap() > now());
        assert!(watch.look(now()).is_none());
        std::fs::remove_file(&file).unwrap();
        assert!(watch.look(now()).is_none());
    }

    #[test]
    fn a_certificate_made_here_is_made_anew_before_its_end_and_a_failure_waits_an_hour() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().to_owned();
        let first = certificate::ensure(&home, now()).unwrap().pem;
        let paths = certificate::files(&home);
        let made = home.clone();
        let works = Arc::new(AtomicBool::new(false));
        let may = works.clone();
        let load = move |now| match may.load(Ordering::Relaxed) {
            true => settings(&certificate::ensure(&made, now).unwrap().pem),
            false => Err("no".to_owned()),
        };
        let over = home.clone();
        let is_over = move |now| certificate::is_over(&over, now);
        let (tls, stamps) = (Tls::new(settings(&first).unwrap()), stamps(&paths));
        let mut watch = Watch::new(tls, (paths, stamps), Box::new(load), Box::new(is_over));
        assert!(watch.look(now()).is_none());
        let late = UtcNanos(now().0 + 380 * 86_400 * NANOS_PER_SECOND);
        assert!(watch.look(late).unwrap().is_err());
        assert!(watch.look(late).is_none());
        works.store(true, Ordering::Relaxed);
        let later = UtcNanos(late.0 + RETRY_NANOS);
        let until = watch.look(later).unwrap().unwrap();
        assert!(until > later);
        let second = std::fs::read(home.join("server.pem")).unwrap();
        assert_ne!(second, first);
        assert!(watch.look(now()).is_none());
    }
}
