//! Time-stamps against `openssl ts` as a local authority: what verifies, what does not and why,
//! and what they say about the entries of a vault.

use crate::support::clinic::{Visit, append};
use crate::support::world::{HandClock, config, world};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chancery::base::id::Hash32;
use chancery::base::unit::{EntryIndex, NANOS_PER_SECOND, TreeSize, UtcNanos};
use chancery::crypto::x509::X509Error;
use chancery::format::checkpoint::Checkpoint;
use chancery::format::control::{self, Sight};
use chancery::format::timestamp::{self, Query, StampError, imprint_of, is_for_stamps_alone};
use chancery::format::trust::Trust;
use chancery::forward::http::roots_of_pem;
use chancery::store::disk::{Disk, OsDisk};
use chancery::vault::Vault;
use chancery::vault::anchor::Authority;
use chancery::vault::config::Config;
use chancery::vault::verify::{Options, Report, verify_data};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

const HOUR: u64 = 3_600 * NANOS_PER_SECOND;

/// A certificate authority and one time-stamp authority under it, in files.
struct Local {
    dir: TempDir,
}

/// Key of the authorities, and hash of their signatures.
#[derive(Clone, Copy)]
struct Kind {
    key: &'static [&'static str],
    digest: &'static str,
}

const P256: Kind = Kind { key: &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], digest: "sha256" };
const KINDS: [Kind; 5] = [
    P256,
    Kind { key: &["ec", "-pkeyopt", "ec_paramgen_curve:P-384"], digest: "sha384" },
    Kind { key: &["rsa:2048"], digest: "sha256" },
    Kind { key: &["rsa:2048"], digest: "sha384" },
    Kind { key: &["rsa:3072"], digest: "sha512" },
];

const STAMPING: &str = "critical,timeStamping";

fn openssl(dir: &Path, args: &[&str]) -> Vec<u8> {
    let output = Command::new("openssl").args(args).current_dir(dir).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {args:?}: {error}");
    output.stdout
}

impl Local {
    fn new(kind: Kind) -> Local {
        let local = Local { dir: TempDir::new().unwrap() };
        let dir = local.dir.path();
        let root = [
            &["req", "-x509", "-nodes", "-newkey"],
            kind.key,
            &["-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", "/CN=local root"],
            &["-addext", "basicConstraints=critical,CA:TRUE"],
            &["-addext", "keyUsage=critical,keyCertSign"],
        ];
        openssl(dir, &root.concat());
        let request = [
            &["req", "-nodes", "-newkey"],
            kind.key,
            &["-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=local stamps"],
        ];
        openssl(dir, &request.concat());
        let settings = format!(
            "[ca]\ndefault_ca = c\n[c]\ndatabase = db\nnew_certs_dir = .\nserial = ser\n\
             certificate = ca.pem\nprivate_key = ca.key\ndefault_md = sha256\npolicy = p\n\
             [p]\ncommonName = supplied\n\
             [tsa]\ndefault_tsa = t\n[t]\nserial = serial\ncrypto_device = builtin\n\
             signer_cert = tsa.pem\ncerts = ca.pem\nsigner_key = tsa.key\n\
             signer_digest = {}\ndefault_policy = 1.2.3.4.1\ndigests = sha256, sha512\n\
             accuracy = secs:1, millisecs:500, microsecs:100\nordering = yes\n\
             ess_cert_id_alg = sha256\n",
            kind.digest
        );
        std::fs::write(dir.join("tsa.cnf"), settings).unwrap();
        std::fs::write(dir.join("db"), "").unwrap();
        std::fs::write(dir.join("ser"), "1000\n").unwrap();
        std::fs::write(dir.join("serial"), "01\n").unwrap();
        local.certify("tsa.pem", STAMPING, None);
        local
    }

