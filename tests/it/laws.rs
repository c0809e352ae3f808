//! The laws of the house, as tests: layers, tidiness, and who may touch disk, clock, entropy and
//! network. Each law is a function of a file's text, and is tried on a bad sample first, so that
//! none can pass because it looks at nothing.

mod source;

use source::{closing, code, in_word, line, product, test_declarations, test_modules, words};
use std::path::{Path, PathBuf};

const FUNCTION_LINES_MAX: usize = 70;
const LINE_CHARS_MAX: usize = 100;
const DATA_CHARS_MIN: usize = 60;
const FILE_LINES_MAX: usize = 600;

/// A file of the project by its path from the root, with `/`.
struct File {
    path: String,
    text: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Files below `dir` whose extension is one of `extensions`, sorted.
fn files(dir: &str, extensions: &[&str]) -> Vec<File> {
    let mut found = Vec::new();
    visit(&root().join(dir), &mut |path| {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        if extensions.contains(&extension) {
            let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            found.push(File { path: name, text: std::fs::read_to_string(path).unwrap() });
        }
    });
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn visit(dir: &Path, found: &mut dyn FnMut(&Path)) {
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let skipped = ["target", "node_modules", ".git"].contains(&name.as_str());
        if path.is_dir() && !skipped {
            visit(&path, found);
        } else if path.is_file() {
            found(&path);
        }
    }
}

fn rust() -> Vec<File> {
    let found: Vec<File> = ["src", "tests"].iter().flat_map(|dir| files(dir, &["rs"])).collect();
    assert!(found.len() > 20, "the laws must see the sources");
    found
}

/// What is shipped: `src` without files of tests, each of which must be declared as one.
fn sources() -> Vec<File> {
    let (tests, sources): (Vec<File>, Vec<File>) = rust()
        .into_iter()
        .filter(|file| file.path.starts_with("src/"))
        .partition(|file| file.path.ends_with("/tests.rs"));
    for file in tests {
        let parent = file.path.trim_end_matches("/tests.rs");
        let parents = [format!("{parent}.rs"), format!("{parent}/mod.rs")];
        let declared = sources.iter().any(|source| {
            parents.contains(&source.path) && !test_declarations(&code(&source.text)).is_empty()
        });
        assert!(declared, "{}: no parent declares it under cfg(test)", file.path);
    }
    sources
}

/// Fails with every violation in every file.
fn obey(files: &[File], law: impl Fn(&File) -> Vec<String>) {
    let bad: Vec<String> = files
        .iter()
        .flat_map(|file| law(file).into_iter().map(move |what| format!("{}: {what}", file.path)))
        .collect();
    assert!(bad.is_empty(), "\n{}", bad.join("\n"));
}

/// Tries a law on a sample: `violations` is how many it must find.
fn check(law: impl Fn(&File) -> Vec<String>, path: &str, text: &str, violations: usize) {
    let found = law(&File { path: path.to_owned(), text: text.to_owned() });
    assert_eq!(found.len(), violations, "{path}: {text}\n{found:?}");
}

// Layers.

/// The order of the layers. `lib.rs` lists them too, but rustfmt sorts it by name.
const LAYERS: [&str; 13] = [
    "base", "crypto", "format", "query", "policy", "store", "vault", "detect", "report", "client",
    "forward", "server", "cli",
];

/// Names after `crate::`, through groups and renames; `crate` alone counts as `crate`.
fn crate_names(code: &str) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    for at in words(code, "crate") {
        let before = code[..at].trim_end();
        let tail = code[at + "crate".len()..].trim_start();
        if before.ends_with("pub(") || before.ends_with("(in") && !tail.starts_with("::") {
            continue;
        }
        // `$crate` in a macro is the same crate.
        match tail.strip_prefix("::").map(str::trim_start) {
            None => names.push((at, "crate".to_owned())),
            Some(path) if path.starts_with('{') => {
                names.extend(arms(path).into_iter().map(|name| (at, name)));
            }
            Some(path) => names.push((at, ident(path))),
        }
    }
    names
}

