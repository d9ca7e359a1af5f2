//! Amounts written for people, read exactly: money, percentages, numbers.
//!
//! A text is a sign, a number and what stands before and behind it: a currency, `%`, a unit, a
//! multiplier. What is read is the decimal text of the number, digit for digit; nothing is rounded.
//! What can be read in two ways is refused, never guessed:
//!
//! | text | `money` | `percent` | `number` |
//! |---|---|---|---|
//! | `$9,061.58`, `9.061,58 €`, `CHF 9’061.58`, `9 061,58 €` | 9061.58 | – | – |
//! | `$1.2B`, `$1.2 bn`, `1.2B USD` | 1200000000 | – | – |
//! | `₿0.5`, `0.5 BTC` | 0.5 | – | `0.5 BTC`: 0.5 |
//! | `-$5`, `$-5`, `−5 $`, `($5)` | -5 | – | – |
//! | `-0,33 %`, `▼0.33%`, `(-0.33%)` | – | -0.33 | – |
//! | `41,169,202,069 XRP *` | – | – | 41169202069 |
//! | `17.5M` | 17500000 | – | 17500000 |
//! | `12` | 12 | – | 12 |
//! | `1,234`, `1.234` | by the column | – | by the column |
//! | `$511.98B $511,982,705,805`, `100 T`, `(0.33%)` | refused | refused | refused |
//!
//! # Which mark is the decimal one
//!
//! A `.` and a `,` together, two of a kind, or other than three digits behind one, tell it of
//! themselves ([`Amount::mark`]). One mark before three digits does not: then it is the locale's, or
//! the one that the other texts of the column agree on, or the text is refused. A no-break space, a
//! thin space and an apostrophe may group digits; a plain space may not, for it also stands between
//! two texts of a cell.
//!
//! Not here: where texts come from (`table`), and the columns they go to.

/// What a column's texts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clean {
    /// Text, its white space made single and plain.
    Text,
    /// A number, with a multiplier or a unit behind it.
    Number,
    /// A number of hundredths, with its `%`: `1.52%` is 1.52.
    Percent,
    /// An amount of a currency.
    Money,
}

/// What stands between the whole and the fraction of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecimalMark {
    /// `1,234.5`, as in English.
    Point,
    /// `1.234,5`, as in most of Europe and South America.
    Comma,
}

/// Longest text that is looked at, in bytes: no amount has more.
const TEXT_MAX: usize = 200;
/// Longest unit behind a number, in characters.
const UNIT_CHARS_MAX: usize = 24;

/// A text taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Amount {
    is_negative: bool,
    /// Digits and marks.
    number: String,
    /// The number counts so many powers of ten.
    power: u32,
}

impl Amount {
    /// Takes a text apart, as [`plain`] leaves it.
    pub(super) fn parse(clean: Clean, text: &str) -> Result<Self, &'static str> {
        if text.len() > TEXT_MAX {
            return Err("is too long for a number");
        }
        let (text, is_bracketed) = match text.strip_prefix('(').and_then(|it| it.strip_suffix(')'))
        {
            Some(inner) => (inner.trim_matches(is_space), true),
            None => (text, false),
        };
        let first = text.find(|c: char| c.is_ascii_digit()).ok_or("holds no number")?;
        let starts_with_mark = text[..first].ends_with(['.', ',']);
        let start = if starts_with_mark { first - 1 } else { first };
        let (before, rest) = text.split_at(start);
        let end = rest.find(|c: char| !is_of_number(c)).unwrap_or(rest.len());
        // Marks and spaces behind the last digit are not of the number.
        let number = rest[..end].trim_end_matches(|c: char| !c.is_ascii_digit());
        let after = &rest[number.len()..];
        let is_attached = !after.starts_with(is_space);
        let mut words = after.split(is_space).enumerate();
        if words.any(|(at, word)| has_digit(word) && (at == 0 && is_attached || !is_code(word))) {
            return Err("holds two numbers");
        }
        let (sign, before) = take_sign(before)?;
        let power = match clean {
            Clean::Money => money(before, after)?,
            Clean::Percent => percent(before, after)?,
            Clean::Number | Clean::Text => unit(before, after)?,
        };
        let is_negative = match (sign, is_bracketed, clean) {
            (Some(sign), _, _) => sign == Sign::Minus,
            (None, false, _) => false,
            (None, true, Clean::Money) => true,
            (None, true, _) => return Err("stands in brackets without a sign"),
        };
        Ok(Self { is_negative, number: number.to_owned(), power })
    }

    /// The decimal mark that the number tells of itself; none when it has none, or tells neither.
    pub(super) fn mark(&self) -> Option<DecimalMark> {
        let marks: Vec<(usize, char)> =
            self.number.char_indices().filter(|(_, c)| matches!(c, '.' | ',')).collect();
        let (at, last) = *marks.last()?;
        let of_last = marks.iter().filter(|(_, mark)| *mark == last).count();
        if of_last == marks.len() && of_last > 1 {
            return Some(other(mark_of(last)));
        }
        let (whole, fraction) = (&self.number[..at], &self.number[at + 1..]);
        let may_group = marks.len() == 1
            && fraction.len() == 3
            && (1..=3).contains(&whole.len())
            && !whole.starts_with('0')
            && whole.bytes().all(|byte| byte.is_ascii_digit());
        (!may_group).then(|| mark_of(last))
    }

    /// The number's decimal text, with `mark` where it does not tell its own.
    pub(super) fn decimal(
        &self,
        locale: Option<DecimalMark>,
        agreed: Option<DecimalMark>,
    ) -> Result<String, &'static str> {
        let has_mark = self.number.contains(['.', ',']);
        let mark = match (self.mark(), locale) {
            (Some(own), Some(locale)) if own != locale => {
                return Err("is not written in the column's locale");
            }
            (Some(own), _) => own,
            (None, Some(locale)) => locale,
            (None, None) if has_mark => agreed.ok_or(
                "can be read in two ways; the column's `locale` says which mark is the decimal one",
            )?,
            (None, None) => DecimalMark::Point,
        };
        let mark = if mark == DecimalMark::Point { '.' } else { ',' };
        let (whole, fraction) = self.number.split_once(mark).unwrap_or((&self.number, ""));
        let digits = ungrouped(whole)?;
        if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("is not grouped as a number is");
        }
        Ok(shifted(self.is_negative, &digits, fraction, self.power))
    }
}