    /// A certificate for the authority's key.
    fn certify(&self, out: &str, purpose: &str, dates: Option<(&str, &str)>) {
        let extensions = format!(
            "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n\
             extendedKeyUsage={purpose}\n"
        );
        std::fs::write(self.dir.path().join("ext.cnf"), extensions).unwrap();
        let mut args = vec!["ca", "-batch", "-notext", "-config", "tsa.cnf", "-in", "tsa.csr"];
        args.extend(["-out", out, "-extfile", "ext.cnf"]);
        match dates {
            Some((from, to)) => args.extend(["-startdate", from, "-enddate", to]),
            None => args.extend(["-days", "20"]),
        }
        std::fs::write(self.dir.path().join("db"), "").unwrap();
        openssl(self.dir.path(), &args);
    }

    fn reply(&self, query: &[u8]) -> Vec<u8> {
        let dir = self.dir.path();
        std::fs::write(dir.join("q.tsq"), query).unwrap();
        let args = ["ts", "-reply", "-config", "tsa.cnf", "-queryfile", "q.tsq", "-out", "r.tsr"];
        openssl(dir, &args);
        std::fs::read(dir.join("r.tsr")).unwrap()
    }

    fn pinned(&self) -> Vec<Vec<u8>> {
        self.certificate("ca.pem")
    }

    fn certificate(&self, name: &str) -> Vec<Vec<u8>> {
        roots_of_pem(&std::fs::read(self.dir.path().join(name)).unwrap()).unwrap()
    }
}

fn checkpoint(size: u64) -> Checkpoint {
    let origin = "v.example/t/1".to_owned();
    Checkpoint { origin, size: TreeSize(size), root: Hash32([7; 32]) }
}

fn now() -> UtcNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UtcNanos(since.as_nanos() as u64)
}

#[test]
#[ignore = "needs openssl"]
fn authorities_of_every_kind_are_verified_and_so_does_openssl() {
    for kind in KINDS {
        let local = Local::new(kind);
        let query = Query::of(&checkpoint(5), [0xff; 8]);
        let before = now();
        let reply = local.reply(&query.encode());
        let imprint = imprint_of(&checkpoint(5));
        let stamp = timestamp::open(&reply, &imprint, Some(&query.nonce), &local.pinned()).unwrap();
        assert_eq!((stamp.imprint, stamp.accuracy), (imprint, 1_500_100_000));
        assert_eq!(stamp.policy, "1.2.3.4.1");
        assert!(stamp.time.0.abs_diff(before.0) < 60 * NANOS_PER_SECOND);
        assert!(stamp.not_before() < stamp.time && stamp.time < stamp.not_after());
        // The same question and answer by openssl's own verification.
        let dir = local.dir.path();
        std::fs::write(dir.join("data"), checkpoint(5).to_string()).unwrap();
        let args = ["ts", "-verify", "-data", "data", "-in", "r.tsr", "-CAfile", "ca.pem"];
        openssl(dir, &args);
        let args = ["ts", "-verify", "-queryfile", "q.tsq", "-in", "r.tsr", "-CAfile", "ca.pem"];
        openssl(dir, &args);
    }
}

