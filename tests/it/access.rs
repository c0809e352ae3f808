//! The permission matrix: its golden copy as the program prints it, and what must never stand in
//! it. A change of the matrix is a change of both.

use chancery::policy::access::{MATRIX, Permission, Reach, Role, allows, breaks_glass};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

fn printed(arguments: &[&str]) -> String {
    // Somewhere without a vault: the matrix needs none.
    let nowhere = tempfile::tempdir().unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_chancery"))
        .args(arguments)
        .current_dir(nowhere.path())
        .env_clear()
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(std::fs::read_dir(nowhere.path()).unwrap().next().is_none(), "it left something");
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn the_matrix_is_the_golden_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/access-matrix.txt");
    let now = printed(&["access", "matrix"]);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(now, golden, "UPDATE=1 rewrites it; a reviewer must see who gained what");
}

#[test]
fn json_says_the_same_as_the_matrix() {
    let mut seen = BTreeSet::new();
    for line in printed(&["access", "matrix", "--json"]).lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let permission = Permission::from_name(row["permission"].as_str().unwrap()).unwrap();
        let holders = row["roles"].as_array().unwrap().iter();
        let holders: Vec<Role> =
            holders.map(|role| Role::from_name(role.as_str().unwrap()).unwrap()).collect();
        assert_eq!(holders, who(permission), "{permission}");
        assert_eq!(row["break_glass"].as_bool(), Some(breaks_glass(permission)));
        assert!(seen.insert(permission));
    }
    assert_eq!(seen.len(), Permission::ALL.len());
}

/// Who has a permission.
fn who(permission: Permission) -> Vec<Role> {
    Role::ALL.iter().copied().filter(|role| allows(*role, permission)).collect()
}

fn only(permission: Permission, roles: &[Role]) {
    assert_eq!(who(permission), roles, "{permission}");
}

#[test]
fn every_role_has_one_row_and_no_permission_twice() {
    let rows: Vec<Role> = MATRIX.iter().map(|(role, _)| *role).collect();
    assert_eq!(rows, Role::ALL, "one row for each role, in order");
    for (role, permissions) in MATRIX {
        let mut sorted = permissions.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted, permissions, "{role}: ascending, each once");
    }
    for permission in Permission::ALL {
        assert!(!who(*permission).is_empty(), "nobody may {permission}");
        assert!(permission.about().len() <= 60, "{permission}: one line");
    }
}

#[test]
fn names_are_read_back_and_are_plain() {
    let plain = |name: &str| {
        let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        assert!(letters && !name.starts_with('-') && !name.ends_with('-'), "{name}");
    };
    for role in Role::ALL {
        assert_eq!(Role::from_name(role.name()), Some(*role));
        let json = serde_json::to_string(role).unwrap();
        assert_eq!(serde_json::from_str::<Role>(&json).unwrap(), *role);
        plain(role.name());
    }
    for permission in Permission::ALL {
        assert_eq!(Permission::from_name(permission.name()), Some(*permission));
        plain(permission.name());
    }
    for wrong in ["", "Admin", "root", "admin ", "privacy_officer"] {
        assert_eq!(Role::from_name(wrong), None);
        assert!(serde_json::from_str::<Role>(&format!("{wrong:?}")).is_err());
    }
}

#[test]
fn content_is_for_auditors_and_privacy_officers_alone() {
    for permission in [Permission::EventsOpen, Permission::EventsDisclose] {
        only(permission, &[Role::Auditor, Role::PrivacyOfficer]);
    }
    // Who runs or sets up the service sees no event at all, masked or not, and no order.
    for role in [Role::Admin, Role::Operations, Role::Approver, Role::Ingest] {
        assert!(!allows(role, Permission::EventsRead), "{role}");
    }
    for role in [Role::Admin, Role::Operations, Role::Developer, Role::Readonly, Role::Ingest] {
        for permission in [Permission::OrdersRead, Permission::SubjectsPreview] {
            assert!(!allows(role, permission), "{role} {permission}");
        }
        assert!(!allows(role, Permission::SubjectsLookup), "{role}");
    }
}

