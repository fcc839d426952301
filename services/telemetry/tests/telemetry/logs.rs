use openarchive_telemetry::{LogFormat, TelemetryConfig, build, work_span};
use tracing::{debug, error, info, info_span, trace_span, warn};

use crate::captured::Captured;

fn written(change: impl FnOnce(&mut TelemetryConfig), write: impl FnOnce()) -> Captured {
    let log = Captured::default();
    let mut config = TelemetryConfig::new("ingest");
    change(&mut config);
    let (dispatch, _guard) = build(&config, log.clone(), false).unwrap();
    tracing::dispatcher::with_default(&dispatch, write);
    log
}

#[test]
fn a_json_line_has_its_fields_and_cannot_pass_for_another() {
    let log = written(
        |config| config.format = LogFormat::Json,
        || info!(count = 3, share = 0.5, done = true, level = "FORGED", trace_id = "FORGED", "done\nwith it"),
    );
    let lines = log.objects();
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!(line["message"], "done\nwith it");
    assert_eq!((&line["count"], &line["share"], &line["done"]), (&3.into(), &0.5.into(), &true.into()));
    assert_eq!((&line["level"], &line["role"]), (&"INFO".into(), &"ingest".into()));
    assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!(line.get("request_id"), None);
}

#[test]
fn ids_stand_in_lines_of_every_level_that_the_filter_lets_through() {
    let log = written(
        |config| {
            config.format = LogFormat::Json;
            config.filter = "warn".into();
        },
        || {
            let span = work_span("ingest", "sweep");
            let _inside = span.enter();
            let inner = info_span!("a library's own").entered();
            debug!("not shown");
            info!("not shown either");
            warn!("shown");
            drop(inner);
            error!("shown too");
        },
    );
    let lines = log.objects();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0]["trace_id"].as_str().unwrap().len(), 32);
    assert_eq!(lines[0]["trace_id"], lines[1]["trace_id"]);
}

#[test]
fn a_text_line_is_for_people() {
    let log = written(|_| {}, || warn!(name = "a name", "it is so"));
    let lines = log.lines();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("  WARN ") && lines[0].contains("it is so"), "{lines:?}");
}

#[test]
fn a_filter_that_cannot_be_read_is_told() {
    let mut config = TelemetryConfig::new("ingest");
    config.filter = "ingest=loud".into();
    let error = build(&config, Captured::default(), false).unwrap_err();
    assert!(error.to_string().contains("ingest=loud"), "{error}");
}

#[test]
fn a_span_is_kept_also_after_a_library_has_asked_for_something_that_is_not() {
    let seen = || trace_span!(target: "library", "probe").metadata().unwrap();
    let asked = tracing::subscriber::with_default(tracing_subscriber::registry(), seen);
    let log = written(
        |config| config.format = LogFormat::Json,
        || {
            // As sqlx does: it asks, and writes nothing.
            tracing::dispatcher::get_default(|dispatch| dispatch.enabled(asked));
            work_span("ingest", "sweep").in_scope(|| info!("inside"));
        },
    );
    assert_eq!(log.objects()[0]["trace_id"].as_str().map(str::len), Some(32));
}
