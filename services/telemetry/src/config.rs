//! What a process is told about its logs and traces.

use std::env;

/// Where the filter is not given: what a person who runs the archive wants to know.
const FILTER_DEFAULT: &str = "info,sqlx=warn,tantivy=warn";

/// How log lines look. Both go to stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line, with `request_id` and `trace_id` where there are any.
    Json,
}

/// How a process shows itself.
#[derive(Debug, Clone, PartialEq)]
pub struct TelemetryConfig {
    /// `ingest`, `agent`, `dev` ..; traces name the service `openarchive-ROLE`.
    pub role: String,
    pub format: LogFormat,
    /// Directives of tracing-subscriber's EnvFilter: `info,openarchive_ingest=debug`.
    pub filter: String,
    /// `http://HOST:PORT` of an OpenTelemetry collector (OTLP over gRPC). Without one, trace ids stand in logs and job
    /// rows all the same.
    pub otlp_endpoint: Option<String>,
    /// Share of traces that are sent, 0 to 1. A caller's decision is followed.
    pub sample_ratio: f64,
}

/// An environment variable that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {found:?} is not valid: {expected}")]
pub struct ConfigError {
    pub variable: &'static str,
    pub found: String,
    pub expected: &'static str,
}

impl TelemetryConfig {
    /// Text logs of what matters, every trace, no collector.
    pub fn new(role: &str) -> Self {
        Self {
            role: role.to_owned(),
            format: LogFormat::Text,
            filter: FILTER_DEFAULT.to_owned(),
            otlp_endpoint: None,
            sample_ratio: 1.0,
        }
    }

    /// `OPENARCHIVE_LOG` (filter), `OPENARCHIVE_LOG_FORMAT` (`text` or `json`), `OPENARCHIVE_OTLP_ENDPOINT`,
    /// `OPENARCHIVE_TRACE_RATIO`, over the defaults. An empty variable counts as none.
    pub fn from_environment(role: &str) -> Result<Self, ConfigError> {
        Self::from_lookup(role, |variable| env::var(variable).ok())
    }

    fn from_lookup(role: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let lookup = |variable: &str| lookup(variable).filter(|value| !value.is_empty());
        let mut config = Self::new(role);
        if let Some(filter) = lookup("OPENARCHIVE_LOG") {
            config.filter = filter;
        }
        config.format = match lookup("OPENARCHIVE_LOG_FORMAT").as_deref() {
            None | Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            Some(found) => {
                return Err(invalid("OPENARCHIVE_LOG_FORMAT", found, "write text or json"));
            }
        };
        if let Some(endpoint) = lookup("OPENARCHIVE_OTLP_ENDPOINT") {
            if !endpoint.starts_with("http://") {
                let expected =
                    "http://HOST:PORT of a collector on this machine or in this pod (OTLP over gRPC)";
                return Err(invalid("OPENARCHIVE_OTLP_ENDPOINT", &endpoint, expected));
            }
            config.otlp_endpoint = Some(endpoint);
        }
        if let Some(ratio) = lookup("OPENARCHIVE_TRACE_RATIO") {
            let share = ratio.parse().ok().filter(|share| (0.0..=1.0).contains(share));
            config.sample_ratio =
                share.ok_or_else(|| invalid("OPENARCHIVE_TRACE_RATIO", &ratio, "a share from 0 to 1"))?;
        }
        Ok(config)
    }
}

fn invalid(variable: &'static str, found: &str, expected: &'static str) -> ConfigError {
    ConfigError { variable, found: found.to_owned(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variable: &str, value: &str) -> Result<TelemetryConfig, ConfigError> {
        TelemetryConfig::from_lookup("ingest", |asked| (asked == variable).then(|| value.to_owned()))
    }

    #[test]
    fn each_variable_sets_its_part_and_an_empty_one_sets_nothing() {
        let default = TelemetryConfig::new("ingest");
        for variable in [
            "OPENARCHIVE_LOG",
            "OPENARCHIVE_LOG_FORMAT",
            "OPENARCHIVE_OTLP_ENDPOINT",
            "OPENARCHIVE_TRACE_RATIO",
        ] {
            assert_eq!(with(variable, "").unwrap(), default, "{variable}");
        }
        assert_eq!(with("OPENARCHIVE_LOG", "debug").unwrap().filter, "debug");
        assert_eq!(with("OPENARCHIVE_LOG_FORMAT", "json").unwrap().format, LogFormat::Json);
        let endpoint = with("OPENARCHIVE_OTLP_ENDPOINT", "http://127.0.0.1:4317").unwrap().otlp_endpoint;
        assert_eq!(endpoint.as_deref(), Some("http://127.0.0.1:4317"));
        assert!((with("OPENARCHIVE_TRACE_RATIO", "0.25").unwrap().sample_ratio - 0.25).abs() < f64::EPSILON);
    }

    #[test]
    fn a_variable_that_cannot_be_used_is_named() {
        for (variable, value) in [
            ("OPENARCHIVE_LOG_FORMAT", "yaml"),
            ("OPENARCHIVE_OTLP_ENDPOINT", "collector:4317"),
            ("OPENARCHIVE_OTLP_ENDPOINT", "https://collector:4317"),
            ("OPENARCHIVE_TRACE_RATIO", "1.1"),
            ("OPENARCHIVE_TRACE_RATIO", "-0.1"),
            ("OPENARCHIVE_TRACE_RATIO", "NaN"),
            ("OPENARCHIVE_TRACE_RATIO", "half"),
        ] {
            assert_eq!(with(variable, value).unwrap_err().variable, variable, "{value}");
        }
    }
}
