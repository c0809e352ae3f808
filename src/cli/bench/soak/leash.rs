//! The writing process of this process's soak, where whoever ends the soak from outside finds it.
//! It never kills another process: a number is held here only while its process is not waited for.

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};

static WRITER: Mutex<Option<Pid>> = Mutex::new(None);

fn writer() -> MutexGuard<'static, Option<Pid>> {
    WRITER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a writing process.
///
/// # Errors
/// Those of starting it.
pub(crate) fn start(command: &mut Command) -> io::Result<Child> {
    let mut held = writer();
    let child = command.spawn()?;
    *held = Some(Pid::from_child(&child));
    Ok(child)
}

/// Waits for a writing process whose pipes are at their end.
///
/// # Errors
/// Those of waiting.
pub(crate) fn wait(child: &mut Child) -> io::Result<ExitStatus> {
    let mut held = writer();
    let status = child.wait();
    *held = None;
    status
}

/// Kills the writing process, if there is one, and waits until it is gone. None is started or
/// waited for after that: this process is about to end.
pub(crate) fn end() {
    let held = writer();
    if let Some(pid) = *held {
        let _ = kill_process(pid, Signal::KILL);
        let _ = waitpid(Some(pid), WaitOptions::empty());
    }
    std::mem::forget(held);
}