/// First word of every arm of a use group.
fn arms(group: &str) -> Vec<String> {
    let inside = &group[1..closing(group).unwrap_or(group.len()).max(2) - 1];
    let (mut depth, mut arm, mut arms) = (0_i32, String::new(), Vec::new());
    for c in inside.chars().chain([',']) {
        depth += i32::from(c == '{') - i32::from(c == '}');
        if c == ',' && depth == 0 {
            arms.push(ident(arm.trim_start()));
            arm.clear();
        } else {
            arm.push(c);
        }
    }
    arms.retain(|arm| !arm.is_empty());
    arms
}

fn ident(text: &str) -> String {
    text.trim_start_matches("r#").chars().take_while(|c| in_word(*c)).collect()
}

fn layer_law(file: &File) -> Vec<String> {
    let path = file.path.trim_start_matches("src/");
    let own = path.split(['/', '.']).next().unwrap_or_default();
    let Some(rank) = LAYERS.iter().position(|layer| *layer == own) else {
        return Vec::new();
    };
    let code = code(&file.text);
    let mut bad = Vec::new();
    for (at, name) in crate_names(&code) {
        match LAYERS.iter().position(|layer| *layer == name) {
            Some(other) if other <= rank => {}
            Some(_) => bad.push(format!("line {}: {own} may not name {name}", line(&code, at))),
            None => bad.push(format!("line {}: {name} is no layer", line(&code, at))),
        }
    }
    bad
}

#[test]
fn layers_name_only_layers_above_them() {
    let path = "src/format/x.rs";
    check(layer_law, path, "use crate::store::disk::Disk;", 1);
    check(layer_law, path, "use crate::{base::id::{A, B}, crypto::hash, store, vault as v};", 2);
    check(layer_law, path, "fn f() { crate :: cli::run() } // crate::vault", 1);
    check(layer_law, path, "use crate::prelude;", 1);
    check(layer_law, path, "use crate as chancery;", 1);
    check(layer_law, path, "pub(crate) use vocabulary; pub(in crate::base) fn f() {}", 0);
    check(layer_law, path, "use crate::base::id; const X: &str = \"crate::cli\";", 0);
    check(layer_law, "src/cli/mod.rs", "use crate::{vault, store};", 0);
    obey(&sources(), layer_law);
}

#[test]
fn every_module_of_the_library_is_a_layer() {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let code = code(&text);
    let modules: Vec<String> =
        words(&code, "mod").map(|at| ident(code[at + 3..].trim_start())).collect();
    assert!(modules.len() >= 10);
    for module in modules {
        assert!(LAYERS.contains(&module.as_str()), "{module} has no place in the order");
    }
}

// Tidiness.

/// Name, line and length in lines of every function with a body.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for at in words(code, "fn") {
        let name = ident(code[at + 2..].trim_start());
        let tail = &code[at..];
        let Some(open) = body(tail) else { continue };
        if name.is_empty() {
            continue;
        }
        let end = open + closing(&tail[open..]).unwrap_or(tail.len() - open);
        found.push((name, line(code, at), tail[..end].matches('\n').count() + 1));
    }
    found
}

/// Where the body of the function at the start of `code` opens; nothing for a declaration.
fn body(code: &str) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ';' if depth == 0 => return None,
            '{' if depth == 0 => return Some(at),
            _ => {}
        }
        if depth < 0 {
            return None;
        }
    }
    None
}

fn function_law(file: &File) -> Vec<String> {
    let long = functions(&code(&file.text)).into_iter().filter(|f| f.2 > FUNCTION_LINES_MAX);
    long.map(|(name, line, lines)| format!("line {line}: {name} has {lines} lines")).collect()
}

#[test]
fn functions_fit_a_screen() {
    let lines = |n: usize| format!("fn f(a: [u8; 4]) -> bool {{{}}}", "\n".repeat(n - 1));
    check(function_law, "src/x.rs", &lines(70), 0);
    check(function_law, "src/x.rs", &lines(71), 1);
    let hidden =
        format!("fn f() {{ let _ = '{{'; let _ = r#\"}}\"#; /* }} */ {} }}", "\n".repeat(80));
    check(function_law, "src/x.rs", &hidden, 1);
    check(function_law, "src/x.rs", &format!("trait T {{ fn f(); {} }}", "\n".repeat(80)), 0);
    check(function_law, "src/x.rs", &format!("// fn f() {{ {} }}", "\n//".repeat(80)), 0);
    assert_eq!(functions("fn a<'x>(b: &'x str) { fn c() {} }").len(), 2);
    obey(&rust(), function_law);
}

