//! The jobs that every tenant gets at its first start, each with its reason. An administrator may
//! change, switch off or give up any of them; none comes back by itself.

use crate::server::scheduler::job::Plan;
use crate::server::scheduler::task::Task;

/// The defaults of a tenant. All in UTC: days of the log are UTC days. Each is put off by a few
/// minutes that differ from tenant to tenant, so that not all of them want the disk at once.
pub(crate) fn of(tenant: &str) -> Vec<Plan> {
    let plan = |task: Task, cron: &str, jitter_seconds| Plan {
        name: task.name().to_owned(),
        tenant: tenant.to_owned(),
        task,
        cron: cron.to_owned(),
        zone: "UTC".to_owned(),
        enabled: true,
        jitter_seconds,
    };
    vec![
        // Just after midnight, so that there is a checkpoint with which a day ends. A busy log has
        // one every second; a quiet one would show its last events of a day only with the next.
        plan(Task::Checkpoint, "5 0 * * *", 120),
        // A class-day falls due at midnight UTC: what is due goes within three hours, in the
        // quiet of most time zones, and after the day that ended has its checkpoint.
        plan(Task::Retention, "30 2 * * *", 900),
        // After retention, so that nothing is read again that is about to go. Its entry also gives
        // a log in which nothing happens one entry a day, and with it the seal of the day before.
        plan(Task::Scrub, "15 3 * * *", 900),
        // Retention compacts the key tree when half of it is dead; once a week it is done anyway,
        // which bounds how long the bytes of dead nodes lie in the file. It holds up whoever needs
        // new keys, hence on Sunday and when the scrub of a middling vault is over.
        plan(Task::KeyHygiene, "30 5 * * Sun", 900),
    ]
}
