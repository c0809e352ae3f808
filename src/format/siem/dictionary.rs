//! The keys a mapping may use: type and length of each, by format.
//! CEF: Implementation Standard v27 (OpenText). LEEF: LEEF v2 guide (IBM). It holds what a
//! producer may set; consumer keys are listed only to be refused by name. It never guesses: a key
//! that is not here is a custom key, and the mapping says under which conditions that is allowed.

/// Type of a key's value, with its range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    /// UTF-8 of at most `max` characters, counted before escapes.
    Text {
        /// Most characters.
        max: usize,
    },
    /// IPv4 only; an IPv6 value goes to the `c6aN` key of `ipv6_twin`, or nowhere.
    Ipv4,
    /// IPv6 only.
    Ipv6,
    /// Either address family.
    Ip,
    /// A signed integer of 32 bits.
    Integer,
    /// A signed integer of 64 bits.
    Long,
    /// A port: 0 to 65535.
    Port,
    /// LEEF's severity: 1 to 10; 0 becomes 1.
    Severity,
    /// A finite number.
    Double,
    /// Milliseconds since 1970; LEEF demands 13 digits.
    Time,
    /// Six octets in hex with colons.
    Mac,
}

/// Longest text of a key that has no length of its own in LEEF, and of custom keys: CEF's
/// longest. IBM states none; a value must not fill a whole payload by itself.
pub const TEXT_CHARS_MAX: usize = 4000;
/// Lengths of the CEF header: vendor, product, version, event class id, name.
pub const CEF_HEADER_MAX: [usize; 5] = [63, 63, 31, 1023, 512];
/// Longest LEEF event id; IBM states no length for vendor, product and version, so they share it.
pub const LEEF_HEADER_MAX: usize = 255;

/// CEF text keys by length.
const CEF_TEXT: &[(usize, &str)] = &[
    (31, "app proto"),
    (40, "externalId"),
    (63, "act outcome"),
    (100, "dvchost"),
    (128, "deviceInboundInterface deviceOutboundInterface devicePayloadId"),
    (
        255,
        "destinationDnsDomain deviceDnsDomain deviceExternalId deviceNtDomain dntdom dtz fileHash \
         oldFileHash sntdom sourceDnsDomain",
    ),
    (
        1023,
        "cat destinationServiceName deviceFacility deviceProcessName dhost dpriv dproc duid duser \
         fileId filePath filePermission fileType flexString1 flexString2 fname msg oldFileId \
         oldFileName oldFilePath oldFilePermission oldFileType reason request \
         requestClientApplication requestCookies requestMethod shost sourceServiceName spriv \
         sproc suid suser",
    ),
    (2048, "requestContext"),
    (4000, "cs1 cs2 cs3 cs4 cs5 cs6"),
];

/// CEF keys of other types. `c6a2` is missing from the table of v27, though its text and every
/// earlier version name it: source addresses of version 6 have no other key.
const CEF_TYPED: &[(Type, &str)] = &[
    (
        Type::Ipv4,
        "destinationTranslatedAddress deviceTranslatedAddress dst dvc sourceTranslatedAddress src",
    ),
    (Type::Ipv6, "c6a1 c6a2 c6a3 c6a4"),
    (Type::Port, "destinationTranslatedPort dpt sourceTranslatedPort spt"),
    (Type::Integer, "cnt deviceDirection dpid dvcpid fsize in oldFileSize out spid type"),
    (Type::Long, "cn1 cn2 cn3"),
    (Type::Double, "cfp1 cfp2 cfp3 cfp4"),
    (
        Type::Time,
        "deviceCustomDate1 deviceCustomDate2 end fileCreateTime fileModificationTime flexDate1 \
         oldFileCreateTime oldFileModificationTime rt start",
    ),
    (Type::Mac, "dmac smac"),
];

/// Text keys that CEF 1.2 added, by length: refused under `CEF:0`.
const CEF_1_TEXT: &[(usize, &str)] = &[
    (32, "threatAttackID"),
    (40, "threatActor"),
    (64, "reportedResourceName reportedResourceType"),
    (128, "reportedResourceGroupName"),
    (256, "frameworkName reportedResourceID"),
];

/// The other key of CEF 1.2 that a producer may set.
const CEF_1_TYPED: &[(Type, &str)] = &[(Type::Long, "reportedDuration")];