/// A text with its white space single and plain, but for no-break and thin spaces, of which there is
/// one kind; without what cannot be seen; with one kind of minus.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        let c = match c {
            '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'
            | '\u{feff}'
            | '\u{ad}' => continue,
            '\u{a0}' | '\u{2007}' | '\u{2009}' | '\u{202f}' => '\u{a0}',
            '\u{2212}' | '\u{fe63}' | '\u{ff0d}' => '-',
            c if c.is_whitespace() => ' ',
            c => c,
        };
        let follows_space = plain.ends_with(is_space);
        if !(is_space(c) && follows_space) {
            plain.push(c);
        } else if c == ' ' && plain.ends_with('\u{a0}') {
            // A plain space is the stronger: it parts.
            plain.pop();
            plain.push(' ');
        }
    }
    plain.trim_matches(is_space).to_owned()
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\u{a0}')
}

fn is_of_number(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, '.' | ',' | '\'' | '\u{2019}' | '\u{a0}')
}

fn mark_of(c: char) -> DecimalMark {
    if c == '.' { DecimalMark::Point } else { DecimalMark::Comma }
}

fn other(mark: DecimalMark) -> DecimalMark {
    match mark {
        DecimalMark::Point => DecimalMark::Comma,
        DecimalMark::Comma => DecimalMark::Point,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Plus,
    Minus,
}

/// The sign before a number, and what is left there.
fn take_sign(before: &str) -> Result<(Option<Sign>, String), &'static str> {
    let mut sign = None;
    let mut rest = String::new();
    for c in before.chars() {
        let found = match c {
            '+' | '▲' | '↑' => Sign::Plus,
            '-' | '▼' | '↓' => Sign::Minus,
            c => {
                rest.push(c);
                continue;
            }
        };
        if sign.replace(found).is_some_and(|earlier| earlier != found) {
            return Err("has two signs");
        }
    }
    Ok((sign, rest.trim_matches(is_space).to_owned()))
}

/// Checks what stands round an amount of money; the power of its multiplier.
fn money(before: String, after: &str) -> Result<u32, &'static str> {
    let has_symbol = before.contains(is_currency_symbol);
    if !before.is_empty() && !is_currency(&before) {
        return Err("begins with what is no currency");
    }
    let is_attached = !after.starts_with(is_space);
    let mut words = after.split(is_space).filter(|word| !word.is_empty());
    let Some(first) = words.next() else { return Ok(0) };
    let (power, currency) = match multiplier(first) {
        // ` T` behind a bare number may be a coin of that name.
        Some(_) if !is_attached && !has_symbol && first.len() == 1 => {
            return Err("can be read in two ways: with a multiplier, or with a unit");
        }
        Some(power) => (power, words.next()),
        None => (0, Some(first)),
    };
    if currency.is_some_and(|currency| !is_currency(currency)) || words.next().is_some() {
        return Err("ends with what is no currency");
    }
    // `$5 USD` is one currency written twice; `$5 BTC` is not one amount.
    let is_dollar = |text: &str| text.ends_with('$') || text.ends_with("USD");
    if let Some(currency) = currency
        && !before.is_empty()
        && !(is_dollar(&before) && is_dollar(currency))
    {
        return Err("has two currencies");
    }
    Ok(power)
}