#[test]
#[ignore = "needs openssl"]
fn every_refusal_has_its_name() {
    let local = Local::new(P256);
    let query = Query::of(&checkpoint(5), [1; 8]);
    let reply = local.reply(&query.encode());
    let imprint = imprint_of(&checkpoint(5));
    let (nonce, pinned) = (query.nonce, local.pinned());
    let open = |imprint: &Hash32, nonce: &[u8; 8], pinned: &[Vec<u8>]| {
        timestamp::open(&reply, imprint, Some(nonce), pinned).map(drop)
    };
    assert_eq!(open(&imprint, &nonce, &pinned), Ok(()));
    let other = imprint_of(&checkpoint(6));
    assert_eq!(open(&other, &nonce, &pinned), Err(StampError::Imprint));
    assert_eq!(open(&imprint, &[9; 8], &pinned), Err(StampError::Nonce));
    assert_eq!(open(&imprint, &nonce, &[]), Err(StampError::NotPinned));
    // Another root of the same name.
    let stranger = Local::new(P256);
    let untrusted = open(&imprint, &nonce, &stranger.pinned());
    assert_eq!(untrusted, Err(StampError::X509(X509Error::Chain)));
    // Both pinned: one that fits is enough.
    let both = [stranger.pinned(), pinned.clone()].concat();
    assert_eq!(open(&imprint, &nonce, &both), Ok(()));
    // A certificate that had ended when the stamp was made.
    local.certify("tsa.pem", STAMPING, Some(("20200101000000Z", "20200201000000Z")));
    let expired = timestamp::open(&local.reply(&query.encode()), &imprint, None, &pinned);
    assert_eq!(expired.err(), Some(StampError::X509(X509Error::Expired)));
    // What the authority refuses is no stamp: a hash it does not take.
    let args = ["ts", "-query", "-digest", "ab", "-sha1", "-out", "bad.tsq"];
    let hex = "ab".repeat(20);
    let args = args.map(|a| if a == "ab" { hex.as_str() } else { a });
    openssl(local.dir.path(), &args);
    let bad = std::fs::read(local.dir.path().join("bad.tsq")).unwrap();
    let refused = timestamp::claimed(&local.reply(&bad)).err();
    assert_eq!(refused, Some(StampError::NotGranted { status: 2 }));
}

#[test]
#[ignore = "needs openssl"]
fn a_certificate_must_be_for_stamps_alone_and_critically() {
    let local = Local::new(P256);
    let check = |purpose: &str, expect: bool| {
        local.certify("other.pem", purpose, None);
        let certificate = local.certificate("other.pem");
        assert_eq!(is_for_stamps_alone(&certificate[0]), Some(expect), "{purpose}");
    };
    check(STAMPING, true);
    check("timeStamping", false);
    check("critical,timeStamping,codeSigning", false);
    check("critical,serverAuth", false);
    assert_eq!(is_for_stamps_alone(&local.pinned()[0]), Some(false));
    assert_eq!(is_for_stamps_alone(b"no certificate"), None);
}

#[test]
#[ignore = "needs openssl"]
fn no_changed_byte_changes_what_a_stamp_says() {
    for kind in [P256, KINDS[2]] {
        let local = Local::new(kind);
        let query = Query::of(&checkpoint(5), [1; 8]);
        let reply = local.reply(&query.encode());
        let (imprint, pinned) = (imprint_of(&checkpoint(5)), local.pinned());
        let whole = timestamp::open(&reply, &imprint, Some(&query.nonce), &pinned).unwrap();
        let mut passed = 0;
        for at in 0..reply.len() {
            for mask in [0x01, 0x80] {
                let mut bytes = reply.clone();
                bytes[at] ^= mask;
                if let Ok(stamp) = timestamp::open(&bytes, &imprint, Some(&query.nonce), &pinned) {
                    assert_eq!(stamp, whole, "byte {at} of {}", reply.len());
                    passed += 1;
                }
            }
            assert!(timestamp::open(&reply[..at], &imprint, None, &pinned).is_err());
        }
        // Unsigned parts are there: the status text, a copy of the root, the signer's identifier.
        assert!(passed < reply.len(), "{passed} of {} changes unnoticed", 2 * reply.len());
    }
}

/// A vault on a real disk whose clock stands at the present, moved by some hours.
struct Site {
    home: TempDir,
    clock: Arc<HandClock>,
    config: Config,
    next: u64,
}

impl Site {
    fn new(local: &Arc<Local>, hours_ahead: i64) -> (Site, Vault) {
        let home = TempDir::new().unwrap();
        let start = now().0.saturating_add_signed(hours_ahead * HOUR as i64);
        let clock = HandClock::at(&UtcNanos(start).to_string());
        let mut config = config(home.path());
        config.outside.pinned = local.pinned();
        let world = world(Arc::new(OsDisk), &clock, 3);
        let vault = Vault::init(world, &config, "v.example").unwrap();
        (Site { home, clock, config, next: 1 }, vault)
    }