fn line_law(file: &File) -> Vec<String> {
    let numbered = file.text.lines().enumerate();
    // A test may hold an event or a signature as it is sent: one word that no line end may break.
    let data = |line: &str| line.split(' ').any(|word| word.chars().count() > DATA_CHARS_MIN);
    let spared = |line: &str| file.path.starts_with("tests/") && data(line);
    let long = numbered.filter(|(_, line)| line.chars().count() > LINE_CHARS_MAX && !spared(line));
    long.map(|(at, _)| format!("line {} is longer than {LINE_CHARS_MAX}", at + 1)).collect()
}

fn head_law(file: &File) -> Vec<String> {
    let says = file.text.starts_with("//! ");
    if says { Vec::new() } else { vec!["begins without //!".to_owned()] }
}

fn placeholder_law(file: &File) -> Vec<String> {
    let empty = file.text.trim() == concat!("//! Placeholder", " of its owner.");
    if empty { vec!["is a placeholder".to_owned()] } else { Vec::new() }
}

fn length_law(file: &File) -> Vec<String> {
    let code = code(&file.text);
    let tests = test_modules(&code).into_iter().map(|range| code[range].matches('\n').count());
    let lines = code.matches('\n').count() - tests.sum::<usize>();
    if lines > FILE_LINES_MAX { vec![format!("has {lines} lines")] } else { Vec::new() }
}

#[test]
fn lines_and_files_are_short_and_say_what_they_are() {
    check(line_law, "src/x.rs", &"x".repeat(100), 0);
    check(line_law, "src/x.rs", &format!("\n{}", "x".repeat(101)), 1);
    check(line_law, "tests/it/x.rs", &"x".repeat(101), 0);
    check(line_law, "tests/it/x.rs", &"x ".repeat(51), 1);
    check(head_law, "src/x.rs", "//! A thing.", 0);
    check(head_law, "src/x.rs", "// A thing.", 1);
    let tests = format!("#[cfg(test)]\nmod tests {{{}}}\n", "\n".repeat(400));
    check(length_law, "src/x.rs", &("x\n".repeat(599) + &tests), 0);
    check(length_law, "src/x.rs", &("x\n".repeat(600) + &tests), 1);
    let fake = format!("#[cfg(test)]\nuse x::Y;\nfn f() {{{}}}\n", "\n".repeat(600));
    check(length_law, "src/x.rs", &fake, 1);
    obey(&rust(), line_law);
    obey(&rust(), head_law);
    obey(&sources(), length_law);
}

fn super_law(file: &File) -> Vec<String> {
    let code = product(&file.text);
    let found = words(&code, "super");
    found.map(|at| format!("line {}: names its parent", line(&code, at))).collect()
}

fn glob_law(file: &File) -> Vec<String> {
    let code = product(&file.text);
    // Intrinsics are the exception: dozens of names that the architecture owns.
    let found = code.match_indices("::*").filter(|(at, _)| !code[..*at].ends_with("arch::x86_64"));
    found.map(|(at, _)| format!("line {}: imports everything", line(&code, at))).collect()
}

#[test]
fn names_are_whole_and_imports_are_named() {
    check(super_law, "src/x.rs", "use super::y;", 1);
    check(super_law, "src/x.rs", "fn f() {}\n#[cfg(test)]\nmod tests { use super::*; }", 0);
    let allowed = "#[cfg(test)]\n#[allow(clippy::x)]\nmod tests { use super::*; }";
    check(super_law, "src/x.rs", allowed, 0);
    check(super_law, "src/x.rs", &format!("{allowed}\nuse super::x;"), 1);
    check(super_law, "src/x.rs", "#[cfg(test)]\nmod tests;\nfn f() { super::g() }", 1);
    check(glob_law, "src/x.rs", "use crate::base::*;", 1);
    check(glob_law, "src/x.rs", "use std::arch::x86_64::*;", 0);
    check(glob_law, "src/x.rs", "#[cfg(test)]\nmod tests { use super::*; }", 0);
    obey(&sources(), super_law);
    obey(&sources(), glob_law);
}

