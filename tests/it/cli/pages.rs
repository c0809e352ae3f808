//! Command lines on the pages: what people copy from there must be something the program takes.

use crate::cli::binary::Home;
use chancery::cli::args::Cli;
use clap::error::ErrorKind;
use clap::{Command, CommandFactory, Parser};
use std::path::{Path, PathBuf};

/// A command line on a page: in a block, or between backticks in a sentence.
struct Line {
    words: Vec<String>,
    in_block: bool,
    place: String,
}

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = vec![
        root.join("README.md"),
        root.join("keys/README.md"),
        root.join("reports/README.md"),
        root.join("verify/README.md"),
    ];
    for dir in ["docs", "docs/decisions"] {
        let names = std::fs::read_dir(root.join(dir)).unwrap().map(|e| e.unwrap().path());
        found.extend(names.filter(|path| path.extension().is_some_and(|e| e == "md")));
    }
    found
}

/// Every command line of a page that begins with the program's name.
fn lines(path: &Path) -> Vec<Line> {
    let text = std::fs::read_to_string(path).unwrap().replace("\\\n", " ");
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let mut found = Vec::new();
    let mut take = |text: &str, in_block: bool| {
        let words = words(text);
        if words.first().is_some_and(|word| word == "chancery") && words.len() > 1 {
            let place = format!("{name}: {}", words.join(" "));
            found.push(Line { words, in_block, place });
        }
    };
    for (at, block) in text.split("```").enumerate() {
        if at % 2 == 1 {
            // A pipe feeds another command.
            block.lines().flat_map(|line| line.split('|')).for_each(|line| take(line, true));
        } else {
            let spans = block.split('`').skip(1).step_by(2);
            spans.for_each(|span| take(span, false));
        }
    }
    found
}

/// Words as a shell would see them, without a remark and with words that stand for others put in.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars().chain([' ']) {
        match c {
            '\'' => quoted = !quoted,
            '#' if !quoted && word.is_empty() => break,
            c if c.is_whitespace() && !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    words.retain(|word| word != "...");
    let stands_for = |word: String| match word.as_str() {
        "YYYY-MM-DD" => "2026-11-21".to_owned(),
        _ => word,
    };
    words.into_iter().map(stands_for).collect()
}

/// Whether the words are nothing but the name of a command, as in a sentence about it.
fn is_name(words: &[String]) -> bool {
    let mut command: Command = Cli::command();
    for word in words.iter().skip(1) {
        match command.find_subcommand(word) {
            Some(next) => command = next.clone(),
            None => return false,
        }
    }
    true
}

#[test]
fn every_command_line_on_a_page_is_one_that_the_program_takes() {
    let all: Vec<Line> = pages().iter().flat_map(|page| lines(page)).collect();
    let (blocks, spans) = all.iter().partition::<Vec<&Line>, _>(|line| line.in_block);
    assert!(blocks.len() > 10 && spans.len() > 60, "{} and {}", blocks.len(), spans.len());
    let mut bad = Vec::new();
    for line in &all {
        if !line.in_block && is_name(&line.words) {
            continue;
        }
        if let Err(error) = Cli::try_parse_from(&line.words)
            && error.kind() != ErrorKind::DisplayHelp
        {
            bad.push(format!("{}\n{error}", line.place));
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn a_line_that_is_none_is_found() {
    let check = |text: &str, taken: bool| {
        let words = words(text);
        let is = is_name(&words) || Cli::try_parse_from(&words).is_ok();
        assert_eq!(is, taken, "{text}");
    };
    check("chancery witness", true);
    check("chancery hold set --case '4 C 1' --class 6y --requested-by dana", true);
    check("chancery hold release --case '4 C 1' --requested-by dana", false);
    check("chancery report gdpr --out DIR", false);
    check("chancery report gdpr --by dpo --out DIR   # a remark", true);
    check("chancery nothing", false);
}

#[test]
fn an_option_without_its_value_says_that_it_needs_one() {
    let said = Home::new().fails(&["verify", "x", "--trust"], 2, "USAGE");
    assert!(said.contains("--trust <FILE>: needs a value;"), "{said}");
}

#[test]
fn a_report_may_begin_with_time_itself() {
    let home = Home::filled();
    home.ok(&["report", "gdpr", "--by", "dpo", "--from", "1970-01-01", "--out", "r"]);
    home.ok(&["keys", "trust", "--out", "trust"]);
    home.ok(&["verify", "r", "--trust", "trust"]);
}