    fn add(&mut self, vault: &Vault, count: u64) -> EntryIndex {
        let visits: Vec<Visit> =
            (self.next..self.next + count).map(|n| Visit::new(n, "n", &format!("p{n}"))).collect();
        self.next += count;
        append(vault, &visits).unwrap()[0].index
    }

    fn verify(&self, trust: &str) -> Report {
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        let trust = Trust::parse(trust).unwrap();
        let (data, options) = (self.config.data.clone(), Options::default());
        verify_data(&disk, &data, Some(&trust), &options, &mut |_, _| {}).unwrap()
    }

    fn anchors(&self) -> Vec<PathBuf> {
        let tenants = self.home.path().join("data/tenants");
        let tenant = std::fs::read_dir(tenants).unwrap().next().unwrap().unwrap().path();
        let files = std::fs::read_dir(tenant.join("anchors")).into_iter().flatten();
        let mut files: Vec<PathBuf> = files.map(|f| f.unwrap().path()).collect();
        files.sort();
        files
    }
}

fn trust_of(vault: &Vault, local: &Local) -> String {
    let keys = [vault.log_key().clone()];
    let trust = Trust::of(&keys, &[vault.report_signer().verifier().clone()]).unwrap();
    format!("{trust}tsa local {}\n", STANDARD.encode(&local.pinned()[0]))
}

#[test]
#[ignore = "needs openssl"]
fn a_stamped_checkpoint_bounds_the_entries_around_it() {
    let local = Arc::new(Local::new(P256));
    let (mut site, vault) = Site::new(&local, 0);
    let early = site.add(&vault, 3);
    let (size, query) = vault.timestamp_query().unwrap();
    assert_eq!(vault.timestamp_query().unwrap().1, query, "the same question until it is answered");
    let reply = local.reply(&query);
    // Answers that do not fit are not kept.
    let foreign = local.reply(&Query::of(&checkpoint(5), [3; 8]).encode());
    assert_eq!(vault.timestamp_take(&foreign).err().unwrap().code(), "TIMESTAMP_IMPRINT");
    let mut asked = Query::parse(&query).unwrap();
    asked.nonce[3] ^= 1;
    let other = local.reply(&asked.encode());
    assert_eq!(vault.timestamp_take(&other).err().unwrap().code(), "TIMESTAMP_NONCE");
    assert_eq!(site.anchors().len(), 1);
    let (stamped, stamp) = vault.timestamp_take(&reply).unwrap();
    assert_eq!(stamped, size);
    assert_eq!(site.anchors().len(), 2);
    let named = vault.entry(EntryIndex(vault.size().0 - 1)).unwrap();
    let said: control::Config = control::decode(&named.head.clear).unwrap();
    let control::Config::Anchor { sight, size: of, time, .. } = said else { panic!("{said:?}") };
    assert_eq!((sight, of, time), (Sight::Timestamp, size, stamp.time));
    // Taken twice, it is named once.
    let entries = vault.size();
    vault.timestamp_take(&reply).unwrap();
    assert_eq!(vault.size(), entries);
    let late = site.add(&vault, 1);
    let above = vault.bounds(early).unwrap().not_after.unwrap();
    assert_eq!((above.time, above.size), (stamp.not_after(), size));
    let below = vault.bounds(late).unwrap().not_before.unwrap();
    assert_eq!((below.time, below.named), (stamp.not_before(), Some(named.index)));
    vault.checkpoint().unwrap();
    let trust = trust_of(&vault, &local);
    drop(vault);
    let report = site.verify(&trust);
    assert_eq!(report.exit_code(), 0, "{:?}", report.verdicts);
    assert_eq!((report.anchors, report.anchors_verified), (1, 1));
    assert_eq!(report.seen.unwrap().not_after, stamp.not_after());
    assert_eq!(Trust::parse(&Trust::parse(&trust).unwrap().to_string()), Trust::parse(&trust));
    // A trust file that pins another authority believes nothing of it.
    let stranger = Local::new(P256);
    let other = trust
        .replace(&STANDARD.encode(&local.pinned()[0]), &STANDARD.encode(&stranger.pinned()[0]));
    let report = site.verify(&other);
    assert_eq!((report.exit_code(), report.anchors_verified), (0, 0));
    assert!(report.has("TIMESTAMP_UNTRUSTED", None));
    // Another token in its place is not the one the entry names.
    let tsr = site.anchors().into_iter().find(|f| f.extension().unwrap() == "tsr").unwrap();
    std::fs::write(&tsr, local.reply(&query)).unwrap();
    assert!(site.verify(&trust).has("ANCHOR_MISMATCH", Some(named.index)));
    std::fs::write(&tsr, &foreign).unwrap();
    assert_eq!(site.verify(&trust).exit_code(), 1);
}

