//! Who serves: the rule of S23, as a function of plain data.
//!
//! `naive` and `strong_naive` are yardsticks and never champion. In order: a champion that loses to
//! `strong_naive` is demoted; a retraining of the champion's own candidate replaces it unless it is
//! worse; the best challenger that passes every test is promoted. Every verdict carries its reasons
//! in words, one for each version that was looked at.

use serde::{Deserialize, Serialize};

use crate::scores::{Outcomes, Scores};
use crate::significance::{Comparison, holm};
use crate::spec::{Candidate, TargetKind};

/// When a challenger becomes champion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChampionRule {
    /// By how much its RMSE must be lower, as a fraction: 0.01 is 1 %.
    pub min_gain: f64,
    /// Fewest rows on which it is compared.
    pub rows_min: usize,
    /// What a trade costs, there and back, in basis points; matters for prices and returns.
    pub cost_bp: f64,
}

impl Default for ChampionRule {
    /// 1 %, 2,000 rows, 10 bp.
    fn default() -> Self {
        Self { min_gain: 0.01, rows_min: 2_000, cost_bp: 10.0 }
    }
}

/// Largest probability that luck made it better than the champion.
pub const P_CHAMPION: f64 = 0.05;
/// Largest probability that luck made it better than `strong_naive`.
pub const P_STRONG_NAIVE: f64 = 0.01;
/// Largest probability at which "worse" is taken for luck.
pub const P_WORSE: f64 = 0.05;

/// One version of a round.
#[derive(Clone, Debug, PartialEq)]
pub struct Contender {
    /// Its number.
    pub version: u64,
    /// How it was learnt.
    pub candidate: Candidate,
    /// Its measures.
    pub scores: Scores,
    /// Against `strong_naive`: is this one better?
    pub against_strong_naive: Comparison,
    /// Against the champion: is this one better? `None` without a champion, and for itself.
    pub against_champion: Option<Comparison>,
    /// Somebody rolled back from it; it waits for a person.
    pub is_barred: bool,
}

/// What is known at a decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    /// What the target measures.
    pub kind: TargetKind,
    /// The champion's version.
    pub champion: Option<u64>,
    /// All versions scored on the same rows, baselines among them.
    pub contenders: Vec<Contender>,
}

impl Round {
    /// The round of `versions` (number and candidate, in the order of `outcomes`, of which the
    /// first two are the baselines), where `champion` serves and `barred` ones may not.
    pub fn of(
        outcomes: &Outcomes,
        versions: &[(u64, Candidate)],
        champion: Option<u64>,
        barred: &[u64],
    ) -> Self {
        let serving = versions.iter().position(|(version, _)| Some(*version) == champion);
        let contender = |(place, &(version, candidate)): (usize, &(u64, Candidate))| Contender {
            version,
            candidate,
            scores: outcomes.scores(place),
            against_strong_naive: outcomes.compare(1, place),
            against_champion: serving
                .filter(|serving| *serving != place)
                .map(|serving| outcomes.compare(serving, place)),
            is_barred: barred.contains(&version),
        };
        let contenders = versions.iter().enumerate().map(contender).collect();
        Self { kind: outcomes.kind(), champion, contenders }
    }
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing changes.
    Kept,
    /// A challenger is champion.
    Promoted,
    /// A newer training of the champion's candidate is champion.
    Retrained,
    /// There is no champion any more.
    Demoted,
    /// A person chose the champion before.
    RolledBack,
    /// A person chose this champion.
    Chosen,
}

/// A decision with its reasons.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// What changes.
    pub action: Action,
    /// Who serves from now on; `None`: `strong_naive`.
    pub champion: Option<u64>,
    /// Why, in words.
    pub reasons: Vec<String>,
}

/// Applies the rule.
pub fn decide(round: &Round, rule: &ChampionRule) -> Verdict {
    let mut reasons = Vec::new();
    let standing = round.champion.and_then(|champion| {
        round.contenders.iter().find(|contender| contender.version == champion)
    });
    let is_demoted = standing.is_some_and(|champion| is_losing(champion, rule, &mut reasons));
    let champion = if is_demoted { None } else { round.champion };

    if let Some(champion) = standing.filter(|_| !is_demoted)
        && let Some(version) = retrained(champion, &round.contenders, rule, &mut reasons)
    {
        return Verdict { action: Action::Retrained, champion: Some(version), reasons };
    }
    let rival = standing.filter(|_| !is_demoted);
    if let Some(version) = best_challenger(round, rival, rule, &mut reasons) {
        return Verdict { action: Action::Promoted, champion: Some(version), reasons };
    }
    if reasons.is_empty() {
        reasons.push("there is no challenger".to_owned());
    }
    let action = if is_demoted { Action::Demoted } else { Action::Kept };
    Verdict { action, champion, reasons }
}

fn is_losing(champion: &Contender, rule: &ChampionRule, reasons: &mut Vec<String>) -> bool {
    let Contender { scores, against_strong_naive, .. } = champion;
    let loses = scores.rows >= rule.rows_min
        && scores.skill_strong_naive < 0.0
        && against_strong_naive.p_second_worse < P_WORSE;
    if loses {
        reasons.push(format!(
            "champion {}: demoted, its skill against strong_naive is {:+.4} on {} rows (p = {:.4})",
            label(champion),
            scores.skill_strong_naive,
            scores.rows,
            against_strong_naive.p_second_worse,
        ));
    }
    loses
}

