//! The people of the demo: patients, staff and customers, each known by several identifiers.
//! All of them are invented: names are drawn at random, mail domains are reserved (RFC 2606),
//! telephone numbers lie in the 555-01xx range kept for fiction. It never draws real data.

use crate::cli::demo::prng::Dice;

/// What a person does all day.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// Is treated; uses the portal in the evening.
    Patient,
    /// Works in one of three shifts on a ward.
    Nurse,
    /// Works days, is on call at night.
    Doctor,
    /// Admissions, billing, records: office hours.
    Clerk,
    /// Runs the systems: office hours and 02:00.
    Engineer,
    /// Buys the software service the clinic also uses: the other tenant of `crm`.
    Customer,
}

/// One person and every name the systems know them by.
#[derive(Clone, Debug)]
pub struct Person {
    /// Position in the cast.
    pub number: usize,
    /// What they do.
    pub role: Role,
    /// Full name, with its accents.
    pub name: String,
    /// E-mail as registered, lower case.
    pub email: String,
    /// User id in the identity provider and the CRM.
    pub user_id: String,
    /// Telephone in E.164.
    pub phone: String,
    /// Patient number; staff and customers have none.
    pub patient_number: Option<String>,
    /// Ward of staff and in-patients, plan of customers.
    pub unit: &'static str,
    /// Start of the working day in hours, UTC; nurses have 6, 14 or 22.
    pub shift: u64,
    /// Address they usually come from.
    pub ip: String,
    /// Browser or workstation they usually use.
    pub user_agent: &'static str,
}

/// All people, and the parts that the story needs.
#[derive(Clone, Debug)]
pub struct Cast {
    /// Everybody, ordered by number.
    pub people: Vec<Person>,
    /// The patient who asks to be forgotten: `idp` knows e-mail and user id, `crm` e-mail and
    /// telephone, `ehr` telephone and patient number; no one system knows all four.
    pub leaver: usize,
    /// The well-known patient whose chart is looked at without need.
    pub celebrity: usize,
    /// The nurse who looks.
    pub snoop: usize,
    /// The patient whose records a court case holds.
    pub litigant: usize,
    /// The clerk whose password somebody guesses.
    pub victim: usize,
}

/// Fewer people cannot play the story.
pub const PEOPLE_MIN: usize = 24;
/// 600 area codes x 100 fictional lines.
pub const PEOPLE_MAX: usize = 60_000;

const GIVEN: &[&str] = &[
    "Amara",
    "Anna",
    "Antoni",
    "Aylin",
    "Beatriz",
    "Bjorn",
    "Carla",
    "Chidi",
    "Dalia",
    "David",
    "Elif",
    "Emil",
    "Esra",
    "Fatima",
    "Finn",
    "Frida",
    "Giulia",
    "Grace",
    "Hana",
    "Henrik",
    "Ines",
    "Ingrid",
    "Ivo",
    "Jana",
    "Jonas",
    "Jos\u{e9}",
    "Kaito",
    "Karim",
    "Katrin",
    "Laila",
    "Lars",
    "Leonie",
    "Luc\u{ed}a",
    "Maja",
    "Malik",
    "Marek",
    "Mina",
    "Nadia",
    "Nils",
    "Noor",
    "Olga",
    "Omar",
    "Paula",
    "Pavel",
    "Priya",
    "Rafael",
    "Rosa",
    "Samir",
    "Sofia",
    "Sven",
    "Tariq",
    "Tess",
    "Thea",
    "Ulla",
    "Viktor",
    "Wanda",
    "Yara",
    "Yusuf",
    "Zo\u{eb}",
    "Zuri",
];
const FAMILY: &[&str] = &[
    "Abara",
    "Albrecht",
    "Almeida",
    "Andersson",
    "Bauer",
    "Becker",
    "Berg",
    "Bianchi",
    "Brandt",
    "Castillo",
    "Cohen",
    "Costa",
    "Dahl",
    "Demir",
    "Dubois",
    "Eklund",
    "Eze",
    "Falk",
    "Ferrari",
    "Fischer",
    "Garc\u{ed}a",
    "Haddad",
    "Hansen",
    "Hoffmann",
    "Ibrahim",
    "Iversen",
    "Jansen",
    "Kaya",
    "Keller",
    "Khan",
    "Kovacs",
    "Kumar",
    "Larsen",
    "Lindqvist",
    "Marino",
    "Mbeki",
    "Meyer",
    "Moreau",
    "Nakamura",
    "Novak",
    "N\u{fa}\u{f1}ez",
    "Okafor",
    "Olsen",
    "Patel",
    "Peeters",
    "Petrov",
    "Quinn",
    "Rahman",
    "Richter",
    "Rossi",
    "Santos",
    "Schmidt",
    "Silva",
    "Sokolov",
    "Tanaka",
    "Vargas",
    "Virtanen",
    "Wagner",
    "Weber",
    "Zimmermann",
];
/// Wards of the clinic.
pub const WARDS: &[&str] =
    &["emergency", "cardiology", "oncology", "maternity", "surgery", "paediatrics", "icu"];
const OFFICES: &[&str] = &["admissions", "billing", "records"];
const PLANS: &[&str] = &["starter", "team", "business"];
const AGENTS: &[&str] = &[
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/142.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_6) AppleWebKit/605.1.15 Version/18.6 Safari/605.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "ClinicMobile/4.12 (iPhone; iOS 18.6)",
    "ClinicMobile/4.12 (Android 16; Pixel 9)",
];
const WORKSTATION: &str = "ClinicWorkstation/9.3 (Windows 11; ward terminal)";