/// Keys that only the receiving side sets. Zone and customer keys are among them by pattern.
const CEF_CONSUMER: &str = "agentDnsDomain agentNtDomain agentTranslatedAddress agt ahost aid \
     amac art at atz av dlat dlong eventId rawEvent slat slong";

/// CEF keys that mean nothing without their label.
const CEF_LABELLED: &str = "c6a1 c6a2 c6a3 c6a4 cfp1 cfp2 cfp3 cfp4 cn1 cn2 cn3 cs1 cs2 cs3 cs4 \
     cs5 cs6 deviceCustomDate1 deviceCustomDate2 flexDate1 flexString1 flexString2";

/// LEEF attributes of type text by length.
const LEEF_TEXT: &[(usize, &str)] = &[
    (255, "accountName identGrpName identHostName identNetBios usrName vSrcName"),
    (TEXT_CHARS_MAX, "cat domain groupID policy proto realm resource role url"),
];

/// LEEF attributes of other types.
const LEEF_TYPED: &[(Type, &str)] = &[
    (Type::Ip, "dst dstPostNAT dstPreNAT identSrc src srcPostNAT srcPreNAT vSrc"),
    (Type::Port, "dstPort dstPostNATPort dstPreNATPort srcPort srcPostNATPort srcPreNATPort"),
    (Type::Long, "dstBytes dstPackets srcBytes srcPackets totalPackets"),
    (Type::Mac, "dstMAC srcMAC"),
    (Type::Severity, "sev"),
    (Type::Time, "devTime"),
];

/// Reserved by IBM and not implemented, and `devTimeFormat`, which an epoch makes void.
const LEEF_RESERVED: &str = "calCountryOrRegion calLanguage devTimeFormat identMAC identSecondlp \
     isLoginEvent isLogoutEvent";

/// What a dictionary says about a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    /// A producer may set it.
    Known(Type),
    /// A producer must not set it.
    Forbidden,
    /// It belongs to a newer version of the format than the mapping states.
    TooNew,
    /// The label of another key: stated there, never by itself.
    Label,
    /// Not in the dictionary.
    Unknown,
}

fn lists(words: &str, key: &str) -> bool {
    words.split_ascii_whitespace().any(|word| word == key)
}

fn text(table: &[(usize, &str)], key: &str) -> Option<Type> {
    table.iter().find(|(_, words)| lists(words, key)).map(|&(max, _)| Type::Text { max })
}

fn typed(table: &[(Type, &str)], key: &str) -> Option<Type> {
    table.iter().find(|(_, words)| lists(words, key)).map(|&(found, _)| found)
}

/// Looks up a CEF key. `extended` = the mapping states `CEF:1`.
pub fn cef(key: &str, extended: bool) -> Word {
    if let Some(found) = text(CEF_TEXT, key).or_else(|| typed(CEF_TYPED, key)) {
        return Word::Known(found);
    }
    match text(CEF_1_TEXT, key).or_else(|| typed(CEF_1_TYPED, key)) {
        Some(found) if extended => return Word::Known(found),
        Some(_) => return Word::TooNew,
        None => {}
    }
    if lists(CEF_CONSUMER, key) || key.contains("Zone") || key.starts_with("customer") {
        return Word::Forbidden;
    }
    if key.ends_with("Label") { Word::Label } else { Word::Unknown }
}

/// Looks up a LEEF attribute.
pub fn leef(key: &str) -> Word {
    if lists(LEEF_RESERVED, key) {
        return Word::Forbidden;
    }
    match text(LEEF_TEXT, key).or_else(|| typed(LEEF_TYPED, key)) {
        Some(found) => Word::Known(found),
        None => Word::Unknown,
    }
}

/// Longest label of a CEF key that needs one; `None` where none is due.
pub fn cef_label_max(key: &str) -> Option<usize> {
    lists(CEF_LABELLED, key).then_some(if key.starts_with("flex") { 128 } else { 1023 })
}

/// Where an IPv6 value of an IPv4 key goes, and the label the standard gives that key there.
pub fn ipv6_twin(key: &str) -> Option<(&'static str, &'static str)> {
    match key {
        "dvc" => Some(("c6a1", "Device IPv6 Address")),
        "src" => Some(("c6a2", "Source IPv6 Address")),
        "dst" => Some(("c6a3", "Destination IPv6 Address")),
        _ => None,
    }
}
