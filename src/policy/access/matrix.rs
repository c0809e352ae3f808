//! The matrix: what each role may. It is data and nothing else; `tests/it/access.rs` states what
//! must never stand in it.

use crate::policy::access::{Permission, Role};

/// Every role with all it may do; what is not here is refused.
pub const MATRIX: [(Role, &[Permission]); 8] = [
    (Role::Admin, ADMIN),
    (Role::Operations, OPERATIONS),
    (Role::Developer, DEVELOPER),
    (Role::Auditor, AUDITOR),
    (Role::PrivacyOfficer, PRIVACY_OFFICER),
    (Role::Approver, APPROVER),
    (Role::Readonly, READONLY),
    (Role::Ingest, INGEST),
];

/// No `orders-read`: orders name persons. Whoever asked for an order sees that one all the same.
const ADMIN: &[Permission] = &[
    Permission::ProofsRead,
    Permission::HoldsRead,
    Permission::RetentionRead,
    Permission::RetentionPropose,
    Permission::ClassesRead,
    Permission::SourcesRead,
    Permission::SourcesManage,
    Permission::TokensRead,
    Permission::TokensManage,
    Permission::HumansRead,
    Permission::HumansManage,
    Permission::TenantsRead,
    Permission::TenantsManage,
    Permission::KeysRead,
    Permission::SchedulesRead,
    Permission::SchedulesManage,
    Permission::RuleRead,
    Permission::RulePropose,
    Permission::MetricsRead,
    Permission::SystemRead,
];

const OPERATIONS: &[Permission] = &[
    Permission::ProofsRead,
    Permission::HoldsRead,
    Permission::RetentionRead,
    Permission::RetentionRun,
    Permission::ClassesRead,
    Permission::SourcesRead,
    Permission::TenantsRead,
    Permission::KeysRead,
    Permission::SchedulesRead,
    Permission::SchedulesRun,
    Permission::RuleRead,
    Permission::MetricsRead,
    Permission::SystemRead,
];

const DEVELOPER: &[Permission] = &[
    Permission::EventsRead,
    Permission::ProofsRead,
    Permission::ClassesRead,
    Permission::SourcesRead,
];

const AUDITOR: &[Permission] = &[
    Permission::EventsRead,
    Permission::EventsOpen,
    Permission::EventsDisclose,
    Permission::ProofsRead,
    Permission::SubjectsLookup,
    Permission::ErasureRead,
    Permission::HoldsRead,
    Permission::RetentionRead,
    Permission::ClassesRead,
    Permission::SourcesRead,
    Permission::TokensRead,
    Permission::HumansRead,
    Permission::TenantsRead,
    Permission::KeysRead,
    Permission::SchedulesRead,
    Permission::OrdersRead,
    Permission::RuleRead,
    Permission::SystemRead,
];

const PRIVACY_OFFICER: &[Permission] = &[
    Permission::EventsRead,
    Permission::EventsOpen,
    Permission::EventsCorrect,
    Permission::EventsDisclose,
    Permission::ProofsRead,
    Permission::SubjectsLookup,
    Permission::SubjectsPreview,
    Permission::SubjectsRestrict,
    Permission::SubjectsLink,
    Permission::ErasureRequest,
    Permission::ErasureRead,
    Permission::HoldsRead,
    Permission::HoldsSet,
    Permission::HoldsReleaseRequest,
    Permission::RetentionRead,
    Permission::RetentionPropose,
    Permission::ClassesRead,
    Permission::SourcesRead,
    Permission::OrdersRead,
    Permission::RuleRead,
];

/// Who approves must see what is asked for, and what it would do.
const APPROVER: &[Permission] = &[
    Permission::ProofsRead,
    Permission::SubjectsPreview,
    Permission::ErasureRead,
    Permission::HoldsRead,
    Permission::RetentionRead,
    Permission::ClassesRead,
    Permission::OrdersRead,
    Permission::OrdersApprove,
    Permission::RuleRead,
];

const READONLY: &[Permission] = &[
    Permission::EventsRead,
    Permission::ProofsRead,
    Permission::ErasureRead,
    Permission::HoldsRead,
    Permission::RetentionRead,
    Permission::ClassesRead,
    Permission::SourcesRead,
    Permission::TenantsRead,
    Permission::SchedulesRead,
    Permission::RuleRead,
    Permission::SystemRead,
];

const INGEST: &[Permission] = &[Permission::EventsAppend];
