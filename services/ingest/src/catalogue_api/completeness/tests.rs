use super::*;

fn parse(agent: &str, day: &str) -> Result<Question, FieldError> {
    let request =
        CompletenessRequest { tenant: "acme".to_owned(), agent: agent.to_owned(), day: day.to_owned() };
    Question::parse(&request)
}

#[test]
fn a_day_is_the_one_of_utc() {
    assert_eq!(parse("", "1970-01-02").unwrap().occurred, (DAY_MILLIS, 2 * DAY_MILLIS));
    assert_eq!(parse("", "2024-02-29").unwrap().occurred.0, 1_709_164_800_000);
    assert!(parse("", "").unwrap().is_of_all_time());
    for bad in ["2023-02-29", "2024-2-29", "today", "2024-02-29 ", "20240229"] {
        assert_eq!(parse("", bad).unwrap_err().field, "day", "{bad}");
    }
}

#[test]
fn an_agent_is_named_or_left_open() {
    assert_eq!(parse("mx1", "").unwrap().agent, Some("mx1".parse().unwrap()));
    assert_eq!(parse("", "").unwrap().agent, None);
    assert_eq!(parse("MX1", "").unwrap_err().field, "agent");
}
