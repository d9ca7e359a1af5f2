//! Which fires of a schedule become runs: the first one, those that come, and those missed.
//!
//! Pure. A job's *cursor* is an instant up to which every fire is accounted for; fires behind it up
//! to now are due.

use thalweg_core::time::Timestamp;

use crate::definition::JobDefinition;
use crate::schedule::Period;

/// Fires that become runs, and how far that accounts for the schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// The periods to run, oldest first; each ends at its fire.
    pub(crate) periods: Vec<Period>,
    /// The new cursor.
    pub(crate) cursor: Timestamp,
    /// Whether fires before the last one are passed over, because `catch_up` is off.
    pub(crate) missed: bool,
}

/// The cursor of a job that is seen for the first time: the first period begins at or after its
/// `start`, if that is to come or to be caught up with, and otherwise the next fire is the first.
pub(crate) fn first_cursor(definition: &JobDefinition, now: Timestamp) -> Timestamp {
    match (definition.start, &definition.schedule) {
        (Some(start), Some(schedule)) if start > now || definition.catch_up => {
            // The fire at which the first period begins; the run comes with the fire after it.
            schedule.next_after(Timestamp(start.0.saturating_sub(1))).unwrap_or(now)
        }
        _ => now,
    }
}

/// The fires behind `cursor` up to `now` for which there is `room`, if there are any.
pub(crate) fn due(
    definition: &JobDefinition,
    cursor: Timestamp,
    now: Timestamp,
    room: usize,
) -> Option<Due> {
    let schedule = definition.schedule.as_ref()?;
    let next = schedule.next_after(cursor).filter(|fire| *fire <= now && room > 0)?;
    let fires: Vec<Timestamp> = if definition.catch_up {
        std::iter::successors(Some(next), |fire| schedule.next_after(*fire))
            .take_while(|fire| *fire <= now)
            .take(room)
            .collect()
    } else {
        vec![schedule.previous(Timestamp(now.0.saturating_add(1)))?]
    };
    let periods = fires.iter().filter_map(|fire| schedule.period(*fire)).collect();
    Some(Due { periods, cursor: *fires.last()?, missed: *fires.first()? > next })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Schedule;

    fn job(catch_up: bool, start: Option<&str>) -> JobDefinition {
        JobDefinition {
            schedule: Some(Schedule::parse("15 0 * * *", "UTC").expect("a schedule")),
            start: start.map(time),
            catch_up,
            ..JobDefinition::new("nightly")
        }
    }

    fn time(text: &str) -> Timestamp {
        Timestamp::parse(text).expect("a time")
    }

    #[test]
    fn a_job_seen_first_begins_where_it_should() {
        check_first(false, None, &[]);
        check_first(true, None, &[]);
        check_first(false, Some("2023-12-20"), &[]);
        // 20 December's first whole period begins at 00:15 and is run a day later.
        check_first(true, Some("2023-12-20"), &["2023-12-20", "2023-12-21"]);
        check_first(true, Some("2023-12-20T00:15:00Z"), &["2023-12-20", "2023-12-21"]);
        check_first(true, Some("2023-12-20T00:16:00Z"), &["2023-12-21"]);
        check_first(true, Some("2024-12-20"), &[]);
        check_first(false, Some("2024-12-20"), &[]);
    }

    #[track_caller]
    fn check_first(catch_up: bool, start: Option<&str>, days: &[&str]) {
        let job = job(catch_up, start);
        let now = time("2023-12-22T12:00:00Z");
        let cursor = first_cursor(&job, now);
        assert_eq!(days_of(due(&job, cursor, now, 99)), days);
        if let Some(start) = job.start.filter(|start| *start > now) {
            let first = job.schedule.as_ref().and_then(|s| s.next_after(cursor)).expect("a fire");
            let period = job.schedule.as_ref().and_then(|s| s.period(first)).expect("a period");
            assert!(period.start >= start && period.start.since(start).as_secs() < 86_400);
        }
    }

    fn days_of(due: Option<Due>) -> Vec<String> {
        let periods = due.map(|due| due.periods).unwrap_or_default();
        periods.iter().map(|period| period.start.day().to_string()).collect()
    }

    #[test]
    fn missed_fires_are_caught_up_with_or_passed_over() {
        let cursor = time("2023-12-18T00:15:00Z");
        let now = time("2023-12-22T12:00:00Z");
        let all = due(&job(true, None), cursor, now, 99).expect("due");
        assert_eq!(
            days_of(Some(all.clone())),
            ["2023-12-18", "2023-12-19", "2023-12-20", "2023-12-21"]
        );
        assert!(!all.missed);
        let some = due(&job(true, None), cursor, now, 2).expect("due");
        assert_eq!(some.cursor, time("2023-12-20T00:15:00Z"));
        let latest = due(&job(false, None), cursor, now, 99).expect("due");
        assert_eq!(days_of(Some(latest.clone())), ["2023-12-21"]);
        assert!(latest.missed);
        assert_eq!(due(&job(false, None), latest.cursor, now, 99), None);
        assert_eq!(due(&job(true, None), cursor, now, 0), None);
        assert_eq!(due(&JobDefinition::new("by_hand"), cursor, now, 9), None);
    }

    #[test]
    fn a_fire_is_due_at_its_instant() {
        let fire = time("2023-12-22T00:15:00Z");
        let before = Timestamp(fire.0 - 1);
        let cursor = time("2023-12-21T00:15:00Z");
        assert_eq!(due(&job(false, None), cursor, before, 9), None);
        let due = due(&job(false, None), cursor, fire, 9).expect("due");
        assert_eq!((due.cursor, due.missed), (fire, false));
    }
}
