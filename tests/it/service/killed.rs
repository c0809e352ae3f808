//! kill -9 at chosen calls of the system, in the middle of what people decided: an approval, an
//! erasure, a change of the policies, a scheduled run. After the restart the state is one of the
//! two valid ones and the service says which; nothing is counted or done twice.
//!
//! strace kills the built program at the n-th call of a kind in one of its threads. A seed chooses
//! the points; `CHANCERY_KILLS=full` tries every one, `CHANCERY_SEED` another choice.

use crate::service::person::{Person, in_days};
use crate::service::stage::{As, Home, Service};
use crate::support::sim::Rng;
use chancery::policy::default_files;
use chancery::vault::policies::policies_hash;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Kinds of calls at which it is killed: what writes, what makes durable, what names, what removes.
const KINDS: [&str; 5] = ["pwrite64", "fdatasync", "fsync", "rename", "unlink"];
/// Points of one story, unless all are wanted.
const POINTS: usize = 10;
/// Seconds between the filing of an order and its act.
const PAUSE: &str = "4s";

/// The n-th call of a kind.
#[derive(Clone, Debug)]
struct Point {
    kind: &'static str,
    nth: u64,
}

impl Point {
    fn inject(&self) -> String {
        format!("inject={}:signal=SIGKILL:when={}", self.kind, self.nth)
    }
}

fn seed() -> u64 {
    std::env::var("CHANCERY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

/// What became of a start that was to be killed.
#[derive(PartialEq, Eq, Debug)]
enum Struck {
    /// It was killed by the point.
    Killed,
    /// It came as far as was waited for, and was killed then.
    Passed,
}

/// Starts the service in a home, to be killed at the point, and waits for its end. It is let live
/// until `enough` says so of what it printed.
fn strike(home: &Home, point: &Point, enough: impl FnOnce(Value)) -> Struck {
    let inject = point.inject();
    // As a grandchild, so that the child is the service itself.
    let strace = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &inject];
    let mut child = home.serve_under(&strace);
    let listening = listening(&mut child);
    let struck = match listening {
        Some(said) => {
            enough(said);
            let killed = child.try_wait().unwrap().is_some();
            if killed { Struck::Killed } else { Struck::Passed }
        }
        None => Struck::Killed,
    };
    let _ = child.kill();
    child.wait().unwrap();
    struck
}

/// The line that says where it listens; none if it ended before.
fn listening(child: &mut Child) -> Option<Value> {
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    loop {
        line.clear();
        if out.read_line(&mut line).unwrap() == 0 {
            return None;
        }
        let said = serde_json::from_str::<Value>(&line).unwrap_or_default();
        if said["listen"].is_string() {
            return Some(said);
        }
    }
}

/// How often each kind of call is made at most by one thread until the service listens.
fn counted(base: &Home) -> BTreeMap<&'static str, u64> {
    let home = base.copy();
    let calls = KINDS.join(",");
    let trace = format!("trace={calls}");
    let log = home.path("calls");
    let strace = ["strace", "-D", "-f", "-qq", "-o", log.to_str().unwrap(), "-e", &trace];
    let mut child = home.serve_under(&strace);
    assert!(listening(&mut child).is_some(), "it starts");
    let _ = child.kill();
    child.wait().unwrap();
    let text = std::fs::read_to_string(&log).unwrap();
    let mut by: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for line in text.lines() {
        let (thread, call) = line.split_once(' ').unwrap();
        let kind = KINDS.iter().find(|kind| call.trim_start().starts_with(&format!("{kind}(")));
        kind.into_iter().for_each(|kind| *by.entry((thread, *kind)).or_default() += 1);
    }
    let most = |kind: &str| by.iter().filter(|((_, k), _)| *k == kind).map(|(_, n)| *n).max();
    KINDS.into_iter().map(|kind| (kind, most(kind).unwrap_or(0))).collect()
}

/// The points of a story: every one, or a choice by seed, the later ones first where the act is.
fn points(base: &Home) -> Vec<Point> {
    let counted = counted(base);
    println!("seed {}, calls {counted:?}", seed());
    let mut all: Vec<Point> = counted
        .into_iter()
        .flat_map(|(kind, most)| (1..=most).map(move |nth| Point { kind, nth }))
        .collect();
    if std::env::var("CHANCERY_KILLS").is_ok_and(|kills| kills == "full") {
        return all;
    }
    let mut rng = Rng::new(seed());
    let mut chosen = Vec::new();
    while chosen.len() < POINTS && !all.is_empty() {
        chosen.push(all.swap_remove(rng.below(all.len())));
    }
    chosen
}

