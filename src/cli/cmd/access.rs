//! `chancery access`: the permission matrix that this program has, for people and for `jq`.
//! It opens no vault: nothing stored can change what it prints.

use crate::cli::args::access::AccessCommand;
use crate::cli::cmd::done;
use crate::cli::output::{Align, Table};
use crate::cli::run::Context;
use crate::policy::access::{Permission, Reach, Role, allows, breaks_glass};
use anyhow::Result;
use serde_json::json;
use std::process::ExitCode;

/// Runs the command.
pub(crate) fn run(context: &mut Context, command: &AccessCommand) -> Result<ExitCode> {
    match command {
        AccessCommand::Matrix => matrix(context),
    }
}

fn matrix(context: &mut Context) -> Result<ExitCode> {
    let mut table = Table::new(&[
        ("permission", Align::Left),
        ("roles", Align::Left),
        ("on", Align::Left),
        ("break-glass", Align::Left),
        ("lets you", Align::Left),
    ]);
    for permission in Permission::ALL.iter().copied() {
        let roles = Role::ALL.iter().copied().filter(|role| allows(*role, permission));
        let roles: Vec<&str> = roles.map(Role::name).collect();
        let on = match permission.reach() {
            Reach::Tenant => "tenant",
            Reach::Service => "service",
        };
        let glass = breaks_glass(permission);
        context.out.object(&json!({
            "permission": permission.name(),
            "roles": roles,
            "on": on,
            "break_glass": glass,
            "about": permission.about(),
        }))?;
        let glass = if glass { "yes" } else { "no" };
        table.row(&[permission.name(), &roles.join(", "), on, glass, permission.about()]);
    }
    context.out.table(&table)?;
    context.out.say("")?;
    for role in Role::ALL {
        context.out.say(&format!("{:<16} {}", role, role.about()))?;
    }
    done()
}