#[test]
#[ignore = "needs openssl"]
fn attack_9_times_on_the_wrong_side_of_a_stamp_are_named() {
    let local = Arc::new(Local::new(P256));
    for (ahead, side) in [(2, "after"), (-2, "before")] {
        let (mut site, vault) = Site::new(&local, ahead);
        let early = site.add(&vault, 2);
        let (_, query) = vault.timestamp_query().unwrap();
        vault.timestamp_take(&local.reply(&query)).unwrap();
        let late = site.add(&vault, 1);
        vault.checkpoint().unwrap();
        let trust = trust_of(&vault, &local);
        drop(vault);
        let report = site.verify(&trust);
        let forged = if side == "after" { early } else { late };
        assert!(report.has("TIME_BRACKET", Some(forged)), "{side}: {:?}", report.verdicts);
    }
}

/// The local authority behind the trait, as `cli` would pass an HTTP one.
struct Asked {
    local: Arc<Local>,
    times: AtomicU64,
    failing: AtomicU64,
}

impl Authority for Asked {
    fn place(&self) -> &str {
        "openssl"
    }

    fn stamp(&self, query: &[u8]) -> Result<Vec<u8>, String> {
        self.times.fetch_add(1, Ordering::SeqCst);
        let failing = self.failing.load(Ordering::SeqCst);
        if failing > 0 {
            self.failing.store(failing - 1, Ordering::SeqCst);
            return Err("closed for lunch".into());
        }
        Ok(self.local.reply(query))
    }
}

#[test]
#[ignore = "needs openssl"]
fn after_each_day_seal_the_authority_is_asked_once_and_again_when_it_was_closed() {
    let local = Arc::new(Local::new(P256));
    let (mut site, vault) = Site::new(&local, -48);
    drop(vault);
    let (times, failing) = (AtomicU64::new(0), AtomicU64::new(1));
    let asked = Arc::new(Asked { local: local.clone(), times, failing });
    site.config.outside.authority = Some(asked.clone());
    let world = world(Arc::new(OsDisk), &site.clock, 4);
    let vault = Vault::open(world, &site.config).unwrap();
    site.add(&vault, 2);
    vault.seek_witnesses().unwrap();
    assert_eq!(asked.times.load(Ordering::SeqCst), 0, "no day has ended");
    site.clock.pass_days(1);
    site.add(&vault, 1);
    let until = |what: &dyn Fn() -> bool| {
        for _ in 0..2000 {
            vault.settle();
            vault.seek_witnesses().unwrap();
            if what() {
                return;
            }
            std::thread::yield_now();
        }
        panic!("it never came to that");
    };
    until(&|| asked.times.load(Ordering::SeqCst) == 1);
    assert!(vault.witnessing().stamping.unwrap().contains("closed for lunch"));
    vault.seek_witnesses().unwrap();
    assert_eq!(asked.times.load(Ordering::SeqCst), 1, "not before its pause is over");
    site.clock.pass(61 * NANOS_PER_SECOND);
    until(&|| site.anchors().iter().any(|f| f.extension().unwrap() == "tsr"));
    for _ in 0..3 {
        site.add(&vault, 1);
        vault.seek_witnesses().unwrap();
    }
    assert_eq!(asked.times.load(Ordering::SeqCst), 2, "once a day");
}