// Who may touch what.

/// Words that only some files may use outside tests.
struct Fence {
    words: &'static [&'static str],
    /// Paths, or beginnings of paths that end in `/`.
    allowed: &'static [&'static str],
}

const FENCES: [Fence; 6] = [
    Fence {
        words: &["std::fs", "std::os::unix::fs", "tokio::fs"],
        allowed: &["src/store/disk.rs", "src/store/root.rs", "src/cli/"],
    },
    Fence {
        words: &["SystemTime", "Instant::now", "Timestamp::now", "Zoned::now", "getrandom"],
        allowed: &["src/cli/"],
    },
    // A variable set from outside may steer no promise: the configuration is read in one place.
    Fence { words: &["std::env"], allowed: &["src/cli/"] },
    Fence { words: &["OsRng", "thread_rng", "SystemRandom", "rand"], allowed: &["src/cli/"] },
    Fence {
        words: &["TcpStream", "TcpListener", "UdpSocket", "UnixStream", "UnixListener", "tokio"],
        allowed: &["src/forward/", "src/server/", "src/cli/"],
    },
    Fence {
        words: &["unsafe", "unsafe_code"],
        allowed: &["src/crypto/lanes.rs", "src/crypto/lanes/"],
    },
];

fn fence_law(file: &File) -> Vec<String> {
    let code = product(&file.text);
    let mut bad = Vec::new();
    for fence in &FENCES {
        let holds = |a: &str| file.path == a || a.ends_with('/') && file.path.starts_with(a);
        if fence.allowed.iter().any(|a| holds(a)) {
            continue;
        }
        for word in fence.words {
            let found = words(&code, word).map(|at| line(&code, at));
            bad.extend(found.map(|line| format!("line {line}: {word} does not belong here")));
        }
        bad.extend(std_group(&code, fence.words));
    }
    bad
}

/// `use std::{fs, ..}` names the same as `std::fs`.
fn std_group(code: &str, words: &[&str]) -> Vec<String> {
    let mut bad = Vec::new();
    for (at, _) in code.match_indices("std::{") {
        for arm in arms(&code[at + "std::".len()..]) {
            if words.contains(&format!("std::{arm}").as_str()) {
                bad.push(format!("line {}: std::{arm} does not belong here", line(code, at)));
            }
        }
    }
    bad
}

#[test]
fn disk_clock_entropy_network_and_unsafe_stay_in_their_places() {
    for (path, text, violations) in [
        ("src/vault/x.rs", "use std::fs;", 1),
        ("src/vault/x.rs", "use std::{fs, io};", 1),
        ("src/vault/x.rs", "use std::{fmt, io::{Read, Write}};", 0),
        ("src/store/disk.rs", "use std::fs::File;", 0),
        ("src/store/disks.rs", "use std::fs::File;", 1),
        ("src/vault/x.rs", "let now = std::time::SystemTime::now();", 1),
        ("src/vault/x.rs", "let t = Instant::now(); // SystemTime", 1),
        ("src/cli/mod.rs", "let t = Instant::now();", 0),
        ("src/vault/x.rs", "if std::env::var(\"X\").is_ok() {}", 1),
        ("src/vault/x.rs", "use std::{env, io};", 1),
        ("src/cli/x.rs", "std::env::var(\"X\")", 0),
        ("src/vault/x.rs", "env!(\"CARGO_PKG_VERSION\")", 0),
        ("src/store/x.rs", "getrandom::fill(&mut x)", 1),
        ("src/report/x.rs", "TcpStream::connect(a)", 1),
        ("src/forward/x.rs", "TcpStream::connect(a)", 0),
        ("src/base/x.rs", "unsafe { }", 1),
        ("src/crypto/lanes.rs", "unsafe { }", 0),
        ("src/crypto/lanes/avx2.rs", "unsafe { }", 0),
        ("src/crypto/lanesx.rs", "unsafe { }", 1),
        ("src/base/x.rs", "\"unsafe SystemTime\" /* tokio */", 0),
    ] {
        check(fence_law, path, text, violations);
    }
    obey(&sources(), fence_law);
}

