//! Schedules by tables round the changes of the clocks, and against a count of minutes.

use proptest::prelude::*;

use super::*;

#[test]
fn fires_follow_the_wall_clock() {
    check_fires("15 0 * * *", "UTC", "2023-12-22T00:15:00Z", &["2023-12-23T00:15:00Z"]);
    check_fires("15 0 * * *", "UTC", "2023-12-22T00:14:59.9Z", &["2023-12-22T00:15:00Z"]);
    check_fires("0 3 * * MON", "UTC", "2023-12-22", &["2023-12-25T03:00:00Z"]);
    check_fires("0 12 L 2 *", "UTC", "2023-12-22", &["2024-02-29T12:00:00Z"]);
    check_fires("0 0 29 2 *", "UTC", "2097-01-01", &["2104-02-29T00:00:00Z"]);
    check_fires("0 0 13 * 5", "UTC", "2023-12-02", &["2023-12-08T00:00:00Z"]);
    check_fires("@hourly", "UTC", "2023-12-22T00:00:00.000001Z", &["2023-12-22T01:00:00Z"]);
    check_fires("@daily", "Asia/Kolkata", "2023-12-22", &["2023-12-22T18:30:00Z"]);
    check_fires("@weekly", "UTC", "2023-12-22", &["2023-12-24T00:00:00Z"]);
    check_fires("@monthly", "UTC", "2023-12-22", &["2024-01-01T00:00:00Z"]);
    check_fires("@yearly", "UTC", "2023-12-22", &["2024-01-01T00:00:00Z"]);
    check_fires(
        "every 5m",
        "America/New_York",
        "2023-12-22T00:05:00Z",
        &["2023-12-22T00:10:00Z", "2023-12-22T00:15:00Z"],
    );
    check_fires("every 1h 30m", "UTC", "2023-12-22T00:01:00Z", &["2023-12-22T01:30:00Z"]);
    check_fires("every 7s", "UTC", "1969-12-31T23:59:50Z", &["1969-12-31T23:59:53Z"]);
}

/// S19: what the clocks leave out fires at the next valid minute, what they repeat fires once.
#[test]
fn fires_meet_the_changes_of_the_clocks() {
    // Berlin, 31 March 2024: 02:00 to 03:00 is left out at 01:00Z.
    check_fires(
        "30 2 * * *",
        "Europe/Berlin",
        "2024-03-30",
        &["2024-03-30T01:30:00Z", "2024-03-31T01:00:00Z", "2024-04-01T00:30:00Z"],
    );
    // Three times that are one minute fire once.
    check_fires(
        "0,30 2,3 * * *",
        "Europe/Berlin",
        "2024-03-31",
        &["2024-03-31T01:00:00Z", "2024-03-31T01:30:00Z", "2024-04-01T00:00:00Z"],
    );
    // Berlin, 27 October 2024: 02:00 to 03:00 occurs twice, from 00:00Z and from 01:00Z.
    check_fires(
        "30 2 * * *",
        "Europe/Berlin",
        "2024-10-26T12:00:00Z",
        &["2024-10-27T00:30:00Z", "2024-10-28T01:30:00Z"],
    );
    check_fires(
        "*/30 2,3 * * *",
        "Europe/Berlin",
        "2024-10-27",
        &[
            "2024-10-27T00:30:00Z",
            "2024-10-27T02:00:00Z",
            "2024-10-27T02:30:00Z",
            "2024-10-28T01:00:00Z",
        ],
    );
    // From inside the second occurrence.
    check_fires("30 2 * * *", "Europe/Berlin", "2024-10-27T01:10:00Z", &["2024-10-28T01:30:00Z"]);
    check_fires("0 3 * * *", "Europe/Berlin", "2024-10-27T01:10:00Z", &["2024-10-27T02:00:00Z"]);
    // New York, 10 March 2024 at 07:00Z and 3 November 2024 at 06:00Z.
    check_fires(
        "30 2 * * *",
        "America/New_York",
        "2024-03-10",
        &["2024-03-10T07:00:00Z", "2024-03-11T06:30:00Z"],
    );
    check_fires(
        "30 1 * * *",
        "America/New_York",
        "2024-11-03",
        &["2024-11-03T05:30:00Z", "2024-11-04T06:30:00Z"],
    );
    // Lord Howe changes by half an hour, and Samoa once left out the whole of 30 December 2011.
    check_fires(
        "15 2 * * *",
        "Australia/Lord_Howe",
        "2024-10-05T00:00:00Z",
        &["2024-10-05T15:30:00Z", "2024-10-06T15:15:00Z"],
    );
    check_fires(
        "0 12 * * *",
        "Pacific/Apia",
        "2011-12-29T12:00:00Z",
        &["2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z"],
    );
    // Elapsed time knows no change.
    check_fires(
        "every 30m",
        "Europe/Berlin",
        "2024-10-27T00:30:00Z",
        &["2024-10-27T01:00:00Z", "2024-10-27T01:30:00Z", "2024-10-27T02:00:00Z"],
    );
}

