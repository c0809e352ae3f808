//! What lies under a directory: file system, device, whether it turns. Best effort, from `/proc`
//! and `/sys`; what cannot be known is said to be unknown. It decides how honest a promise of
//! destruction can be, so it never guesses for the better.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What is known of a medium.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Medium {
    /// File system type, `unknown` if it cannot be said.
    pub(crate) kind: String,
    /// Device or source of the mount.
    pub(crate) device: String,
    /// True for a turning disk, false for flash, none when unknown.
    pub(crate) rotational: Option<bool>,
}

impl Medium {
    /// The medium of a directory.
    pub(crate) fn of(dir: &Path) -> Medium {
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        let path = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
        let (device, kind) = mount_of(&mounts, &path);
        let rotational = rotational(&device);
        Medium { kind, device, rotational }
    }

    /// What stays behind when a file here is overwritten.
    pub(crate) fn promise(&self) -> &'static str {
        match (self.kind.as_str(), self.rotational) {
            ("btrfs" | "zfs" | "overlay" | "f2fs" | "nilfs2" | "bcachefs", _) => {
                "copy-on-write: an overwritten root slot may stay in old blocks and snapshots"
            }
            ("tmpfs" | "ramfs", _) => "memory: the keys are gone when the machine stops",
            ("nfs" | "nfs4" | "cifs" | "9p" | "fuse.sshfs", _) => {
                "network: what the server keeps of overwritten blocks is not known here"
            }
            (_, Some(false)) => {
                "flash: the controller may keep old blocks until it erases them itself"
            }
            (_, Some(true)) => {
                "turning disk: overwriting in place reaches the block, journals apart"
            }
            _ => "unknown: assume that overwritten blocks may survive",
        }
    }

    /// Name, for a table.
    pub(crate) fn name(&self) -> String {
        let turns = match self.rotational {
            Some(true) => "turning",
            Some(false) => "flash",
            None => "medium unknown",
        };
        format!("{} on {} ({turns})", self.kind, self.device)
    }
}

/// Device and type of the deepest mount that holds a path.
fn mount_of(mounts: &str, path: &Path) -> (String, String) {
    let mut best: Option<(usize, &str, &str)> = None;
    for line in mounts.lines() {
        let mut words = line.split(' ');
        let (Some(device), Some(at), Some(kind)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let at = at.replace("\\040", " ");
        // Later lines hide earlier ones on the same place.
        if path.starts_with(&at) && best.is_none_or(|(len, _, _)| at.len() >= len) {
            best = Some((at.len(), device, kind));
        }
    }
    let unknown = || ("unknown".to_owned(), "unknown".to_owned());
    best.map_or_else(unknown, |(_, device, kind)| (device.to_owned(), kind.to_owned()))
}

fn rotational(device: &str) -> Option<bool> {
    let real = std::fs::canonicalize(device).ok()?;
    let name = real.strip_prefix("/dev").ok()?.to_str()?.to_owned();
    // A virtual disk says whatever its host was told to say.
    if ["vd", "xvd", "loop", "dm-", "md", "nbd", "rbd"].iter().any(|v| name.starts_with(v)) {
        return None;
    }
    let block = std::fs::canonicalize(PathBuf::from("/sys/class/block").join(name)).ok()?;
    // A partition has no queue of its own; its disk is the directory above.
    let places = [block.join("queue/rotational"), block.parent()?.join("queue/rotational")];
    let text = places.iter().find_map(|place| std::fs::read_to_string(place).ok())?;
    match text.trim() {
        "1" => Some(true),
        "0" => Some(false),
        _ => None,
    }
}

/// Free bytes under a directory, as `df` says; none where there is no `df`.
pub(crate) fn free_bytes(dir: &Path) -> Option<u64> {
    let output = Command::new("df").arg("-Pk").arg(dir).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let words: Vec<&str> = text.lines().nth(1)?.split_whitespace().collect();
    words.get(3)?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_counts() {
        let mounts = "rootfs / rootfs rw 0 0\n/dev/sda1 / ext4 rw 0 0\n\
                      tmpfs /run tmpfs rw 0 0\n/dev/sdb /srv/my\\040keys btrfs rw 0 0\n";
        let check = |path: &str, device: &str, kind: &str| {
            assert_eq!(mount_of(mounts, Path::new(path)), (device.to_owned(), kind.to_owned()));
        };
        check("/var/keys", "/dev/sda1", "ext4");
        check("/run/keys", "tmpfs", "tmpfs");
        check("/runner", "/dev/sda1", "ext4");
        check("/srv/my keys/a", "/dev/sdb", "btrfs");
        assert_eq!(mount_of("", Path::new("/")).1, "unknown");
    }
}
