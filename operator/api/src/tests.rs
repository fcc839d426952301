mod hostile;
mod schema_rules;
mod table;
