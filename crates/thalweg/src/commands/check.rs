//! `thalweg check`: every problem of a project at once.

use super::{Failure, load};
use crate::cli::{CheckArgs, CheckFormat};

pub(super) fn run(args: &CheckArgs, is_colored: bool) -> Result<u8, Failure> {
    let mut loaded = load(&args.dir);
    crate::check::check(&mut loaded);
    let has_errors = loaded.has_errors() || loaded.project.is_none();
    match args.format {
        CheckFormat::Json => {
            println!("{:#}", thalweg_project::problems_json(&loaded.problems, &loaded.sources));
        }
        CheckFormat::Text => {
            eprint!("{}", thalweg_project::render(&loaded.problems, &loaded.sources, is_colored));
            match loaded.problems.len() {
                0 => eprintln!("no problems"),
                1 => eprintln!("1 problem"),
                count => eprintln!("{count} problems"),
            }
        }
    }
    Ok(u8::from(has_errors))
}