impl Cast {
    /// The cast of a seed; between `PEOPLE_MIN` and `PEOPLE_MAX` people.
    pub fn new(seed: u64, people: usize) -> Self {
        let mut dice = Dice::new(seed, "cast");
        let total = people.clamp(PEOPLE_MIN, PEOPLE_MAX);
        let people: Vec<Person> = (0..total).map(|n| person(n, &mut dice)).collect();
        let role_at = |role: Role, nth: usize| {
            people.iter().filter(|p| p.role == role).nth(nth).map_or(0, |p| p.number)
        };
        Cast {
            leaver: role_at(Role::Patient, 3),
            celebrity: role_at(Role::Patient, 0),
            snoop: role_at(Role::Nurse, 0),
            litigant: role_at(Role::Patient, 5),
            victim: role_at(Role::Clerk, 0),
            people,
        }
    }

    /// The person with this number.
    pub fn person(&self, number: usize) -> Option<&Person> {
        self.people.get(number)
    }

    /// The numbers of everybody with this role.
    pub fn of(&self, role: Role) -> Vec<usize> {
        self.people.iter().filter(|p| p.role == role).map(|p| p.number).collect()
    }
}

impl Person {
    /// The registered e-mail as people type it: now and then in another case. The local part
    /// varies too; the registry's normalisation has to see through it.
    pub fn email_typed(&self, dice: &mut Dice) -> String {
        let capital = |word: &str| {
            let mut letters = word.chars();
            letters.next().map_or(String::new(), |c| c.to_ascii_uppercase().to_string())
                + letters.as_str()
        };
        match dice.below(10) {
            0 => self.email.to_ascii_uppercase(),
            1 | 2 => match self.email.split_once('@') {
                Some((local, domain)) => {
                    let parts: Vec<String> = local.split('.').map(capital).collect();
                    format!("{}@{domain}", parts.join("."))
                }
                None => self.email.clone(),
            },
            _ => self.email.clone(),
        }
    }

    /// The telephone as people and forms write it; every spelling carries the country.
    pub fn phone_typed(&self, dice: &mut Dice) -> String {
        let part = |from: usize, to: usize| self.phone.get(from..to).unwrap_or_default();
        let (area, office, line) = (part(2, 5), part(5, 8), part(8, 12));
        match dice.below(5) {
            0 => format!("+1 {area} {office} {line}"),
            1 => format!("+1 ({area}) {office}-{line}"),
            2 => format!("+1-{area}-{office}-{line}"),
            3 => format!("+1.{area}.{office}.{line}"),
            _ => self.phone.clone(),
        }
    }

    /// True for those who act on others' records.
    pub fn is_staff(&self) -> bool {
        matches!(self.role, Role::Nurse | Role::Doctor | Role::Clerk | Role::Engineer)
    }
}

/// The role of the `n`-th: half patients, a quarter customers, a quarter staff.
fn role(n: usize) -> Role {
    match n % 24 {
        0 | 2 | 4 | 6 | 8 | 10 | 12 | 14 | 16 | 18 | 20 | 22 => Role::Patient,
        1 | 7 | 13 => Role::Nurse,
        5 => Role::Doctor,
        11 => Role::Clerk,
        17 if n % 48 == 17 => Role::Engineer,
        17 => Role::Doctor,
        _ => Role::Customer,
    }
}

fn person(number: usize, dice: &mut Dice) -> Person {
    let role = role(number);
    let (given, family) = (dice.word(GIVEN), dice.word(FAMILY));
    let (first, last) = (ascii(given), ascii(family));
    let domain = match role {
        Role::Patient => dice.word(&["mail.example", "post.example", "inbox.example"]),
        Role::Customer => dice.word(&["acme.example", "globex.example", "initech.example"]),
        _ => "clinic.example",
    };
    let unit = match role {
        Role::Patient | Role::Nurse | Role::Doctor => dice.word(WARDS),
        Role::Clerk => dice.word(OFFICES),
        Role::Engineer => "platform",
        Role::Customer => dice.word(PLANS),
    };
    let inside = matches!(role, Role::Nurse | Role::Doctor | Role::Clerk | Role::Engineer);
    let third = if inside { format!("10.{}", 20 + dice.below(8)) } else { "203.0".to_owned() };
    Person {
        number,
        role,
        name: format!("{given} {family}"),
        // The number keeps two people of one name apart.
        email: format!("{first}.{last}{number}@{domain}"),
        user_id: format!("u-{:05}", 10_000 + number),
        phone: phone(number),
        patient_number: (role == Role::Patient).then(|| patient_number(number)),
        unit,
        shift: match role {
            Role::Nurse => *dice.choose(&[6, 14, 22]).unwrap_or(&6),
            Role::Customer => dice.between(6, 18),
            Role::Patient => 18,
            _ => 7,
        },
        ip: format!("{third}.{}.{}", 113, 1 + dice.below(254)),
        user_agent: if inside { WORKSTATION } else { dice.word(AGENTS) },
    }
}

/// A fictional number: 100 lines (555-0100 to 555-0199) in each of 600 area codes.
fn phone(number: usize) -> String {
    format!("+1{:03}55501{:02}", 201 + number / 100 % 600, number % 100)
}

/// `P`, six digits and a check digit (weights 7 to 2, modulo 11, 10 written as 0).
fn patient_number(number: usize) -> String {
    let digits = 204_000 + number * 37 % 700_000;
    let sum: usize =
        (0..6).map(|place| digits / 10_usize.pow(place) % 10 * (place as usize + 2)).sum();
    format!("P{digits:06}-{}", sum % 11 % 10)
}

/// Lower-case ASCII of a name for an e-mail address.
fn ascii(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            '\u{e9}' | '\u{eb}' => 'e',
            '\u{ed}' => 'i',
            '\u{fa}' => 'u',
            '\u{f1}' => 'n',
            other => other.to_ascii_lowercase(),
        })
        .collect()
}
