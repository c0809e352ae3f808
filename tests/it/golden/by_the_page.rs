//! The same vectors again, from `docs/format.md` alone: nothing of the crate is used here but
//! published primitives. Literal numbers are the page's.

use crate::golden::complete;
use crate::golden::crate_side::{FIELDS, Vectors};
use aes_gcm::aead::{Aead, KeyInit, Payload};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signer as _;
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

pub(crate) type Hash = [u8; 32];

const DAY: u32 = 20_778;
const NOW: u64 = 20_778 * 86_400_000_000_000 + 1_234_567_890;

pub(crate) fn h(parts: &[&[u8]]) -> Hash {
    Sha256::digest(parts.concat()).into()
}

pub(crate) fn mac(key: &[u8], parts: &[&[u8]]) -> Hash {
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).unwrap();
    mac.update(&parts.concat());
    mac.finalize().into_bytes().into()
}

pub(crate) fn expand(key: &[u8], info: &str) -> Hash {
    let mut out = [0; 32];
    Hkdf::<Sha256>::from_prk(key).unwrap().expand(info.as_bytes(), &mut out).unwrap();
    out
}

pub(crate) fn hkdf(salt: &[u8], ikm: &[u8], info: &[u8]) -> Hash {
    let mut out = [0; 32];
    Hkdf::<Sha256>::new(Some(salt), ikm).expand(info, &mut out).unwrap();
    out
}

fn aead(key: &[u8], nonce: &[u8; 12], msg: &[u8], aad: &[u8]) -> Vec<u8> {
    let cipher = aes_gcm::Aes256Gcm::new_from_slice(key).unwrap();
    cipher.encrypt(nonce.into(), Payload { msg, aad }).unwrap()
}

pub(crate) fn unseal(key: &[u8], nonce: &[u8], msg: &[u8], aad: &[u8]) -> Option<Vec<u8>> {
    let nonce: &[u8; 12] = nonce.try_into().unwrap();
    let cipher = aes_gcm::Aes256Gcm::new_from_slice(key).unwrap();
    cipher.decrypt(nonce.into(), Payload { msg, aad }).ok()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub(crate) fn lp8(b: &[u8]) -> Vec<u8> {
    [&[b.len() as u8], b].concat()
}

pub(crate) fn lp16(b: &[u8]) -> Vec<u8> {
    [&(b.len() as u16).to_be_bytes(), b].concat()
}

pub(crate) fn lp32(b: &[u8]) -> Vec<u8> {
    [&(b.len() as u32).to_be_bytes(), b].concat()
}

/// RFC 6962, 2.1.
fn tree(leaves: &[Vec<u8>]) -> Hash {
    match leaves {
        [] => h(&[]),
        [leaf] => h(&[&[0], leaf]),
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            h(&[&[1], &tree(left), &tree(right)])
        }
    }
}