#[track_caller]
fn check_fires(text: &str, timezone: &str, after: &str, fires: &[&str]) {
    let schedule = Schedule::parse(text, timezone).expect("it is a schedule");
    let after = Timestamp::parse(after).expect("it is a time");
    let found = schedule.upcoming(after, fires.len());
    let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(shown, fires, "{text} in {timezone}");
    for pair in found.windows(2) {
        let period = schedule.period(pair[1]).expect("there is a fire before");
        assert_eq!(period, Period { start: pair[0], end: pair[1] }, "{text} in {timezone}");
    }
}

#[test]
fn a_period_runs_from_fire_to_fire() {
    check_period("15 0 * * *", "UTC", "2023-12-23T00:15:00Z", "2023-12-22T00:15:00Z");
    check_period("30 2 * * *", "Europe/Berlin", "2024-03-31T01:00:00Z", "2024-03-30T01:30:00Z");
    check_period("30 2 * * *", "Europe/Berlin", "2024-10-28T01:30:00Z", "2024-10-27T00:30:00Z");
    check_period("0 3 * * *", "Europe/Berlin", "2024-10-27T01:30:00Z", "2024-10-26T01:00:00Z");
    check_period("50 2 * * *", "Europe/Berlin", "2024-10-27T01:10:00Z", "2024-10-27T00:50:00Z");
    check_period("every 5m", "UTC", "2024-01-01T00:00:00Z", "2023-12-31T23:55:00Z");
}

#[track_caller]
fn check_period(text: &str, timezone: &str, fire: &str, start: &str) {
    let schedule = Schedule::parse(text, timezone).expect("it is a schedule");
    let period = schedule.period(Timestamp::parse(fire).expect("a time")).expect("a period");
    assert_eq!(period.start.to_string(), start, "{text} in {timezone}");
}

#[test]
fn what_is_no_schedule_is_refused_with_what_it_takes() {
    check_refused("60 0 * * *", "UTC", "the minute `60`", "0 to 59");
    check_refused("0 24 * * *", "UTC", "the hour `24`", "0 to 23");
    check_refused("0 0 0 * *", "UTC", "the day of the month `0`", "1 to 31");
    check_refused("0 0 * JUM *", "UTC", "the month `JUM`", "JAN to DEC");
    check_refused("0 0 * * 8", "UTC", "the day of the week `8`", "SUN to SAT");
    check_refused("*/0 * * * *", "UTC", "the minute `*/0`", "0 to 59");
    check_refused("5-1 * * * *", "UTC", "the minute `5-1`", "0 to 59");
    check_refused("0 0 * *", "UTC", "has 4 fields", "`@daily`");
    check_refused("0 0 0 * * *", "UTC", "has 6 fields", "`every 30s`");
    check_refused("", "UTC", "has 0 fields", "`@daily`");
    check_refused("0 0 31 2,4 *", "UTC", "never fires", "No year");
    check_refused("@dayly", "UTC", "`@dayly`", "`@daily`");
    check_refused("@reboot", "UTC", "`@reboot`", "@hourly");
    check_refused("every 0s", "UTC", "the interval of `every 0s`", "every 5m");
    check_refused("every 1500ms", "UTC", "the interval", "whole seconds");
    check_refused("every day", "UTC", "the interval", "every 5m");
    check_refused("@daily", "Europe/Berln", "time zone `Europe/Berln`", "`Europe/Berlin`");
    check_refused("@daily", "", "time zone ``", "`UTC`");
    check_refused(&"*".repeat(300), "UTC", "300 bytes", "");
}