fn retrained(
    champion: &Contender,
    contenders: &[Contender],
    rule: &ChampionRule,
    reasons: &mut Vec<String>,
) -> Option<u64> {
    let newest = contenders
        .iter()
        .filter(|newer| newer.candidate == champion.candidate && newer.version > champion.version)
        .filter(|newer| !newer.is_barred)
        .max_by_key(|newer| newer.version)?;
    let name = label(newest);
    if newest.scores.rows < rule.rows_min {
        reasons.push(format!(
            "{name}: a retraining of the champion, waits for {} of {} rows",
            rule.rows_min - newest.scores.rows,
            rule.rows_min
        ));
        return None;
    }
    let p_worse = newest.against_champion.map_or(1.0, |comparison| comparison.p_second_worse);
    if p_worse < P_WORSE {
        reasons.push(format!(
            "{name}: a retraining of the champion, but significantly worse (p = {p_worse:.4})"
        ));
        return None;
    }
    reasons.push(format!(
        "{name}: a retraining of the champion, and not significantly worse (p = {p_worse:.4})"
    ));
    Some(newest.version)
}

fn best_challenger(
    round: &Round,
    champion: Option<&Contender>,
    rule: &ChampionRule,
    reasons: &mut Vec<String>,
) -> Option<u64> {
    let challengers: Vec<&Contender> = round
        .contenders
        .iter()
        .filter(|contender| !contender.candidate.is_baseline())
        .filter(|contender| Some(contender.version) != round.champion)
        // A retraining of the champion has its own rule.
        .filter(|contender| champion.is_none_or(|own| own.candidate != contender.candidate))
        .collect();
    let p_of = |comparison: Option<Comparison>| comparison.map_or(1.0, |c| c.p_second_better);
    let against_strong: Vec<f64> =
        challengers.iter().map(|c| c.against_strong_naive.p_second_better).collect();
    let against_champion: Vec<f64> = challengers.iter().map(|c| p_of(c.against_champion)).collect();
    let (against_strong, against_champion) = (holm(&against_strong), holm(&against_champion));
    let rival = champion.or_else(|| {
        round.contenders.iter().find(|contender| contender.candidate == Candidate::StrongNaive)
    })?;

    let mut passed: Vec<&Contender> = Vec::new();
    for (place, challenger) in challengers.into_iter().enumerate() {
        let p_champion = champion.map(|_| against_champion[place]);
        let objections =
            objections(challenger, rival, against_strong[place], p_champion, round.kind, rule);
        let name = label(challenger);
        if objections.is_empty() {
            reasons.push(format!(
                "{name}: better than {} by {:.2} % of RMSE on {} rows, p = {:.4} against \
                 strong_naive",
                label(rival),
                100.0 * gain(challenger, rival),
                challenger.scores.rows,
                against_strong[place]
            ));
            passed.push(challenger);
        } else {
            reasons.push(format!("{name}: {}", objections.join("; ")));
        }
    }
    let best =
        passed.into_iter().min_by(|a, b| a.scores.relative_rmse.total_cmp(&b.scores.relative_rmse));
    best.map(|best| best.version)
}

/// Why a challenger may not be champion; nothing when it may.
fn objections(
    challenger: &Contender,
    rival: &Contender,
    p_strong_naive: f64,
    p_champion: Option<f64>,
    kind: TargetKind,
    rule: &ChampionRule,
) -> Vec<String> {
    let mut objections = Vec::new();
    let scores = &challenger.scores;
    if challenger.is_barred {
        objections.push("somebody rolled back from it".to_owned());
    }
    if scores.rows < rule.rows_min {
        objections.push(format!("{} of {} rows", scores.rows, rule.rows_min));
    }
    let gain = gain(challenger, rival);
    // Asked this way round, what is no number does not pass.
    let gains_enough = gain >= rule.min_gain;
    if !gains_enough {
        objections.push(format!(
            "gain over {} {:+.2} %, asked {:.2} %",
            label(rival),
            100.0 * gain,
            100.0 * rule.min_gain
        ));
    }
    let beats_champion = p_champion.is_none_or(|p| p < P_CHAMPION);
    if let Some(p) = p_champion.filter(|_| !beats_champion) {
        objections.push(format!("p = {p:.4} against the champion, asked {P_CHAMPION}"));
    }
    let beats_strong_naive = p_strong_naive < P_STRONG_NAIVE;
    if !beats_strong_naive {
        objections
            .push(format!("p = {p_strong_naive:.4} against strong_naive, asked {P_STRONG_NAIVE}"));
    }
    if kind.is_traded() {
        let edge = scores.gross_edge_bp.unwrap_or(0.0);
        let pays = edge > rule.cost_bp;
        if !pays {
            objections.push(format!(
                "gross edge {edge:.2} bp a row does not pay the cost of {:.2} bp",
                rule.cost_bp
            ));
        }
    }
    objections
}

fn gain(challenger: &Contender, rival: &Contender) -> f64 {
    1.0 - challenger.scores.relative_rmse / rival.scores.relative_rmse
}

fn label(contender: &Contender) -> String {
    format!("{}/{}", contender.candidate, contender.version)
}