/// Members of control payloads, in the order of RFC 8785; words in capitals are put in.
const PAYLOADS: &str = "\
erase-intent: basis=\"gdpr-17-1\" classes=[4,5] deferred=[FLOOR] generation=6 \
job=JOB mode=\"two-person\" persons=PERSONS\n\
erase-done: classes=[4,5] deferred=[HOLD] intent=8 job=JOB persons=PERSONS \
replicas=\"1/1\" root=ROOT store=\"D\"\n\
erase-done.missed: classes=[4,5] deferred=[HOLD] intent=8 job=JOB missed=HANDLE \
persons=PERSONS replicas=\"1/2\" root=ROOT store=\"D\"\n\
erase-final: done=9 job=JOB replicas=\"2/2\"\n\
prune-intent: class_days=[DAYS] generation=6 job=JOB policy=POLICY\n\
prune-done: class_days=[GONE] intent=8 job=JOB root=ROOT\n\
prune-done.missed: class_days=[GONE] intent=8 job=JOB missed=HANDLE root=ROOT\n\
hold-set.days: case=CASE mode=\"two-person\" scope=OVER\n\
hold-set.person: case=CASE mode=\"two-person\" scope=WHOM\n\
hold-release: case=CASE mode=\"scheduled\"\n\
disclose: act=\"read\" fields=[\"actor.email\"] first=1 last=2 records=2\n\
disclose.ordered: act=\"export\" fields=[\"actor.email\"] first=1 last=2 mode=\"two-person\" \
records=2\n\
disclose.ground: act=\"read\" fields=[\"actor.email\"] first=1 ground=\"rights-of-others\" last=2 \
records=2\n\
growth-intent: generation=6 what=\"growth-intent\"\n\
growth-done: root=ROOT what=\"growth-done\"\n\
policies: mode=\"single-operator\" policies=POLICY version=1 what=\"policies\"\n\
link: mode=\"two-person\" persons=PERSONS what=\"link\"\n\
source: source=HANDLE what=\"source\"\n\
document: gone=false id=HANDLE kind=\"human\" version=3 what=\"document\"\n\
mirror-forgotten: mode=\"two-person\" replica=HANDLE what=\"mirror-forgotten\"\n\
restriction: begins=true person=HANDLE what=\"restriction\"\n\
correction: corrects=7 what=\"correction\"\n\
unwitnessed: size=7 what=\"unwitnessed\" witnesses=2\n\
anchor: hash=POLICY sight=\"timestamp\" size=7 time=TIME what=\"anchor\"\n\
conflict: first=1";

/// A seal's members.
const SEAL: &str = "class_root=H4 class_rows=4 count_root=H2 count_rows=2 end=131072 \
entries=65536 first=65536 index_root=H5 index_rows=5 root=H1 source_root=H3 source_rows=3 \
t_first=T1 t_last=T2";