#[track_caller]
fn check_refused(text: &str, timezone: &str, message: &str, hint: &str) {
    let error = Schedule::parse(text, timezone).expect_err("it is no schedule");
    assert!(error.message.contains(message), "{}", error.chain());
    assert!(error.hint.clone().unwrap_or_default().contains(hint), "{}", error.chain());
}

#[test]
fn the_ends_of_the_calendar_are_no_fires() {
    for text in ["@daily", "every 5m"] {
        let schedule = Schedule::parse(text, "Europe/Berlin").expect("it is a schedule");
        assert_eq!(schedule.next_after(Timestamp::MAX), None, "{text}");
        assert_eq!(schedule.previous(Timestamp::MIN), None, "{text}");
    }
}

const ZONES: [&str; 5] =
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/St_Johns"];

/// Cron lines that fire often, so that some fires meet a change of the clocks.
fn line() -> impl Strategy<Value = String> {
    let minute = prop_oneof![
        (0u32..60).prop_map(|m| m.to_string()),
        (5u32..31).prop_map(|step| format!("*/{step}")),
        (0u32..30, 30u32..60).prop_map(|(a, b)| format!("{a},{b}")),
    ];
    let hour = prop_oneof![
        Just("*".to_owned()),
        (0u32..5).prop_map(|h| h.to_string()),
        Just("1-3".to_owned()),
    ];
    (minute, hour).prop_map(|(minute, hour)| format!("{minute} {hour} * * *"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// The fires of three days round a change equal those found by looking at every minute.
    #[test]
    fn fires_equal_a_count_of_minutes(
        line in line(),
        zone in prop::sample::select(&ZONES[..]),
        change in prop::sample::select(&["2024-03-10", "2024-03-31", "2024-04-06", "2024-10-05",
            "2024-10-27", "2024-11-03"][..]),
    ) {
        let schedule = Schedule::parse(&line, zone).expect("it is a schedule");
        let first = Timestamp::parse(change).expect("a day").0 / 60_000_000 - 24 * 60;
        let counted = count_minutes(&schedule, first, first + 72 * 60);
        let from = Timestamp(first * 60_000_000 - 1);
        let found = schedule.upcoming(from, counted.len());
        prop_assert_eq!(&found, &counted);
        for pair in found.windows(2) {
            prop_assert_eq!(schedule.previous(pair[1]), Some(pair[0]));
            let between = Timestamp(pair[0].0 + (pair[1].0 - pair[0].0) / 3);
            prop_assert_eq!(schedule.next_after(between), Some(pair[1]));
            prop_assert_eq!(schedule.previous(between), Some(pair[0]));
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "[0-9*/,LW#?+@a-zA-Z äÖ-]{0,24}", time in any::<i64>()) {
        if let Ok(schedule) = Schedule::parse(&text, "Europe/Berlin") {
            if let Some(fire) = schedule.next_after(Timestamp(time)) {
                prop_assert!(fire.0 > time);
            }
            if let Some(fire) = schedule.previous(Timestamp(time)) {
                prop_assert!(fire.0 < time);
            }
        }
    }
}

/// Looks at each minute from `first` to `last`: it fires when the wall clock shows a time of the
/// line that it has not shown before, or has just jumped over one.
fn count_minutes(schedule: &Schedule, first: i64, last: i64) -> Vec<Timestamp> {
    let Rule::Cron(cron) = &schedule.rule else { return Vec::new() };
    let shown = |minute: i64| schedule.wall_clock(minute * 60).expect("in the calendar");
    let named = |wall: NaiveDateTime| cron.is_time_matching(&wall.and_utc()).expect("looks");
    // The furthest the wall clock has been: what it shows at or before that is a repetition.
    let mut furthest = shown(first - 24 * 60);
    let mut fires = Vec::new();
    for minute in first - 24 * 60 + 1..last {
        let now = shown(minute);
        let mut fired = false;
        while furthest < now {
            furthest += Span::minutes(1);
            fired |= named(furthest);
        }
        if fired && minute >= first {
            fires.push(Timestamp(minute * 60_000_000));
        }
    }
    fires
}
