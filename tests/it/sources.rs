//! Sources as documents: registered, changed under their version, enforced on what comes in, and
//! listened for.

use crate::support::service::Service;

#[test]
fn a_service_starts_with_one_person_and_starts_again() {
    let service = Service::start().again();
    service.token(&["ingest"], None);
    service.guid("okta");
}
