//! `thalweg add`: a source, from a look at what it will read.
//!
//! What is at a file, an address or a preset is sampled, and a block proposed that says everything:
//! connector, format, columns with types, key, event time, checks. Rows are decoded with that very
//! block and shown; then it is written behind what the project file holds. Secrets in an address go
//! to `.env`, and `${NAME}` stands in their place.
//!
//! Not here: what samples seem to hold ([`thalweg_connect::sampling`]).

mod block;
mod look;
mod place;

use std::path::Path;

use arrow::array::RecordBatch;
use thalweg_core::Error;
use thalweg_core::env::Disk as _;
use thalweg_core::problem::Severity;
use thalweg_log::OsDisk;
use thalweg_project::{Edited, Loaded, Project, edit};

use self::block::Block;
use self::look::Look;
use self::place::What;
use super::Failure;
use super::place::Place;
use crate::cli::{AddArgs, Dir, Format, Globals};
use crate::output;

/// Rows that are shown.
const ROWS_SHOWN: usize = 10;

pub(super) async fn run(globals: &Globals, args: AddArgs) -> Result<u8, Failure> {
    let place = Place::new(globals, Dir::default());
    let dir = place.dir.canonicalize().map_err(|error| {
        Error::invalid(format!("there is no folder {}", place.dir.display())).with_source(error)
    })?;
    let file = dir.join("thalweg.toml");
    let text = std::fs::read_to_string(&file).map_err(|error| {
        Error::invalid(format!("cannot read {}", file.display()))
            .with_source(error)
            .with_hint("`thalweg init` makes a project.")
    })?;
    free_name(&dir, &args.name)?;
    let what = What::parse(&args.what, &dir)?;
    let mut block = Block::new(&args, what)?;
    let look = look::look(&dir, &text, &mut block, args.wait).await?;
    show(&look, place.format.unwrap_or(Format::Table))?;
    let text = with_block(&text, &block)?;
    sound(&dir, &text, &block, place.is_colored)?;
    place.confirm(&preview(&block, &look))?;
    write(&dir, &file, &text, &block)?;
    if !place.is_quiet {
        eprintln!("added source `{}` to {}", args.name, file.display());
    }
    Ok(0)
}

/// Refuses a name that is taken, or is none.
fn free_name(dir: &Path, name: &str) -> Result<(), Error> {
    let loaded = Project::load(dir, &|_| Some("unset".to_owned()));
    let Some(project) = loaded.project else {
        return Err(
            Error::invalid("there is no project here").with_hint("`thalweg init` makes one.")
        );
    };
    if let Some(declared) = project.declaration(name) {
        let line = loaded.sources.position(&declared.file, declared.range.start);
        let at = line.map_or(String::new(), |at| format!(":{}", at.line));
        return Err(Error::invalid(format!("the name `{name}` is taken"))
            .with_detail(format!("It is declared in {}{at}.", declared.file.display()))
            .with_hint("Choose another one."));
    }
    let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !is_name {
        return Err(Error::invalid(format!("`{name}` is not a name"))
            .with_hint("A name is small letters, digits and `_`, and begins with a letter."));
    }
    Ok(())
}

/// Prints the first rows, and says what of the sample was refused.
fn show(look: &Look, format: Format) -> Result<(), Error> {
    let rows: Vec<RecordBatch> = vec![look.rows.slice(0, look.rows.num_rows().min(ROWS_SHOWN))];
    output::print(&rows, format)?;
    eprintln!("{}", look.summary());
    Ok(())
}

/// The project file with the block behind everything else.
fn with_block(text: &str, block: &Block) -> Result<String, Error> {
    edit::append(text, &block.toml())
}

/// Sees to it that the block is right: what `check` would say of it, it says now.
fn sound(dir: &Path, text: &str, block: &Block, is_colored: bool) -> Result<(), Error> {
    let mut loaded = load(dir, text, block);
    crate::check::check(&mut loaded);
    let begins = text.len() - block.toml().len();
    let is_ours = |problem: &thalweg_core::problem::Problem| {
        problem.severity == Severity::Error
            && problem.place.as_ref().is_some_and(|place| {
                place.file.as_path() == Path::new("thalweg.toml") && place.range.start >= begins
            })
    };
    loaded.problems.retain(is_ours);
    if loaded.problems.is_empty() {
        return Ok(());
    }
    eprint!("{}", thalweg_project::render(&loaded.problems, &loaded.sources, is_colored));
    Err(Error::invalid("the block that was made does not pass `thalweg check`").with_hint(
        "Nothing was written. Declare the source by hand, beginning with what is shown.",
    ))
}

/// The project as it would be, with the secrets that would be set.
fn load(dir: &Path, text: &str, block: &Block) -> Loaded {
    let secrets = |name: &str| {
        let ours = block.secrets.iter().find(|(known, _)| known == name);
        ours.map(|(_, value)| value.clone()).or_else(|| std::env::var(name).ok())
    };
    Project::load_from(dir, &Edited { dir, text }, &secrets)
}

fn preview(block: &Block, look: &Look) -> String {
    let mut text = format!("\nThis goes into thalweg.toml:\n\n{}", block.toml());
    for (name, _) in &block.secrets {
        text.push_str(&format!("\nand `{name}`, with the secret from the address, into .env\n"));
    }
    if look.refused > 0 {
        text.push_str("\nSome of the sample was refused; see above.\n");
    }
    text
}

fn write(dir: &Path, file: &Path, text: &str, block: &Block) -> Result<(), Error> {
    let cannot = |path: &Path, error: std::io::Error| {
        Error::unavailable(format!("cannot write {}", path.display())).with_source(error)
    };
    if !block.secrets.is_empty() {
        // First, so that the project is never without them.
        let env = dir.join(".env");
        let mut lines = std::fs::read_to_string(&env).unwrap_or_default();
        if !lines.is_empty() && !lines.ends_with('\n') {
            lines.push('\n');
        }
        for (name, value) in &block.secrets {
            lines.push_str(&format!("{name}={value}\n"));
        }
        OsDisk.write_whole(&env, lines.as_bytes()).map_err(|error| cannot(&env, error))?;
        let only_mine = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&env, only_mine).map_err(|error| cannot(&env, error))?;
    }
    OsDisk.write_whole(file, text.as_bytes()).map_err(|error| cannot(file, error))
}