fn ignore_law(file: &File) -> Vec<String> {
    let code = code(&file.text);
    let mut bad = Vec::new();
    for at in words(&code, "ignore").filter(|at| code[..*at].ends_with("#[")) {
        let row = line(&code, at);
        let said = file.text.lines().nth(row - 1).unwrap_or_default();
        if !said.contains(concat!("ignore = \"", "needs ")) {
            bad.push(format!("line {row}: an ignored test says what it needs"));
        }
    }
    let shame = words(&code, "should_panic");
    bad.extend(shame.map(|at| format!("line {}: should_panic", line(&code, at))));
    bad
}

#[test]
fn ignored_tests_say_what_they_need() {
    check(ignore_law, "tests/it/x.rs", "#[ignore]\nfn f() {}", 1);
    check(ignore_law, "tests/it/x.rs", "#[ignore = \"slow\"]\nfn f() {}", 1);
    check(ignore_law, "tests/it/x.rs", "#[ignore = \"needs ../shared\"]\nfn f() {}", 0);
    check(ignore_law, "tests/it/x.rs", "#[should_panic]\nfn f() {}", 1);
    obey(&rust(), ignore_law);
}

fn place_law(file: &File) -> Vec<String> {
    let places = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let found = places.iter().filter(|place| file.text.contains(**place));
    found.map(|place| format!("names a place on one machine: {place}")).collect()
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    check(place_law, "docs/x.md", concat!("see /wo", "rk/shared"), 1);
    check(place_law, "docs/x.md", "see ../shared", 0);
    let kinds = ["rs", "md", "toml", "js", "html", "yml", "yaml", "sh", "json", "txt"];
    obey(&files("", &kinds), place_law);
}

/// Whether the last layer is written: what a finished house must have is then asked for.
fn is_built() -> bool {
    !std::fs::read_to_string(root().join("src/cli/config.rs")).unwrap().contains("Placeholder")
}

#[test]
fn placeholders_are_gone_once_the_house_is_built() {
    check(placeholder_law, "src/x.rs", concat!("//! Placeholder", " of its owner.\n"), 1);
    check(placeholder_law, "src/x.rs", "//! A thing.\n", 0);
    if is_built() {
        obey(&sources(), placeholder_law);
    }
}

// Pages.

fn decision_law(file: &File) -> Vec<String> {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    let number: String = name.chars().take_while(char::is_ascii_digit).collect();
    let titled = file.text.starts_with(&format!("# {number}. "));
    let named = number.len() == 4 && name[4..].starts_with('-');
    if titled && named { Vec::new() } else { vec!["is no numbered decision".to_owned()] }
}

#[test]
fn the_pages_a_newcomer_needs_are_there() {
    let mut needed = vec!["LICENSE", "deny.toml", "docs/decisions/0001-dependencies.md"];
    if is_built() {
        needed.extend(["README.md", "docs/format.md", "docs/errors.md"]);
    }
    let missing: Vec<&str> =
        needed.into_iter().filter(|page| !root().join(page).is_file()).collect();
    assert!(missing.is_empty(), "missing: {missing:?}");
    check(decision_law, "docs/decisions/0001-x.md", "# 0001. X\n", 0);
    check(decision_law, "docs/decisions/0001-x.md", "# 0002. X\n", 1);
    check(decision_law, "docs/decisions/x.md", "# X\n", 1);
    obey(&files("docs/decisions", &["md"]), decision_law);
}

#[test]
fn every_dependency_has_a_row_in_the_decisions() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let pages: String =
        files("docs/decisions", &["md"]).into_iter().map(|page| page.text).collect();
    let manifest: toml::Table = manifest.parse().unwrap();
    for section in ["dependencies", "dev-dependencies"] {
        for name in manifest[section].as_table().unwrap().keys() {
            assert!(pages.contains(&format!("| {name} |")), "{name} has no row in docs/decisions");
        }
    }
}