/// A JSON string.
fn q(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// An object from `member=value` words; a word of `values` stands for its text.
fn o(members: &str, values: &[(&str, &str)]) -> String {
    let member = |word: &str| {
        let (name, value) = word.split_once('=').unwrap();
        let inner = value.trim_matches(['[', ']']);
        let found = values.iter().find(|(word, _)| *word == inner);
        let value = found.map_or(value.to_owned(), |(word, text)| value.replace(word, text));
        format!("{}:{value}", q(name))
    };
    let members: Vec<String> = members.split(' ').map(member).collect();
    assert!(members.is_sorted());
    format!("{{{}}}", members.join(","))
}

/// Name, type 01 key and what it signs.
struct NoteKey(String, ed25519_dalek::SigningKey);

impl NoteKey {
    fn new(role: &str, seed: u8) -> Self {
        let name = format!("vault.example/{role}/{}", "11".repeat(16));
        NoteKey(name, ed25519_dalek::SigningKey::from_bytes(&[seed; 32]))
    }

    fn typed(&self) -> Vec<u8> {
        [&[1], self.1.verifying_key().as_bytes().as_slice()].concat()
    }

    fn id(&self) -> [u8; 4] {
        h(&[self.0.as_bytes(), b"\n", &self.typed()])[..4].try_into().unwrap()
    }

    fn vkey(&self) -> String {
        format!("{}+{}+{}", self.0, hex(&self.id()), STANDARD.encode(self.typed()))
    }

    fn line(&self, text: &str) -> String {
        let signature = self.1.sign(text.as_bytes()).to_bytes();
        let blob = [self.id().as_slice(), &signature].concat();
        format!("\u{2014} {} {}\n", self.0, STANDARD.encode(blob))
    }
}

#[derive(Default)]
struct Page {
    out: Vectors,
}

/// Everything.
pub(crate) fn vectors() -> Vectors {
    let mut page = Page::default();
    page.keys();
    let entries = page.log();
    page.frames();
    page.notes(&entries);
    page.unit(&entries);
    crate::golden::derived::page().iter().for_each(|(name, bytes)| page.put(name, bytes));
    page.tables(&entries);
    complete::by_the_page(&mut page.out, &entries);
    page.payloads();
    page.cells();
    page.out
}

impl Page {
    fn put(&mut self, name: &str, bytes: &[u8]) {
        self.out.insert(name.to_owned(), hex(bytes));
    }

    fn text(&mut self, name: &str, text: &str) {
        self.out.insert(name.to_owned(), text.to_owned());
    }

    fn get(&self, name: &str) -> Vec<u8> {
        let hex = &self.out[name];
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    }

    fn keys(&mut self) {
        // November 2026 is month (2026 - 1970) * 12 + 10.
        let month = 682_u32.to_be_bytes();
        for byte in [0xa1, 0xa2] {
            let tags = expand(&[byte; 32], "chancery/v1/tag\0");
            self.put(&format!("tag.subject.{byte:x}"), &mac(&tags, &[&[0x10, 7], &month])[..16]);
        }
        self.put("key.seal.a1", &expand(&[0xa1; 32], "chancery/v1/seal\0"));
        let source = mac(&[0x50; 32], &[&[0x10, 8], b"ehr"]);
        self.put("tag.source", &source[..16]);
        let id = mac(&[0xde; 32], &[&[0x10, 6], &source[..16], b"\"e-1\""]);
        self.put("tag.event_id", &id[..16]);
        let label = "chancery/v1/service/token\0";
        self.put("service_key", &expand(&[0xde; 32], label));
        self.put("tag.token", &mac(&[0x70; 32], &[&[0x10, 9], b"siem.example"])[..16]);
        for (number, (name, group, value)) in FIELDS.iter().enumerate() {
            let salt = h(&[&[0x10, 1], &[*group; 32], &(number as u16).to_be_bytes()]);
            let (name, value) = (lp8(name.as_bytes()), lp32(value.as_bytes()));
            let commit = h(&[&[0x10, 2], &[0x22; 16], &[*group], &salt, &name, &value]);
            self.put(&format!("salt.{number}"), &salt);
            self.put(&format!("commit.{number}"), &commit);
        }
    }

    /// Subjects' keys in the order of their tags.
    fn order(&self) -> Vec<(Vec<u8>, u8)> {
        let mut order: Vec<(Vec<u8>, u8)> =
            [0xa1, 0xa2].map(|b| (self.get(&format!("tag.subject.{b:x}")), b)).into();
        order.sort();
        order
    }

    fn second(&self) -> u8 {
        u8::from(self.order()[1].1 == 0xa2)
    }

    fn log(&mut self) -> Vec<Vec<u8>> {
        let (log, report) = (NoteKey::new("t", 0x51), NoteKey::new("r", 0x52));
        let clear = o(
            "format=1 generation=1 log_key=LOG origin=ORIGIN report_key=REPORT root=R tenant=T",
            &[
                ("LOG", &q(&log.vkey())),
                ("ORIGIN", &q(&log.0)),
                ("REPORT", &q(&report.vkey())),
                ("R", &q(&"77".repeat(32))),
                ("T", &q(&"11".repeat(16))),
            ],
        );
        self.text("control.genesis", &clear);
        let zero = [0; 16];
        let genesis = head(14, 0, 10, NOW, 0x23, &zero, &zero, 0, [16, 1, 1, 0]);
        let genesis = [genesis, vec![0; 4], lp16(clear.as_bytes())].concat();
        let least = head(0, 2, 10, 0, 0x24, &zero, &[0xfe; 16], 9, [16, 1, 1, 10]);
        let least = [least, vec![0; 4], lp16(b"")].concat();
        let (mut entries, mut prev) = (Vec::new(), [0; 32]);
        for (index, mut bytes) in [genesis, self.event(), least].into_iter().enumerate() {
            while (1 + bytes.len()) % 64 != 0 {
                bytes.push(0);
            }
            bytes.extend((index as u64).to_be_bytes());
            bytes.extend(NOW.to_be_bytes());
            bytes.extend(prev);
            assert_eq!(bytes.len() % 64, 47);
            prev = h(&[&[0], &bytes]);
            self.put(&format!("entry.{index}"), &bytes);
            self.put(&format!("leaf.{index}"), &prev);
            entries.push(bytes);
        }
        entries
    }

    fn event(&self) -> Vec<u8> {
        let (id, source) = (self.get("tag.event_id"), self.get("tag.source"));
        let mut bytes = head(0, 1, 4, NOW, 0x22, &id, &source, 0, [5, 2, 1, 3]);
        bytes.extend([2, 3, 0, 4]);
        self.order().into_iter().for_each(|(tag, _)| bytes.extend(tag));
        for (policy, positions) in [(1, vec![0, 1]), (1, vec![self.second()]), (0, vec![])] {
            bytes.extend([policy, 0, 4]);
            bytes.extend(DAY.to_be_bytes());
            bytes.extend(lp8(&positions));
        }
        for (number, (name, group, _)) in FIELDS.iter().enumerate() {
            bytes.extend(lp8(name.as_bytes()));
            bytes.push(*group);
            bytes.extend(self.get(&format!("commit.{number}")));
        }
        bytes.extend(lp16(br#"{"purpose":"treatment"}"#));
        bytes
    }

    fn frames(&mut self) {
        let tenant = [0x11; 16];
        let file = [b"CHB1", &tenant[..], &[0, 4], &DAY.to_be_bytes(), &[0; 6]].concat();
        self.put("body.file", &file);
        let order = self.order();
        let seal = |byte: u8| expand(&[byte; 32], "chancery/v1/seal\0").to_vec();
        let both: Vec<u8> = order.iter().flat_map(|(_, byte)| seal(*byte)).collect();
        let inputs = [both, seal(0xa2), b"chancery/v1/nosubject\0".to_vec()];
        for (at, ikm) in inputs.iter().enumerate() {
            let (g, policy) = (at as u8, u8::from(at < 2));
            let own: Vec<usize> = (0..4).filter(|n| FIELDS[*n].1 == g).collect();
            let commits: Vec<u8> =
                own.iter().flat_map(|n| self.get(&format!("commit.{n}"))).collect();
            let digest = h(&[&[0x10, 3], &commits]);
            let place = [&[policy, 0, 4][..], &DAY.to_be_bytes()].concat();
            let base =
                hkdf(&[0xd0; 32], ikm, &[b"chancery/v1/group\0", &tenant[..], &place].concat());
            let key = mac(&base, &[&[0x10, 4], &[0x22; 16], &[g], &digest]);
            let tags: Vec<u8> = match g {
                0 => order.iter().flat_map(|(tag, _)| tag.clone()).collect(),
                1 => self.get("tag.subject.a2"),
                _ => Vec::new(),
            };
            let count = [(tags.len() / 16) as u8];
            let aad = [&[0x10, 5][..], &tenant, &[0x22; 16], &[g], &place, &count, &tags, &digest]
                .concat();
            let mut plain = [&[g; 32][..], &(own.len() as u16).to_be_bytes()].concat();
            for (name, _, value) in own.iter().map(|n| FIELDS[*n]) {
                plain.extend([lp8(name.as_bytes()), lp32(value.as_bytes())].concat());
            }
            plain.resize(plain.len().next_multiple_of(32), 0);
            let nonce = [0x90 + g; 12];
            let sealed = aead(&key, &nonce, &plain, &aad);
            let covered = [&[g, 1][..], &[0x22; 16], &nonce, &sealed].concat();
            let front = [sealed.len() as u32, crc32fast::hash(&covered)].map(u32::to_be_bytes);
            let frame = [&front.concat()[..], &1_u64.to_be_bytes(), &covered].concat();
            let all: [(&str, &[u8]); 6] = [
                ("digest", &digest),
                ("base", &base),
                ("group_key", &key),
                ("aad", &aad),
                ("plain", &plain),
                ("frame", &frame),
            ];
            all.iter().for_each(|(name, bytes)| self.put(&format!("{name}.{at}"), bytes));
        }
    }

    fn notes(&mut self, entries: &[Vec<u8>]) {
        let (log, report) = (NoteKey::new("t", 0x51), NoteKey::new("r", 0x52));
        let text = format!("{}\n3\n{}\n", log.0, STANDARD.encode(tree(entries)));
        let note = format!("{text}\n{}", log.line(&text));
        self.text("checkpoint", &note);
        let trust = format!("log {}\nquorum none\nreport {}\n", log.vkey(), report.vkey());
        self.text("trust", &trust);
        let leaf = |n: usize| STANDARD.encode(h(&[&[0], &entries[n]]));
        let extra = STANDARD.encode(&entries[1]);
        let (before, after) = (leaf(0), leaf(2));
        let proof =
            format!("c2sp.org/tlog-proof@v1\nextra {extra}\nindex 1\n{before}\n{after}\n\n{note}");
        self.text("proof", &proof);
        let next = NoteKey::new("t", 0x53);
        let text = format!(
            "{}\nchancery/key-roll/v1\nold {}\nnew {}\nuntil 3\n",
            log.0,
            log.vkey(),
            next.vkey()
        );
        self.text("roll", &format!("{text}\n{}{}", log.line(&text), next.line(&text)));
        let json = |text: &str| serde_json::to_string(text).unwrap();
        let fields = [0, 1].map(|n| {
            let (name, group, value) = FIELDS[n];
            let salt = &self.out[&format!("salt.{n}")];
            let value = json(value);
            format!(r#"{{"group":{group},"name":"{name}","salt":"{salt}","value":{value}}}"#)
        });
        let fields = fields.join(",");
        let disclosure = format!(
            r#"{{"fields":[{fields}],"format":"chancery/disclosure/v1","proof":{}}}"#,
            json(&proof)
        );
        self.text("disclosure", &disclosure);
    }

    fn unit(&mut self, entries: &[Vec<u8>]) {
        let lists = [lp16(&entries[1]), lp16(&entries[2])].concat();
        let len = (118 + 22 + lists.len() + 32 + 64) as u64;
        let mut head = b"CHU1".to_vec();
        [len, 1, 2].iter().for_each(|n: &u64| head.extend(n.to_be_bytes()));
        head.extend([0x66; 32]);
        [1, 3].iter().for_each(|n: &u64| head.extend(n.to_be_bytes()));
        head.extend(tree(entries));
        head.extend(1_u64.to_be_bytes());
        head.extend([0, 1, 0, 4]);
        head.extend(DAY.to_be_bytes());
        [32, 500].iter().for_each(|n: &u64| head.extend(n.to_be_bytes()));
        let hash = h(&[b"chancery/v1/unit\0", &head]);
        let message = [b"chancery/v1/unit-signature\0".as_slice(), &hash].concat();
        let key = ed25519_dalek::SigningKey::from_bytes(&[0x51; 32]);
        let signature = key.sign(&message).to_bytes();
        self.put("unit", &[head, lists, hash.to_vec(), signature.to_vec()].concat());
    }

    /// Three entries: genesis (vault.create), event 1 (data.read, source, tags), event 2 (seq 9).
    fn tables(&mut self, _entries: &[Vec<u8>]) {
        let (source, id) = (self.get("tag.source"), self.get("tag.event_id"));
        let n = |n: u64| n.to_be_bytes().to_vec();
        let mut count: Vec<Vec<u8>> = vec![
            [vec![5, 2, 1, 0, 4, 0], n(1)].concat(),
            [vec![16, 1, 1, 0, 10, 0], n(1)].concat(),
            [vec![16, 1, 1, 0, 10, 14], n(1)].concat(),
        ];
        let row = |handle: &[u8], numbers: [u64; 3], gapless| {
            let [numbered, low, high] = numbers.map(n);
            [handle.to_vec(), n(1), numbered, low, high, vec![gapless]].concat()
        };
        let mut sources = vec![
            row(&[0; 16], [0, 0, 0], 0),
            row(&source, [0, 0, 0], 0),
            row(&[0xfe; 16], [1, 9, 9], 1),
        ];
        let class_day = [&[0, 4][..], &DAY.to_be_bytes()].concat();
        let mut class = vec![[class_day.clone(), n(3)].concat()];
        let mut index = Vec::new();
        let mut add = |kind: u8, key: &[u8], at: u64| {
            let mut key = key.to_vec();
            key.resize(16, 0);
            index.push([vec![kind], key, n(at)].concat());
        };
        self.order().iter().for_each(|(tag, _)| add(1, tag, 1));
        [(0, [16, 1]), (1, [5, 2]), (2, [16, 1])].iter().for_each(|(at, code)| add(2, code, *at));
        [[0; 16].as_slice(), &source, &[0xfe; 16]]
            .iter()
            .zip(0..)
            .for_each(|(s, at)| add(3, s, at));
        add(4, &class_day, 1);
        add(5, &id, 1);
        (0..3).for_each(|at| add(6, &[1], at));
        add(7, &[vec![0xfe; 8], n(9)].concat(), 2);
        [0x23, 0x22, 0x24].iter().zip(0..).for_each(|(r, at)| add(8, &[*r; 16], at));
        add(9, &[14], 0);
        let tables = [&mut count, &mut sources, &mut class, &mut index];
        for (name, rows) in ["count", "source", "class", "index"].iter().zip(tables) {
            rows.sort();
            let leaves = if *name == "index" { vec![rows.concat()] } else { rows.clone() };
            self.put(&format!("table.{name}"), &rows.concat());
            self.put(&format!("table.{name}.root"), &tree(&leaves));
        }
    }

    fn payloads(&mut self) {
        let job = q(&"31".repeat(16));
        let (case, policy) = (q(&"ca".repeat(16)), q(&"08".repeat(32)));
        let persons = format!("[{}]", q(&"41".repeat(16)));
        let (six, seven) = (q(&"06".repeat(32)), q(&"07".repeat(32)));
        let root = o("from=6 new_root=N old_root=O to=7", &[("N", &seven), ("O", &six)]);
        let time = q("2026-11-21T00:00:01.23456789Z");
        let law = q("45 CFR 164.316");
        let floor = o("class=4 due=D law=L why=\"floor\"", &[("D", &time), ("L", &law)]);
        let hold = o("class=4 due=null law=L why=\"hold\"", &[("L", &case)]);
        let day = q("2026-11-21");
        let due = q("2027-02-21T00:00:00Z");
        let days = o("class=4 day=D due=E groups=12", &[("D", &day), ("E", &due)]);
        let gone = o("class=4 day=D", &[("D", &day)]);
        let to = q("2026-11-23");
        let over = o("class=4 from=F over=\"class-days\" to=T", &[("F", &day), ("T", &to)]);
        let whom = o("over=\"person\" person=P", &[("P", &persons[1..persons.len() - 1])]);
        let handle = q(&"fe".repeat(16));
        let words: [(&str, &str); 13] = [
            ("TIME", &time),
            ("JOB", &job),
            ("CASE", &case),
            ("POLICY", &policy),
            ("PERSONS", &persons),
            ("ROOT", &root),
            ("FLOOR", &floor),
            ("HOLD", &hold),
            ("DAYS", &days),
            ("GONE", &gone),
            ("OVER", &over),
            ("WHOM", &whom),
            ("HANDLE", &handle),
        ];
        for line in PAYLOADS.lines() {
            let (name, members) = line.split_once(": ").unwrap();
            self.text(&format!("control.{name}"), &o(members, &words));
        }
        let n = |byte: u8| q(&format!("{byte:02x}").repeat(32));
        let (first, last) = (q(&NOW.to_string()), q(&(NOW + 1).to_string()));
        let seal = o(
            SEAL,
            &[
                ("H1", &n(1)),
                ("H2", &n(2)),
                ("H3", &n(3)),
                ("H4", &n(4)),
                ("H5", &n(5)),
                ("T1", &first),
                ("T2", &last),
            ],
        );
        self.text("control.seal", &seal);
        self.text("control.day-seal", &o("day=D end=9 first=3", &[("D", &day)]));
    }

    fn cells(&mut self) {
        let (k, label) =
            ([0xdd; 32], |word: &str| format!("chancery/v1/cell/{word}\0").into_bytes());
        let person = [0x41; 16];
        let identifier = [lp8(b"email"), lp16(b"n1@clinic.example")].concat();
        let class_day = [&[0, 4][..], &DAY.to_be_bytes()].concat();
        let link = mac(&k, &[&label("identifier"), &identifier]);
        let day = DAY.to_be_bytes();
        let own = [
            &[2][..],
            &person,
            &[0],
            &day,
            &[0x70; 32],
            &[1],
            &[0, 4],
            &day,
            &[0xa1; 32],
            &[1],
            &link,
            &[1],
            &[0x42; 16],
        ];
        let cells = [
            ("identifier", link, [&[1, 2, 2][..], &[0x40; 16], &person, &identifier].concat()),
            ("person", mac(&k, &[&label("person"), &person]), own.concat()),
            (
                "class-day",
                mac(&k, &[&label("class-day"), &class_day]),
                [&[3], &class_day[..], &[0xd0; 32]].concat(),
            ),
            ("tenant", mac(&k, &[&label("tenant")]), [&[4][..], &[0xde; 32], &[0x50; 32]].concat()),
        ];
        let mut leaf: Vec<Vec<u8>> = Vec::new();
        for (name, key, value) in cells {
            self.put(&format!("cell.{name}.key"), &key);
            self.put(&format!("cell.{name}"), &value);
            leaf.push([key.to_vec(), lp16(&value)].concat());
        }
        leaf.sort();
        self.nodes(&[vec![0, 4], leaf.concat()].concat());
    }

    fn nodes(&mut self, leaf: &[u8]) {
        let tenant = [0x11; 16];
        let blob = |id: u8, level: u8, nonce: u8, plain: &[u8]| {
            let mut plain = plain.to_vec();
            plain.resize(4031, 0);
            let head = [b"CHN1", &tenant[..], &[id; 16], &[level]].concat();
            let aad = [b"chancery/v1/node\0", &head[..]].concat();
            let sealed = aead(&[id; 32], &[nonce; 12], &plain, &aad);
            [head, vec![nonce; 12], sealed].concat()
        };
        let leaf = blob(0xb0, 0, 0x91, leaf);
        let row = |low: u8, id: u8| [vec![low; 8], vec![id; 16], vec![id; 32]].concat();
        let internal = blob(0xb2, 1, 0x92, &[vec![0, 2], row(0, 0xb0), row(0x80, 0xb1)].concat());
        let clear = [&[0, 0, 0, 2][..], &5_u64.to_be_bytes(), &[0x99; 32]].concat();
        let hash = h(&[b"chancery/v1/commit\0", &clear, &leaf, &internal]);
        self.put("commit_record", &[b"CHK1", &clear[..], &hash, &[0; 48]].concat());
        let birth = h(&[&internal]);
        let clear = [
            b"CHROOT1\0",
            &7_u64.to_be_bytes()[..],
            &tenant,
            &[0xb2; 16],
            &birth,
            &3_u64.to_be_bytes(),
            &[0x55; 32],
            b"D\x01",
            &[0; 6],
        ]
        .concat();
        let aad = [b"chancery/v1/root\0", &clear[..]].concat();
        let plain = [[0xb2; 32], [0xdd; 32]].concat();
        let sealed = aead(&[0xee; 32], &[0x93; 12], &plain, &aad);
        let mut slot = [clear, vec![0x93; 12], sealed].concat();
        self.put("slot.front", &slot);
        slot.resize(4064, 0);
        slot.extend(h(&[&slot]));
        for (name, blob) in [("leaf", leaf), ("internal", internal), ("slot", slot)] {
            self.put(&format!("sha256.{name}"), &h(&[&blob]));
        }
    }
}

/// The first 92 bytes of an entry, up to the counts.
#[allow(clippy::too_many_arguments)]
fn head(
    kind: u8,
    flags: u8,
    class: u16,
    time: u64,
    record: u8,
    id: &[u8],
    source: &[u8],
    seq: u64,
    tail: [u8; 4],
) -> Vec<u8> {
    let (class, time, seq) = (class.to_be_bytes(), time.to_be_bytes(), seq.to_be_bytes());
    [
        b"CHE1",
        &[kind, flags][..],
        &class,
        &time,
        &[0x11; 16],
        &[record; 16],
        id,
        source,
        &seq,
        &tail,
    ]
    .concat()
}
