//! Other programs read our tables: deltalake's and DuckDB's Python packages.

use std::process::Command;

use super::*;

/// Prints rows, sum of ids, sum of prices, the last instant in microseconds, and the number of days,
/// as each of them sees the table.
const PROGRAM: &str = r#"
import json, pathlib, sys
import deltalake, duckdb, duckdb_extension_delta, pyarrow.compute as pc

path = sys.argv[1]
table = deltalake.DeltaTable(path).to_pyarrow_table()
micros = pc.cast(table["ts"], "int64")
print(json.dumps([table.num_rows, pc.sum(table["id"]).as_py(), pc.sum(table["price"]).as_py(),
                  pc.max(micros).as_py(), len(set(table["day"].to_pylist()))]))

extension = next(pathlib.Path(duckdb_extension_delta.__file__).parent.rglob("delta.duckdb_extension"))
database = duckdb.connect()
database.execute(f"LOAD '{extension}'")
print(json.dumps(database.execute("""
    SELECT count(*), sum(id)::BIGINT, sum(price), epoch_us(max(ts)), count(DISTINCT day)
    FROM delta_scan(?)""", [path]).fetchone()))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn other_programs_read_what_we_write() {
    let place = Place::new();
    let delta = place.by_day().await;
    let mut sink = sink(&delta).await;
    for epoch in 1..=30 {
        let first = epoch as i64 * 10;
        commit(&mut sink, epoch, &rows(epoch as i32 % 3, first..first + 10)).await;
    }
    let run = replacement("r", 1, vec![rows(1, 1_000..1_050)], Some("note"));
    delta.replace_days(run).await.unwrap();
    delta.compact().await.unwrap();
    delta.checkpoint().await.unwrap();
    commit(&mut sink, 31, &rows(9, 2_000..2_007)).await;

    let mut seen = Vec::new();
    for what in [
        "count(*)",
        "sum(id)",
        "CAST(sum(price) * 2 AS BIGINT)",
        "arrow_cast(max(ts), 'Int64')",
        "count(DISTINCT day)",
    ] {
        seen.extend(query(&delta, &format!("SELECT {what} FROM t")).await);
    }
    let [count, ids, doubled, last, days] = seen[..] else { panic!("{seen:?}") };
    assert_eq!((count, days), (257, 4));
    let expected = serde_json::json!([count, ids, doubled as f64 / 2.0, last, days]);
    let lines = run_program(&place.path());
    assert_eq!(lines.len(), 2);
    for (line, reader) in lines.iter().zip(["deltalake", "DuckDB"]) {
        assert_eq!(line, &expected, "{reader}");
    }
}

fn run_program(table: &Path) -> Vec<serde_json::Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/services/python.sh");
    let python = output(Command::new(script));
    let mut command = Command::new(python.trim());
    command.args(["-c", PROGRAM]).arg(table);
    output(command).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn output(mut command: Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}
