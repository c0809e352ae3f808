//! Limits, each with its arithmetic. A limit that is exceeded is refused with the limit's
//! number in the error; nothing is truncated in silence.

/// One event as received: larger ones are documents, not events.
pub const EVENT_BYTES_MAX: usize = 1 << 20;
/// Nesting of a JSON value: bounds the scanner's stack and every later reader's.
pub const JSON_DEPTH_MAX: usize = 64;
/// One entry in the log: its length fits the u16 of a tlog-tiles entry bundle with room.
pub const ENTRY_BYTES_MAX: usize = 16 * 1024;
/// Subjects of one group: the key is derived from all their keys.
pub const GROUP_SUBJECTS_MAX: usize = 32;
/// Subject tags of one entry: counted in one byte.
pub const ENTRY_TAGS_MAX: usize = 255;
/// Groups of one entry: one per distinct set of subjects and class.
pub const ENTRY_GROUPS_MAX: usize = 16;
/// Sealed fields of one entry: 256 x (1 + 20 + 1 + 32) bytes = 13.5 KiB of head.
pub const ENTRY_FIELDS_MAX: usize = 256;
/// Name of a sealed field: registry names are short; it is hashed with every value.
pub const FIELD_NAME_BYTES_MAX: usize = 64;
/// The clear part of an entry.
pub const CLEAR_BYTES_MAX: usize = 8 * 1024;
/// A normalised identifier of a person.
pub const IDENTIFIER_BYTES_MAX: usize = 256;
/// Identifiers linked to one person: 64 x 32 bytes = 2 KiB of a 4,031-byte leaf.
pub const PERSON_LINKS_MAX: usize = 64;
/// Handles one identifier may have named, with those that erasures had to leave: its cell must
/// fit a node of the key tree.
pub const IDENTIFIER_PERSONS_MAX: usize = 200;
/// Retention classes with a key for one person: 24 x 42 bytes = 1 KiB of the same leaf.
pub const PERSON_CLASSES_MAX: usize = 24;
/// Handles linked to be one person: 24 x 38 + 64 x 32 + 32 x 16 + 41 = 3,513 bytes of the leaf.
pub const PERSON_PEERS_MAX: usize = 32;
/// Missing numbers of a counting source, as ranges, that are remembered: 4,096 x about 24 bytes =
/// 100 KiB a source. A number that would leave more is refused.
pub const SOURCE_HOLES_MAX: usize = 4_096;
/// Event ids remembered at least, and for how long at least.
pub const DEDUPE_IDS_MIN: usize = 10_000_000;
/// Nanoseconds an event id is remembered at least: 24 hours.
pub const DEDUPE_NANOS_MIN: u64 = 24 * 3_600 * 1_000_000_000;
/// Bytes of events accepted and not yet durable; beyond it appends are refused as overloaded.
pub const POOL_BYTES_MAX: usize = 256 << 20;
/// Memory of the key cache while nobody reads: 256 MiB are about 310,000 persons with one
/// identifier and one retention class (170 + 12, 362 and 296 bytes = 840). Beyond it the cache
/// starts anew. A batch holds copies of its keys, so no eviction takes one from under a sealer;
/// those copies are 64 bytes a group and 40 a subject of batches in flight, which the pool bounds.
pub const KEY_CACHE_BYTES_MAX: usize = 256 << 20;
/// Memory of the key cache once somebody opened bodies, which takes the keys of everybody: 1 GiB
/// is 1.2 million such persons. Beyond it reading loads the keys again after each eviction.
pub const KEY_CACHE_READ_BYTES_MAX: usize = 1 << 30;
/// Base keys cached of groups with no subject or several: 65,536 x about 300 bytes = 20 MiB.
pub const KEY_CACHE_GROUPS_MAX: usize = 1 << 16;
/// Events of one batch: a batch lies in one unit.
pub const BATCH_EVENTS_MAX: usize = 10_000;
/// Bytes of one unit's entries beyond which a group commit takes no further batch.
pub const UNIT_BYTES_TARGET: usize = 1 << 20;
/// A segment is closed once it is longer: 64 MiB keeps a whole-file read in memory.
pub const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// Bytes of newest bodies of a class-day, and of newest log, that may stay in the system's memory
/// after they were written: 256 MiB each are the last 400,000 events or so. What is older is let
/// go, so that the memory serves what is written next.
pub const CACHED_BYTES: u64 = 256 << 20;
/// Bytes of a file that are let go at once: 16 MiB.
pub const FORGET_BYTES: u64 = 16 << 20;
/// Entries behind the last snapshot at which the next one is due: reading and hashing as many at
/// an opening takes about a tenth of a second.
pub const SNAPSHOT_ENTRIES: u64 = 65_536;
/// Nanoseconds between two snapshots at least: under load one follows each checkpoint.
pub const SNAPSHOT_PAUSE_NANOS: u64 = 1_000_000_000;
/// Entries of an epoch: a full level-2 tile; each epoch is sealed once.
pub const EPOCH_ENTRIES: u64 = 65_536;
/// Days a class-day key outlives its bucket at least (late records of the day before).
pub const CLASS_DAY_GRACE_DAYS: u32 = 2;
/// A wall clock further than this from log time raises an alarm and is not used.
pub const CLOCK_ALARM_NANOS: u64 = 5 * 60 * 1_000_000_000;
/// A clock further beyond the last entry than this needs a person's word before the first append.
pub const CLOCK_ACCEPT_DAYS: u64 = 7;

/// Body of one version of a document in the registry: a person or a token takes about 1 KiB, an
/// order over 64 identifiers of 256 bytes 20 KiB, a whole folder of policies 60 KiB; four times
/// that.
pub const DOCUMENT_BYTES_MAX: usize = 256 << 10;
/// Documents in force in a registry, those of requests apart: 262,144 x about 100 bytes = 25 MiB of
/// facts, kept by the sequencer and once for readers, and 42 bytes each = 11 MiB of a snapshot. One
/// that is given up makes room for another and is remembered beside them, in as many bytes.
pub const DOCUMENTS_MAX: usize = 1 << 18;
/// Documents of requests (`idempotency`) at once, beside the others, so that requests never take
/// the room of people and orders: 262,144 in 24 hours are three a second, and as much memory.
pub const IDEMPOTENCY_DOCUMENTS_MAX: usize = 1 << 18;
/// Nanoseconds of log time after which a document of a request is known no more: 24 hours.
pub const IDEMPOTENCY_NANOS: u64 = 24 * 3_600 * 1_000_000_000;

/// Persons whose data is restricted at once: 131,072 x about 60 bytes = 8 MiB of facts, kept by the
/// sequencer and once for readers.
pub const RESTRICTED_MAX: usize = 1 << 17;
/// Corrections of a log: 524,288 x about 40 bytes = 20 MiB of facts, kept as often.
pub const CORRECTIONS_MAX: usize = 1 << 19;
/// Corrections of one event: each reader of it is told of all.
pub const CORRECTIONS_OF_ONE_MAX: usize = 64;

/// Retention class of the vault's own acts: `vault` in `policies/classes.toml`.
pub const VAULT_CLASS: u16 = 10;
/// Retention class of what maps an erasure to its records: `erasure-evidence` there.
pub const EVIDENCE_CLASS: u16 = 9;