/// Tries every point on its own copy, two at a time. `judge` gets the service that was started
/// again. How many points in fact killed.
fn at_each(base: &Home, enough: &(dyn Fn(Value) + Sync), judge: &(dyn Fn(Service, &str) + Sync)) {
    let points = points(base);
    let (next, killed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(point) = points.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let home = base.copy();
                    let struck = strike(&home, point, enough);
                    killed.fetch_add(usize::from(struck == Struck::Killed), Ordering::SeqCst);
                    let context = format!("{point:?} {struck:?}");
                    println!("{context}");
                    judge(home.serve(&[]), &context);
                }
            });
        }
    });
    let killed = killed.into_inner();
    println!("{killed} of {} points killed", points.len());
    assert!(killed * 2 >= points.len(), "most points must be met: {killed} of {}", points.len());
}

/// A service with one operator whose orders rest, and a token that may look.
fn resting() -> (Service, Person, String) {
    let service = Service::start(&["--single-operator", "--cooling-off", PAUSE]);
    let dana = Person::first(&service);
    let roles = ["privacy-officer", "readonly", "operations"];
    let token = dana.token(&service, &roles, &json!({"expires": in_days(30)}));
    (service, dana, token)
}

/// Files an order that rests, and stops the service before its pause is over.
fn filed(service: Service, dana: &Person, wish: &Value) -> (Home, Value) {
    let order = service.post(dana.who(), "/v1/orders", wish);
    assert_eq!(order["state"], "approved", "{order}");
    let home = service.stop();
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        // What is waited for is the clock of the service, which is this machine's.
        std::thread::park_timeout(Duration::from_millis(50));
    }
    (home, order)
}

fn steps(order: &Value, what: &str) -> usize {
    let steps = order["order"]["steps"].as_array().unwrap();
    steps.iter().filter(|step| step["step"] == what).count()
}

/// The order as the service tells it once nothing is under way any more.
fn settled(service: &Service, token: &str, filed: &Value) -> Value {
    let path = format!("/v1/orders/{}", filed["id"].as_str().unwrap());
    service.get(As::Token(token), &path)
}

fn entries(service: &Service, token: &str, kind: &str) -> Vec<Value> {
    let page = service.get(As::Token(token), &format!("/v1/events?kind={kind}"));
    page["events"].as_array().unwrap().clone()
}

fn nothing(_: Value) {}

#[test]
#[ignore = "needs strace"]
fn an_erasure_that_was_killed_is_done_once_and_says_so() {
    let (service, dana, token) = resting();
    let machine = dana.token(&service, &["ingest"], &json!({"sources": ["clinic"]}));
    let event = json!({"id": "e1", "action": "user.login", "actor": {"id": "u7", "type": "user"}});
    service.post(As::Token(&machine), "/v1/events?source=clinic", &event);
    let named = json!([{"kind": "user_id", "value": "u7"}]);
    let wish = json!({"act": "erase", "identifiers": named, "basis": "gdpr-17-1"});
    let (base, order) = filed(service, &dana, &wish);
    at_each(&base, &nothing, &|service, context| {
        let told = settled(&service, &token, &order);
        assert_eq!(told["order"]["state"], "executed", "{context}: {told}");
        assert_eq!(steps(&told, "executed"), 1, "{context}: {told}");
        let job = order["job"].as_str().unwrap();
        let erasure = service.get(As::Token(&token), &format!("/v1/erasures/{job}"));
        assert_eq!(erasure["state"], "done", "{context}: {erasure}");
        for kind in ["erase-intent", "erase-done"] {
            assert_eq!(entries(&service, &token, kind).len(), 1, "{context}: {kind}");
        }
        let wish = json!({"identifiers": named});
        let found = service.refused(As::Token(&token), "/v1/subjects/lookup", &wish);
        assert_eq!(found.0, 404, "{context}: {found:?}");
        let path = format!("/v1/erasures/{job}/receipt");
        let receipt = service.ask(As::Token(&token), "GET", &path, None);
        assert_eq!(receipt.status, 200, "{context}: {}", receipt.text());
        let home = service.stop();
        home.trust();
        std::fs::write(home.path("receipt"), receipt.body).unwrap();
        home.ok(&["verify", "receipt", "--trust", "trust.policy"]);
        home.ok(&["verify", "--trust", "trust.policy"]);
    });
}