fn percent(before: String, after: &str) -> Result<u32, &'static str> {
    if !before.is_empty() {
        return Err("begins with what is no percentage");
    }
    match after.trim_matches(is_space) {
        "%" => Ok(0),
        "" => Err("has no percent sign"),
        _ => Err("ends with what is no percentage"),
    }
}

/// Checks what stands round a number; the power of its multiplier.
fn unit(before: String, after: &str) -> Result<u32, &'static str> {
    if !before.is_empty() {
        return Err("begins with what is no number");
    }
    if after.is_empty() {
        return Ok(0);
    }
    if after.contains('%') || after.contains(is_currency_symbol) {
        return Err("is no plain number");
    }
    let (power, tail) = if after.starts_with(is_space) {
        (0, after)
    } else {
        let word = after.split(is_space).next().unwrap_or_default();
        let power = multiplier(word).ok_or("ends with what is no number")?;
        (power, &after[word.len()..])
    };
    let tail = tail.trim_matches(is_space);
    if power == 0 && multiplier(tail).is_some() {
        return match tail.len() {
            1 => Err("can be read in two ways: with a multiplier, or with a unit"),
            _ => Ok(multiplier(tail).unwrap_or_default()),
        };
    }
    if tail.chars().count() > UNIT_CHARS_MAX {
        return Err("ends with what is no unit");
    }
    Ok(power)
}

/// The power of ten a multiplier stands for.
fn multiplier(word: &str) -> Option<u32> {
    Some(match word {
        "K" | "k" | "thousand" => 3,
        "M" | "m" | "mn" | "Mn" | "MM" | "million" | "Mio" | "Mio." => 6,
        "B" | "b" | "bn" | "Bn" | "billion" | "Mrd" | "Mrd." => 9,
        "T" | "t" | "tn" | "Tn" | "trillion" => 12,
        _ => return None,
    })
}

fn is_currency_symbol(c: char) -> bool {
    matches!(c, '$' | '¢' | '£' | '¤' | '¥' | '฿' | 'Ξ' | 'Ð' | 'Ł' | '\u{20a0}'..='\u{20cf}')
}

/// Whether a text names a currency: a symbol, with letters before it or without, or a code.
fn is_currency(text: &str) -> bool {
    const WORDS: [&str; 8] = ["kr", "kr.", "zł", "Kč", "Ft", "lei", "Fr", "Fr."];
    if WORDS.contains(&text) {
        return true;
    }
    let letters = text.trim_end_matches(is_currency_symbol);
    match text.chars().count() - letters.chars().count() {
        0 => is_code(letters),
        1 => letters.is_empty() || letters.len() <= 3 && is_code(letters),
        _ => false,
    }
}

/// Whether a word may be the code of a currency or a coin: `USD`, `B2G`.
fn is_code(word: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
    (2..=10).contains(&word.len())
        && word.starts_with(|c: char| c.is_ascii_uppercase())
        && word.chars().all(is_letter)
}

fn has_digit(word: &str) -> bool {
    word.contains(|c: char| c.is_ascii_digit())
}

/// The digits of a whole number without what groups them.
fn ungrouped(whole: &str) -> Result<String, &'static str> {
    const WRONG: &str = "is not grouped as a number is";
    let is_mark = |c: char| !c.is_ascii_digit();
    let Some(mark) = whole.chars().find(|c| is_mark(*c)) else { return Ok(whole.to_owned()) };
    let groups: Vec<&str> = whole.split(mark).collect();
    let (first, rest) = groups.split_first().ok_or(WRONG)?;
    let (last, middle) = rest.split_last().ok_or(WRONG)?;
    let are_digits = groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_digit()));
    let by_three = middle.iter().all(|group| group.len() == 3) && (1..=3).contains(&first.len());
    // As in India: `12,34,567`.
    let by_two = mark == ','
        && !middle.is_empty()
        && middle.iter().all(|group| group.len() == 2)
        && (1..=2).contains(&first.len());
    let is_grouped = are_digits && last.len() == 3 && (by_three || by_two);
    if is_grouped { Ok(groups.concat()) } else { Err(WRONG) }
}

/// The decimal text of a number times a power of ten, without needless zeros.
fn shifted(is_negative: bool, whole: &str, fraction: &str, power: u32) -> String {
    let power = power as usize;
    let (moved, fraction) = fraction.split_at(fraction.len().min(power));
    let whole = format!("{whole}{moved}{}", "0".repeat(power - moved.len()));
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let is_zero = whole == "0" && fraction.bytes().all(|byte| byte == b'0');
    let sign = if is_negative && !is_zero { "-" } else { "" };
    // A number that is whole but for zeros goes into a column of whole numbers.
    let point = if fraction.bytes().all(|byte| byte == b'0') { "" } else { "." };
    let fraction = if point.is_empty() { "" } else { fraction };
    format!("{sign}{whole}{point}{fraction}")
}

#[cfg(test)]
mod tests;
