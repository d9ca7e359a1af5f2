//! The rule of S23, as a table.

use crate::champion::{Action, ChampionRule, Contender, Round, decide};
use crate::scores::{Direction, Scores};
use crate::significance::Comparison;
use crate::spec::{Candidate, TargetKind};

const LEVEL: TargetKind = TargetKind::Level;

/// A version: its number, candidate, rows, relative RMSE, the chance that it is not better than
/// `strong_naive`, the same against the champion, and its gross edge.
struct Line(u64, Candidate, usize, f64, f64, f64, f64);

const STRONG_RMSE: f64 = 0.9;

fn contender(line: &Line, champion: Option<u64>) -> Contender {
    let &Line(version, candidate, rows, relative_rmse, p_strong, p_champion, edge) = line;
    let comparison = |p: f64| Comparison { z: 0.0, p_second_better: p, p_second_worse: 1.0 - p };
    Contender {
        version,
        candidate,
        scores: Scores {
            rows,
            rmse: relative_rmse * 7.0,
            mae: relative_rmse * 5.0,
            mase: relative_rmse,
            relative_rmse,
            skill_naive: 1.0 - relative_rmse.powi(2),
            skill_strong_naive: 1.0 - (relative_rmse / STRONG_RMSE).powi(2),
            direction: Direction { rows: 0, accuracy: None, low: 0.0, high: 1.0 },
            coverage: [None; 3],
            width: None,
            gross_edge_bp: Some(edge),
            rows_fallen_back: 0,
        },
        against_strong_naive: comparison(p_strong),
        against_champion: champion
            .filter(|champion| *champion != version)
            .map(|_| comparison(p_champion)),
        is_barred: version == 99,
    }
}

fn check(
    what: &str,
    kind: TargetKind,
    champion: Option<u64>,
    lines: &[Line],
    expected: (Action, Option<u64>),
    reason: &str,
) {
    let baselines = [
        Line(1, Candidate::Naive, 5_000, 1.0, 1.0, 1.0, 0.0),
        Line(2, Candidate::StrongNaive, 5_000, STRONG_RMSE, 1.0, 0.5, 0.0),
    ];
    let contenders = baselines.iter().chain(lines).map(|line| contender(line, champion)).collect();
    let verdict = decide(&Round { kind, champion, contenders }, &ChampionRule::default());
    assert_eq!((verdict.action, verdict.champion), expected, "{what}: {:?}", verdict.reasons);
    let reasons = verdict.reasons.join(" | ");
    assert!(reasons.contains(reason), "{what}: `{reason}` is not in: {reasons}");
}

#[test]
fn s23_the_rule() {
    use Action::{Demoted, Kept, Promoted, Retrained};
    use Candidate::Ridge;
    use TargetKind::{Level, Price, Return};

    check("nobody competes", Level, None, &[], (Kept, None), "no challenger");
    let good = || Line(7, Ridge, 5_000, 0.85, 0.001, 1.0, 0.0);
    check("a clear gain", Level, None, &[good()], (Promoted, Some(7)), "p = 0.0010");
    let few = Line(7, Ridge, 1_999, 0.85, 0.001, 1.0, 0.0);
    check("too few rows", Level, None, &[few], (Kept, None), "1999 of 2000 rows");
    let small = Line(7, Ridge, 5_000, 0.895, 0.001, 1.0, 0.0);
    check("a small gain", Level, None, &[small], (Kept, None), "gain over strong_naive/2 +0.56 %");
    let luck = Line(7, Ridge, 5_000, 0.85, 0.02, 1.0, 0.0);
    check("maybe luck", Level, None, &[luck], (Kept, None), "p = 0.0200 against strong_naive");
    let two =
        [Line(7, Ridge, 5_000, 0.85, 0.006, 1.0, 0.0), Line(8, Ridge, 5_000, 0.86, 0.5, 1.0, 0.0)];
    check("Holm: two tried, each counts", Level, None, &two, (Kept, None), "p = 0.0120");
    let best =
        [Line(7, Ridge, 5_000, 0.85, 0.0, 1.0, 0.0), Line(8, Ridge, 5_000, 0.80, 0.0, 1.0, 0.0)];
    check("the best of two", Level, None, &best, (Promoted, Some(8)), "ridge/8: better");
    let barred = Line(99, Ridge, 5_000, 0.5, 0.0, 1.0, 0.0);
    check("rolled back from", Level, None, &[barred], (Kept, None), "rolled back");
    let unknown = Line(7, Ridge, 5_000, f64::NAN, f64::NAN, 1.0, 0.0);
    check("no number passes no test", Level, None, &[unknown], (Kept, None), "gain over");

    for kind in [Price, Return] {
        check("no edge", kind, None, &[good()], (Kept, None), "does not pay the cost");
        let bounce = Line(7, Ridge, 5_000, 0.85, 0.0, 1.0, 3.1);
        check("a bounce", kind, None, &[bounce], (Kept, None), "gross edge 3.10 bp");
        let edge = Line(7, Ridge, 5_000, 0.85, 0.0, 1.0, 10.5);
        check("an edge", kind, None, &[edge], (Promoted, Some(7)), "better than strong_naive/2");
    }

    let champion = || Line(5, Ridge, 5_000, 0.85, 0.001, 1.0, 0.0);
    check("alone", Level, Some(5), &[champion()], (Kept, Some(5)), "no challenger");
    let equal = Line(7, Ridge, 5_000, 0.851, 0.001, 0.6, 0.0);
    check("retrained", Level, Some(5), &[champion(), equal], (Retrained, Some(7)), "not signif");
    let worse = Line(7, Ridge, 5_000, 0.88, 0.001, 0.97, 0.0);
    check("retrained badly", Level, Some(5), &[champion(), worse], (Kept, Some(5)), "worse (p");
    let young = Line(7, Ridge, 10, 0.8, 0.0, 0.0, 0.0);
    check(
        "retrained lately",
        Level,
        Some(5),
        &[champion(), young],
        (Kept, Some(5)),
        "1990 of 2000",
    );
    let older = Line(3, Ridge, 5_000, 0.8, 0.0, 0.0, 0.0);
    check("an older training", Level, Some(5), &[champion(), older], (Kept, Some(5)), "");

    let losing = || Line(5, Ridge, 5_000, 0.95, 0.97, 1.0, 0.0);
    check("a losing champion", Level, Some(5), &[losing()], (Demoted, None), "skill");
    let unlucky = Line(5, Ridge, 5_000, 0.95, 0.90, 1.0, 0.0);
    check("an unlucky champion", Level, Some(5), &[unlucky], (Kept, Some(5)), "no challenger");
    let early = Line(5, Ridge, 100, 0.95, 0.99, 1.0, 0.0);
    check("too early to judge", Level, Some(5), &[early], (Kept, Some(5)), "no challenger");
    let heir = Line(7, Ridge, 5_000, 0.80, 0.0, 0.0, 0.0);
    check("an heir", Level, Some(5), &[losing(), heir], (Promoted, Some(7)), "demoted");
}

#[test]
fn s23_a_baseline_is_never_champion() {
    // Even one that would pass every test.
    let lines = [
        Line(8, Candidate::StrongNaive, 5_000, 0.1, 0.0, 0.0, 99.0),
        Line(9, Candidate::Naive, 5_000, 0.1, 0.0, 0.0, 99.0),
    ];
    for champion in [None, Some(5)] {
        check("baselines", LEVEL, champion, &lines, (Action::Kept, champion), "no challenger");
    }
}
