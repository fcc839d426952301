use serde_json::{Map, Value};

use super::ConfigError;

/// Begins every variable that sets a key. Two underscores, so that `OPENARCHIVE_LOG` and its like are not keys.
const PREFIX: &str = "OPENARCHIVE__";

/// The variables that set keys, sorted by name, so that the result does not hang on their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment(Vec<(String, String)>);

impl Environment {
    pub(crate) fn of(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut own: Vec<_> = variables.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
        own.sort();
        Self(own)
    }

    pub(crate) fn of_process() -> Self {
        Self::of(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    /// Sets each variable's key in `root`, over what stands there.
    pub(super) fn lay_over(&self, root: &mut Value) -> Result<(), ConfigError> {
        for (variable, text) in &self.0 {
            let refuse = |problem: String| ConfigError::Variable { variable: variable.clone(), problem };
            let keys: Vec<String> = variable.trim_start_matches(PREFIX).split("__").map(camel_case).collect();
            let value: Value = serde_saphyr::from_str(text)
                .map_err(|error| refuse(format!("its value is not YAML: {error}")))?;
            set(root, &keys, value).map_err(|key| {
                refuse(format!(
                    "`{key}` is not a section: two underscores stand between a section and its key"
                ))
            })?;
        }
        Ok(())
    }
}

/// `URL_FILE` -> `urlFile`, as keys stand in the file.
fn camel_case(upper: &str) -> String {
    let mut words = upper.split('_').map(str::to_ascii_lowercase);
    let mut key = words.next().unwrap_or_default();
    for word in words {
        let mut letters = word.chars();
        key.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        key.push_str(letters.as_str());
    }
    key
}

/// Answers the key that stands in the way.
fn set(at: &mut Value, keys: &[String], value: Value) -> Result<(), String> {
    let [key, rest @ ..] = keys else {
        *at = value;
        return Ok(());
    };
    if at.is_null() {
        *at = Value::Object(Map::new());
    }
    let Value::Object(section) = at else { return Err(key.clone()) };
    set(section.entry(key.clone()).or_insert(Value::Null), rest, value)
}
