//! `thalweg check`: every problem of a project at once.

use super::place::Place;
use super::{Failure, load};
use crate::cli::Format;

pub(super) fn run(place: &Place) -> Result<u8, Failure> {
    let mut loaded = load(&place.dir);
    crate::check::check(&mut loaded);
    let has_errors = loaded.has_errors() || loaded.project.is_none();
    if place.format == Some(Format::Json) {
        println!("{:#}", thalweg_project::problems_json(&loaded.problems, &loaded.sources));
        return Ok(u8::from(has_errors));
    }
    let is_colored = place.is_colored;
    eprint!("{}", thalweg_project::render(&loaded.problems, &loaded.sources, is_colored));
    match loaded.problems.len() {
        0 if place.is_quiet => {}
        0 => eprintln!("no problems"),
        1 => eprintln!("1 problem"),
        count => eprintln!("{count} problems"),
    }
    Ok(u8::from(has_errors))
}
