//! Keys of `[alert.X]` and `[notify.X]`.

use super::{Group, Key, Kind, Shape, key};

pub(super) const GROUPS: &[Group] =
    &[Group { path: "notify.*", keys: &["webhook"], is_required: true, noun: "a channel" }];

pub(super) const KEYS: &[Key] = &[
    key("alert", Shape::Table, "What somebody must hear of."),
    key(
        "alert.*",
        Shape::Table,
        "One alert. It fires on the first row of each key, again after the cool-down or when \
         no row was there in between; its end is sent too. At least once.",
    ),
    key("alert.*.when", Shape::Sql, "A query; each of its rows is a reason to fire.")
        .example("SELECT * FROM changes WHERE abs(percentage_change) > 1")
        .required(),
    key(
        "alert.*.per",
        Shape::List(&Shape::Column),
        "Columns that tell what it fires for. Default: it fires for the query as a whole.",
    )
    .example(r#"["symbol"]"#),
    key("alert.*.cooldown", Shape::Delay, "Time after which it fires again for the same thing.")
        .default("5m"),
    key("alert.*.notify", Shape::Name(&[Kind::Notify]), "Who hears of it beside the screen.")
        .example("ops"),
    key("notify", Shape::Table, "Where alerts are sent."),
    key("notify.*", Shape::Table, "One address."),
    key(
        "notify.*.webhook",
        Shape::Table,
        "A POST with the alert as JSON and an `Idempotency-Key`.",
    ),
    key("notify.*.webhook.url", Shape::Secret, "Where to.").example("${OPS_WEBHOOK}").required(),
];