#[test]
#[ignore = "needs strace"]
fn a_change_of_policies_that_was_killed_is_in_force_once_or_not_and_the_order_says_which() {
    let (service, dana, token) = resting();
    let mut files = default_files();
    let base_hash = policies_hash(&files).unwrap().1;
    let classes = files.get_mut("classes.toml").unwrap();
    *classes = classes.replace("keep = \"90d\"", "keep = \"91d\"");
    let wish = json!({"act": "apply-policies", "files": files, "base_hash": base_hash.to_string()});
    let keep = |service: &Service| {
        let classes = service.get(As::Token(&token), "/v1/classes");
        let known = classes["classes"].as_array().unwrap().clone();
        known.iter().find(|class| class["name"] == "90d").unwrap().to_string()
    };
    let old = keep(&service);
    let (base, order) = filed(service, &dana, &wish);
    at_each(&base, &nothing, &|service, context| {
        let told = settled(&service, &token, &order);
        let state = told["order"]["state"].as_str().unwrap();
        assert_eq!(steps(&told, state), 1, "{context}: {told}");
        match state {
            "executed" => assert_ne!(keep(&service), old, "{context}: {told}"),
            "failed" => assert_eq!(keep(&service), old, "{context}: {told}"),
            other => panic!("{context}: {other}: {told}"),
        }
        let home = service.stop();
        home.trust();
        home.ok(&["verify", "--trust", "trust.policy"]);
    });
}

fn runs(service: &Service, token: &str) -> Vec<Value> {
    let job = service.get(As::Token(token), "/v1/schedules/checkpoint");
    job["runs"].as_array().unwrap().clone()
}

/// Asks until a run of the job is done that was not there before.
fn wait_for_run(service: &Service, token: &str, known: usize) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let now = runs(service, token);
        if now.iter().skip_while(|run| run["outcome"] != "done").count() > known {
            return now;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "no run came: {now:?}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
#[ignore = "needs strace"]
fn a_scheduled_run_that_was_killed_is_in_the_history_once_and_runs_again() {
    let (service, dana, token) = resting();
    let wish = json!({"task": "checkpoint", "cron": "*/2 * * * * *"});
    let job = service.ask(dana.who(), "GET", "/v1/schedules/checkpoint", None);
    let headers = [
        ("cookie", dana.cookie.as_str()),
        ("content-type", "application/json"),
        ("if-match", job.header("etag")),
    ];
    let body = Some(wish.to_string().into_bytes());
    let to = ("PUT", "/v1/schedules/checkpoint");
    let put = service.send(service.admin, to, &headers, body);
    assert!((200..300).contains(&put.status), "{}", put.text());
    let before = wait_for_run(&service, &token, 0);
    let base = service.stop();
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        std::thread::park_timeout(Duration::from_millis(50));
    }
    // The missed run begins behind the start: it is given two seconds in which to be killed.
    let enough = |_: Value| {
        let until = Instant::now() + Duration::from_secs(2);
        while Instant::now() < until {
            std::thread::park_timeout(Duration::from_millis(50));
        }
    };
    at_each(&base, &enough, &|service, context| {
        let after = wait_for_run(&service, &token, before.len());
        let mut done = Vec::new();
        for run in &after {
            let outcome = run["outcome"].as_str().unwrap();
            let known = ["done", "interrupted", "stopped", "running"].contains(&outcome);
            assert!(known, "{context}: {run}");
            if outcome == "done" {
                done.push(run["due"].as_str().unwrap());
            }
        }
        let cut = after.iter().filter(|run| run["outcome"] == "interrupted").count();
        assert!(cut <= 1, "{context}: one kill cuts one run: {after:?}");
        let running = after.iter().filter(|run| run["outcome"] == "running").count();
        assert!(running <= 1, "{context}: {after:?}");
        // Newest first, and no firing is done twice.
        assert!(done.windows(2).all(|two| two[0] > two[1]), "{context}: {after:?}");
        service.stop();
    });
}