#[test]
fn who_asks_does_not_approve_and_who_approves_does_not_ask() {
    only(Permission::OrdersApprove, &[Role::Approver]);
    only(Permission::ErasureRequest, &[Role::PrivacyOfficer]);
    only(Permission::HoldsSet, &[Role::PrivacyOfficer]);
    only(Permission::HoldsReleaseRequest, &[Role::PrivacyOfficer]);
    only(Permission::SubjectsLink, &[Role::PrivacyOfficer]);
    only(Permission::SubjectsRestrict, &[Role::PrivacyOfficer]);
    only(Permission::EventsCorrect, &[Role::PrivacyOfficer]);
    only(Permission::RetentionPropose, &[Role::Admin, Role::PrivacyOfficer]);
    for permission in Permission::ALL.iter().filter(|p| allows(Role::Approver, **p)) {
        let harmless = permission.only_reads() || *permission == Permission::OrdersApprove;
        assert!(harmless, "an approver may {permission} alone");
    }
}

#[test]
fn setting_up_is_for_admins_and_running_for_operations() {
    for permission in [
        Permission::SourcesManage,
        Permission::TokensManage,
        Permission::HumansManage,
        Permission::TenantsManage,
        Permission::SchedulesManage,
        Permission::RulePropose,
    ] {
        only(permission, &[Role::Admin]);
    }
    for permission in [Permission::RetentionRun, Permission::SchedulesRun] {
        only(permission, &[Role::Operations]);
    }
}

#[test]
fn machines_only_append() {
    only(Permission::EventsAppend, &[Role::Ingest]);
    let row = MATRIX.iter().find(|(role, _)| *role == Role::Ingest).unwrap();
    assert_eq!(row.1, &[Permission::EventsAppend]);
    assert!(!Role::Approver.fits_machines());
    assert!(Role::ALL.iter().filter(|role| !role.fits_machines()).count() == 1);
}

#[test]
fn readers_change_nothing() {
    for role in [Role::Developer, Role::Readonly, Role::Auditor] {
        for permission in Permission::ALL.iter().filter(|p| allows(role, **p)) {
            let reads = permission.only_reads() || *permission == Permission::EventsDisclose;
            assert!(reads, "{role} may {permission}");
        }
    }
    let changes = Permission::ALL.iter().filter(|permission| !permission.only_reads());
    let changes: Vec<&str> = changes.map(|permission| permission.name()).collect();
    assert_eq!(
        changes,
        [
            "events-append",
            "events-correct",
            "events-disclose",
            "subjects-restrict",
            "subjects-link",
            "erasure-request",
            "holds-set",
            "holds-release-request",
            "retention-propose",
            "retention-run",
            "sources-manage",
            "tokens-manage",
            "humans-manage",
            "tenants-manage",
            "schedules-manage",
            "schedules-run",
            "orders-approve",
            "rule-propose",
        ]
    );
}

#[test]
fn broken_glass_reads_one_tenant_and_does_nothing() {
    assert!(breaks_glass(Permission::EventsOpen) && breaks_glass(Permission::SubjectsPreview));
    for permission in Permission::ALL.iter().copied().filter(|p| breaks_glass(*p)) {
        assert!(permission.only_reads() && permission.reach() == Reach::Tenant, "{permission}");
        let whose = [Role::Auditor, Role::PrivacyOfficer];
        assert!(whose.iter().any(|role| allows(*role, permission)), "{permission}");
    }
    for never in [Permission::EventsDisclose, Permission::ErasureRequest, Permission::HumansRead] {
        assert!(!breaks_glass(never), "{never}");
    }
}

#[test]
fn roles_that_take_two_people_are_the_weighty_ones() {
    let weighty: Vec<Role> = Role::ALL.iter().copied().filter(|role| role.is_weighty()).collect();
    assert_eq!(weighty, [Role::Admin, Role::Auditor, Role::PrivacyOfficer, Role::Approver]);
    // Whatever opens content or weakens a rule is behind one of them.
    for role in Role::ALL.iter().filter(|role| !role.is_weighty()) {
        for permission in [
            Permission::EventsOpen,
            Permission::EventsDisclose,
            Permission::ErasureRequest,
            Permission::OrdersApprove,
            Permission::HumansManage,
            Permission::TokensManage,
            Permission::RulePropose,
        ] {
            assert!(!allows(*role, permission), "{role} may {permission}");
        }
    }
}