/// Ends the service's process at the n-th call of a kind, from now on, in any of its threads.
fn attach(service: &Service, point: &Point) -> Child {
    let mut strace = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "-p", &service.pid().to_string(), "-e", &point.inject()])
        .stderr(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(strace.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("attached"), "{line}");
    // Whoever closes the pipe ends whoever writes to it.
    std::thread::spawn(move || {
        let mut rest = String::new();
        let _ = std::io::Read::read_to_string(&mut said, &mut rest);
    });
    strace
}

/// Two people, and an order of the first that waits for the second.
fn waiting() -> (Home, Person, String, Value) {
    let service = Service::start(&["--cooling-off", "0s"]);
    let dana = Person::first(&service);
    let omar = crate::service::two::founded(&service, &dana);
    let more = json!({"expires": in_days(30)});
    let token = dana.token(&service, &["privacy-officer", "ingest", "readonly"], &more);
    let event = json!({"id": "e1", "action": "user.login", "actor": {"id": "u7", "type": "user"}});
    service.post(As::Token(&token), "/v1/events?source=clinic", &event);
    let named = json!([{"kind": "user_id", "value": "u7"}]);
    let wish = json!({"act": "erase", "identifiers": named, "basis": "gdpr-17-1"});
    let order = service.post(dana.who(), "/v1/orders", &wish);
    assert_eq!((&order["state"], &order["approvals_missing"]), (&json!("filed"), &json!(1)));
    (service.stop(), omar, token, order)
}

/// One kill during an approval, and the approval asked for again.
fn approved_once(
    base: &Home,
    omar: &Person,
    (token, order): (&str, &Value),
    point: &Point,
) -> bool {
    let mut omar = omar.clone();
    let path = format!("/v1/orders/{}", order["id"].as_str().unwrap());
    let wish = json!({"hash": order["hash"]});
    let service = base.copy().serve(&[]);
    omar.forget_codes();
    omar.log_in(&service);
    let mut strace = attach(&service, point);
    let answer = service.try_post(omar.who(), &format!("{path}/approve"), &wish);
    let home = service.kill();
    let _ = strace.wait();
    let service = home.serve(&[]);
    let told = settled(&service, token, order);
    let counted = steps(&told, "approved");
    let context = format!("{point:?}, answer {answer:?}: {told}");
    let state = (told["order"]["state"].as_str().unwrap(), &told["order"]["approvals_missing"]);
    match counted {
        0 => assert_eq!(state, ("filed", &json!(1)), "{context}"),
        // What was approved and rests no longer is done before anybody is answered.
        1 => assert_eq!(state, ("executed", &json!(0)), "{context}"),
        _ => panic!("{context}"),
    }
    assert!(answer != Some(200) || counted == 1, "what was answered stands: {context}");
    omar.forget_codes();
    omar.log_in(&service);
    let again = service.ask(omar.who(), "POST", &format!("{path}/approve"), Some(&wish));
    let expected = if counted == 1 { 409 } else { 200 };
    assert_eq!(again.status, expected, "{context}: {}", again.text());
    let told = settled(&service, token, order);
    assert_eq!(steps(&told, "approved"), 1, "{context}: then {told}");
    assert_eq!(told["order"]["state"], "executed", "{context}: then {told}");
    for kind in ["erase-intent", "erase-done"] {
        assert_eq!(entries(&service, token, kind).len(), 1, "{context}: {kind}");
    }
    let home = service.stop();
    home.trust();
    home.ok(&["verify", "--trust", "trust.policy"]);
    println!("{point:?}: answer {answer:?}, counted {counted}");
    answer.is_none()
}

#[test]
#[ignore = "needs strace"]
fn an_approval_that_was_killed_is_counted_once_or_not_at_all_and_never_twice() {
    let (base, omar, token, order) = waiting();
    let mut points: Vec<Point> = Vec::new();
    for (kind, most) in [("pwrite64", 3), ("fdatasync", 2), ("rename", 1), ("sendto", 1)] {
        points.extend((1..=most).map(|nth| Point { kind, nth }));
    }
    let unanswered = Mutex::new(0);
    // All at once: most of their time they wait for the next one-time code.
    std::thread::scope(|scope| {
        for point in &points {
            scope.spawn(|| {
                let cut = approved_once(&base, &omar, (&token, &order), point);
                *unanswered.lock().unwrap() += usize::from(cut);
            });
        }
    });
    let unanswered = unanswered.into_inner().unwrap();
    println!("{unanswered} of {} approvals got no answer", points.len());
    assert!(unanswered * 2 >= points.len(), "most kills must come before the answer");
}
